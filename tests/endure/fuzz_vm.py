"""What is fuzzed, the same on CPython and in the MicroPython VM.

An attempt takes JSON and returns JSON: what came of it, or which of the documented exceptions. Any other
exception is a broken promise, and so is a secret in a message. As a program it reads attempts, one a line,
and prints what came of each.
"""

import binascii
import json
import sys
import time

from muster import asn1, cmei, config, http, jsontext, jwt, log, rsa, sse
from muster.clouds import baidu, chinamobile, coze, feishu
from muster.errors import CloudError, ConfigError, TransportError
from muster.net import request, wait
from muster.net.connection import Connection
from muster.net.exchange import Exchange
from muster.net.redirect import follow
from muster.store import FileStore

MICROPYTHON = sys.implementation.name == "micropython"
# Where both machines must come to the same: nothing of these is left to MicroPython's own modules.
SAME = ("http_answer", "http_stream", "http_request", "http_redirect", "certificate_dates")

NOW = 1800000000
MOST_MS = 3000
SILENT = 100

# Given to the clouds, and written by fuzz into what they answer.
SECRETS = ("s3cr3t-K3y-of-the-whole-pr0duct-line", "s3cr3t-T0ken-of-one-d3vice-and-no-0ther")
KEY, TOKEN = SECRETS


class Fed(Connection):
    """A connection over which so many bytes come at a time, those sizes in turn, and then its end."""

    def __init__(self, data, sizes, sent):
        super().__init__(("https", "host", 443), None, wait.Deadline(60))
        self._data, self._sizes, self._turn, self._sent = data, sizes, 0, sent

    def write(self, data):
        yield False
        self._sent.append(bytes(data))

    def _attempt(self, transfer, view, events):
        yield False
        size = min(len(view), self._sizes[self._turn % len(self._sizes)])
        self._turn += 1
        piece, self._data = self._data[:size], self._data[size:]
        view[: len(piece)] = piece
        return len(piece)


class Answers(http.Session):
    """A session that is always given the same answer; what cannot be sent shows as ever."""

    def __init__(self, answer, sizes):
        super().__init__()
        self.answer, self.sizes, self.sent, self.kept = answer, sizes, [], False

    def _send(self, method, target, data, headers, deadline, repeatable, lines):
        exchange = Exchange(Fed(self.answer, self.sizes, self.sent), self.max_body)
        head = request.request_head(
            method, target, request.checked_length(len(data or b""), headers), headers
        )
        yield from exchange.start(method, head, data, lines)
        return exchange

    def keep(self, exchange):
        self.kept = True


def _bytes(text):
    """Bytes that stand in JSON as characters of ISO 8859-1."""
    data = bytearray(len(text))
    for n, c in enumerate(text):
        data[n] = ord(c)
    return bytes(data)


def _hexed(data):
    return binascii.hexlify(data).decode()


def http_answer(answer, sizes, method):
    session = Answers(_bytes(answer), sizes)
    try:
        response = wait.run(session.exchange(method, "https://host/"))
    except TransportError as e:
        return f"TransportError: {e}"

    return [
        response.status_code,
        response.reason,
        sorted([name, response.headers[name]] for name in response.headers),
        _hexed(response.content),
        session.kept,
    ]


def http_stream(answer, sizes):
    lines = []
    try:
        with Answers(_bytes(answer), sizes).get("https://host/", stream=True) as response:
            for line in response.iter_lines():
                assert b"\n" not in line
                lines.append(_hexed(line))
    except TransportError as e:
        lines.append(f"TransportError: {e}")
    return lines


def http_request(method, url, headers):
    """What is sent is the lines that were asked for, and not one more."""
    session = Answers(b"HTTP/1.1 204 x\r\n\r\n", [1000])
    try:
        session.request(method, url, headers=headers)
    except ValueError as e:
        assert KEY not in str(e)
        return "ValueError"
    given = {name.lower() for name in headers}
    more = [name for name in ("host",) if name not in given]
    if method in ("POST", "PUT", "PATCH") and "content-length" not in given:
        more.append("content-length")
    assert session.sent[0].count(b"\n") == 2 + len(headers) + len(more), session.sent[0]
    return sorted(session.sent[0].decode().split("\r\n"))  # a dict has no order in MicroPython


def http_redirect(location, url, headers):
    """Nothing goes to another origin but what anybody may see."""
    try:
        target = request.split(url)
        method, new, _, left = follow(307, location, "GET", target, None, headers)
    except (TransportError, ValueError):
        return "refused"
    if new[:3] != target[:3]:
        assert left == {} and not (target[0] == "https" and new[0] != "https"), (new, left)
    return [method, list(new), left]


def pem_certificates(data):
    try:
        return [_hexed(der) for der in asn1.certificates(_bytes(data))]
    except ValueError:
        return "ValueError"


def certificate_dates(data):
    try:
        return list(asn1.validity(_bytes(data)))
    except ValueError:
        return "ValueError"


def private_key(pem):
    try:
        key = rsa.PrivateKey.from_pem(_bytes(pem))
    except ValueError as e:
        assert len(str(e)) < 400
        return "ValueError"
    assert key.public_key().verify(b"m", key.sign(b"m"))
    return f"{key.public_key().n:x}"


def public_key(pem):
    try:
        return f"{rsa.PublicKey.from_pem(_bytes(pem)).n:x}"
    except ValueError:
        return "ValueError"


def jwt_decode(token, now):
    try:
        return jwt.decode(token, KEY, now=now)
    except jwt.JWTError as e:
        assert KEY not in str(e)
        return f"JWTError: {e}"


def jwt_signed(header, claims, now):
    """A token whose parts may be anything, under a signature that fits."""
    message = jwt._base64(_bytes(header)) + b"." + jwt._base64(_bytes(claims))
    signature = jwt._base64(jwt._signer(KEY, "HS256")(message))
    return jwt_decode((message + b"." + signature).decode(), now)


def _hidden(raw):
    """Those of the secrets that are one in this configuration, or stand nowhere but where one belongs."""
    if not isinstance(raw, dict):
        return SECRETS
    seen = [raw[name] for name in raw if name not in ("productKey", "wifi") and "@" not in str(raw[name])]
    own = [raw.get("productKey")]
    networks = raw.get("wifi")
    if isinstance(networks, list):
        networks = [network for network in networks if isinstance(network, dict)]
        seen.extend(network.get("ssid") for network in networks)
        own.extend(network.get("key") for network in networks)
    text = str(seen) + "".join(str(name) for name in raw)
    return [secret for secret in SECRETS if secret in own or secret not in text]


def configuration(raw):
    secrets = _hidden(raw)
    try:
        checked = config.check(raw)
    except ConfigError as e:
        assert not any(secret in str(e) for secret in secrets), e
        return "ConfigError"
    assert config.check(checked.plain()).plain() == checked.plain()
    assert KEY not in secrets or KEY not in str(checked), checked
    request.split(checked["baseUrl"] + "/")
    return "a configuration"


def configuration_file(data, folder):
    path = folder + "/config.json"
    with open(path, "wb") as f:
        f.write(_bytes(data))
    try:
        config.load(path)
    except ConfigError:
        return "ConfigError"
    return "a configuration"


def events(lines):
    lines = iter([_bytes(line) for line in lines])
    found: list = []
    before = None
    try:
        while True:
            before = _fed(sse.next_event(before), lines)
            if before is None:
                return found
            found.append(list(before))
    except TransportError as e:
        return f"TransportError: {e}"


def _fed(flow, lines):
    """What a flow that wants lines returns."""
    try:
        next(flow)
        while True:
            flow.send(next(lines, None))
    except StopIteration as e:
        return e.value


def event_data(text):
    try:
        return jsontext.loads(text)
    except ValueError:
        return "ValueError"


def stored(first, second, folder):
    for slot, data in enumerate((first, second)):
        with open(f"{folder}/record.{slot}", "wb") as f:
            f.write(_bytes(data))
    record = FileStore(folder + "/record").load()
    return None if record is None else record.plain()


def device_number(type_code, serial):
    try:
        number = cmei.make(type_code, serial)
    except ValueError:
        return "ValueError"
    cmei.check(number)
    return number


def device_number_checked(number):
    try:
        return cmei.check(number)
    except ValueError:
        return "ValueError"


def _pieces(call, session):
    """What a call of a cloud yields or returns."""
    mobile = chinamobile.ChinaMobile("product", KEY, session)
    device = coze.Coze(session, token=TOKEN, device_id="d")
    buying = coze.Coze(session, client_id="c", private_key=KEY, alg="HS256", now=lambda: NOW)
    account = baidu.Baidu("id", KEY, "fc", "pk", session, now=lambda: NOW)
    tenant = feishu.Feishu(session, token=TOKEN)
    if call == "secret_info":
        found = mobile.secret_info("no")
        assert all(
            isinstance(found[name], str) and found[name].split("\n") == [found[name]] for name in found
        )
    elif call == "report":
        found = mobile.report("id", TOKEN, {})
    elif call == "chat":
        found = list(mobile.chat(TOKEN, "id", "hello"))
        assert all(isinstance(piece, str) for piece in found), found
    elif call == "speech":
        found = len(b"".join(device.speech("hello", "voice")))
    elif call == "transcribe":
        found = device.transcribe(Nothing())
    elif call == "room":
        found = device.create_room("bot")
    elif call == "coze chat":
        found = list(device.chat_text("bot", "user", "hello"))
        assert all(isinstance(piece, str) for piece in found), found
    elif call == "workflow":
        found = device.run_workflow("flow")
    elif call == "workflow stream":
        found = list(device.stream_workflow("flow"))
    elif call == "bind":
        found = device.bind_devices("channel", [("label", "value")])
    elif call == "token":
        found = buying.run_workflow("flow")
    elif call == "import":
        found = account.import_devices([("ak", TOKEN)])
    elif call == "get":
        found = account.get("ak")
    elif call == "list":
        found = account.list()
    elif call == "record":
        found = tenant.create_device(1, 1, 1, uuid="u")
        assert isinstance(found, str) and found
    elif call == "tenant's token":
        found = feishu.Feishu(session, "app", KEY, now=lambda: NOW).create_device(1, 1, 1, uuid="u")
    return found


class Nothing:
    """An empty file."""

    def seek(self, *_):
        pass

    def tell(self):
        return 0

    def read(self, size):
        return b""


CALLS = (
    "secret_info", "report", "chat", "speech", "transcribe", "room", "coze chat", "workflow",
    "workflow stream", "bind", "token", "import", "get", "list", "record", "tenant's token",
)  # fmt: skip


def cloud(call, answer, sizes):
    session = Answers(_bytes(answer), sizes)
    try:
        _pieces(call, session)
    except TransportError as e:
        return f"TransportError: {e}"
    except CloudError as e:
        text = f"{e} {e!r} {e.message} {e.code} {e.log_id}"
        # A cloud can only tell on what it was told.
        for secret in SECRETS:
            assert secret not in text or not any(secret.encode() in sent for sent in session.sent), text
        line = str(e)
        assert len(line) < 1000 and not any(c < " " or c == "\x7f" for c in line), line
        assert isinstance(e.retryable, bool) and (e.retry_after is None or e.retry_after >= 0)
        return "CloudError"
    return "data"


ATTEMPTS = {
    f.__name__: f
    for f in (
        http_answer, http_stream, http_request, http_redirect, pem_certificates, certificate_dates,
        private_key, public_key, jwt_decode, jwt_signed, configuration, configuration_file, events,
        event_data, stored, device_number, device_number_checked, cloud,
    )
}  # fmt: skip


def attempt(name, arguments):
    """What came of it; an exception of any kind is a defect."""
    start = time.time_ns()
    found = ATTEMPTS[name](*arguments)
    took = (time.time_ns() - start) // 1000000
    assert took < MOST_MS, f"it took {took} ms"
    return found


def main():
    folder = sys.argv[1]
    log.level = SILENT
    for line in sys.stdin:
        name, arguments = json.loads(line)
        if name in ("configuration_file", "stored"):
            arguments[-1] = folder
        try:
            found = attempt(name, arguments)
        except Exception as e:
            found = f"{type(e).__name__}: {e}"
            print(json.dumps([False, found]))
        else:
            print(json.dumps([True, found if name in SAME else None]))


if __name__ == "__main__":
    main()
