"""What is fuzzed: each function here reads what a server, a file or a person wrote; on both machines.

A reader takes JSON and returns JSON. Bytes stand in it as characters of ISO 8859-1. read() says what came of
it, or which of the documented exceptions; any other exception is a broken promise, and so is a secret in a
message. As a program it reads [reader, arguments], one a line, and prints [whether all was well, what came].
"""

import binascii
import json
import sys
import time

from muster import asn1, cmei, config, hmac, http, jsontext, jwt, log, pem, rsa, sse
from muster.clouds import baidu, chinamobile, coze, feishu
from muster.errors import CloudError, ConfigError, TransportError
from muster.net import request, wait
from muster.net.carrier import prepared
from muster.net.connection import Connection
from muster.net.exchange import Exchange
from muster.net.redirect import follow
from muster.store import FileStore

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
        head, rest = prepared(method, target, data, headers)
        yield from exchange.start(method, head, rest, lines)
        return exchange

    def keep(self, exchange):
        self.kept = True


def _bytes(text):
    data = bytearray(len(text))
    for n, c in enumerate(text):
        data[n] = ord(c)
    return bytes(data)


def _hexed(data):
    return binascii.hexlify(data).decode()


def http_answer(answer, sizes, method):
    session = Answers(_bytes(answer), sizes)
    response = wait.run(session.exchange(method, "https://host/"))
    headers = sorted([name, response.headers[name]] for name in response.headers)
    return [response.status_code, response.reason, headers, _hexed(response.content), session.kept]


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
    session.request(method, url, headers=headers)
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
    return [_hexed(der) for der in pem.certificates(_bytes(data))]


def certificate_dates(data):
    return list(asn1.validity(_bytes(data)))


def private_key(pem):
    key = rsa.PrivateKey.from_pem(_bytes(pem))
    assert key.public_key().verify(b"m", key.sign(b"m"))
    return f"{key.public_key().n:x}"


def public_key(pem):
    return f"{rsa.PublicKey.from_pem(_bytes(pem)).n:x}"


def jwt_decode(token, now):
    return jwt.decode(token, KEY, now=now)


def jwt_signed(header, claims, now):
    """A token whose parts may be anything, under a signature that fits."""
    message = _base64url(_bytes(header)) + b"." + _base64url(_bytes(claims))
    return jwt_decode((message + b"." + _base64url(hmac.Key(KEY.encode()).digest(message))).decode(), now)


def _base64url(data):
    return binascii.b2a_base64(data).rstrip(b"=\n").replace(b"+", b"-").replace(b"/", b"_")


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


def configuration_file(data):
    with open("config.json", "wb") as f:
        f.write(_bytes(data))
    try:
        config.load("./config.json")
    except ConfigError:
        return "ConfigError"
    return "a configuration"


def events(lines):
    lines = iter([_bytes(line) for line in lines])
    found: list = []
    before = None
    while True:
        before = _fed(sse.next_event(before), lines)
        if before is None:
            return found
        found.append(list(before))


def _fed(flow, lines):
    """What a flow that wants lines returns."""
    try:
        next(flow)
        while True:
            flow.send(next(lines, None))
    except StopIteration as e:
        return e.value


def event_data(text):
    return jsontext.loads(text)


def stored(first, second):
    for slot, data in enumerate((first, second)):
        with open(f"record.{slot}", "wb") as f:
            f.write(_bytes(data))
    record = FileStore("./record").load()
    return None if record is None else record.plain()


def device_number(type_code, serial):
    number = cmei.make(type_code, serial)
    cmei.check(number)
    return number


def device_number_checked(number):
    try:
        return cmei.check(number)
    except ValueError:
        return "ValueError"  # it says the number, whatever that is


def _mobile(session):
    return chinamobile.ChinaMobile("product", KEY, session)


def _device(session):
    return coze.Coze(session, token=TOKEN, device_id="d")


def _vendor(session):
    return baidu.Baidu("id", KEY, "fc", "pk", session, now=lambda: NOW)


def _buying(session):
    """What has to buy its token first."""
    return coze.Coze(session, client_id="c", private_key=KEY, alg="HS256", now=lambda: NOW)


def _texts(pieces):
    pieces = list(pieces)
    assert all(isinstance(piece, str) for piece in pieces), pieces


def _a_line_each(found):
    assert all(isinstance(found[name], str) and found[name].split("\n") == [found[name]] for name in found)


def _text(found):
    assert isinstance(found, str) and found


class Nothing:
    """An empty file."""

    def seek(self, *_):
        pass

    def tell(self):
        return 0

    def read(self, size):
        return b""


CALLS = {
    "secret_info": lambda session: _a_line_each(_mobile(session).secret_info("no")),
    "report": lambda session: _mobile(session).report("id", TOKEN, {}),
    "chat": lambda session: _texts(_mobile(session).chat(TOKEN, "id", "hello")),
    "speech": lambda session: b"".join(_device(session).speech("hello", "voice")),
    "transcribe": lambda session: _device(session).transcribe(Nothing()),
    "room": lambda session: _device(session).create_room("bot"),
    "coze chat": lambda session: _texts(_device(session).chat_text("bot", "user", "hello")),
    "workflow": lambda session: _device(session).run_workflow("flow"),
    "workflow stream": lambda session: list(_device(session).stream_workflow("flow")),
    "bind": lambda session: _device(session).bind_devices("channel", [("label", "value")]),
    "token": lambda session: _buying(session).run_workflow("flow"),
    "import": lambda session: _vendor(session).import_devices([("ak", TOKEN)]),
    "get": lambda session: _vendor(session).get("ak"),
    "list": lambda session: _vendor(session).list(),
    "record": lambda session: _text(feishu.Feishu(session, token=TOKEN).create_device(1, 1, 1, uuid="u")),
    "tenant's token": lambda session: feishu.Feishu(session, "app", KEY, now=lambda: NOW).create_device(
        1, 1, 1, uuid="u"
    ),
}


def cloud(call, answer, sizes):
    session = Answers(_bytes(answer), sizes)
    try:
        CALLS[call](session)
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


# Each with the exceptions that its functions document; a reader that catches its own has more to check.
READERS = {
    reader.__name__: (reader, documented)
    for reader, documented in (
        (http_answer, TransportError),
        (http_stream, ()),
        (http_request, ValueError),
        (http_redirect, ()),
        (pem_certificates, ValueError),
        (certificate_dates, ValueError),
        (private_key, ValueError),
        (public_key, ValueError),
        (jwt_decode, jwt.JWTError),
        (jwt_signed, jwt.JWTError),
        (configuration, ()),
        (configuration_file, ()),
        (events, TransportError),
        (event_data, ValueError),
        (stored, ()),
        (device_number, ValueError),
        (device_number_checked, ()),
        (cloud, ()),
    )
}


def read(name, arguments):
    reader, documented = READERS[name]
    start = time.time_ns()
    try:
        found = reader(*arguments)
    except documented as e:
        text = str(e)
        assert KEY not in text and len(text) < 400, text
        found = f"TransportError: {text}" if documented is TransportError else documented.__name__
    took = (time.time_ns() - start) // 1000000
    assert took < MOST_MS, f"it took {took} ms"
    return found


def main():
    log.level = SILENT
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            found = read(name, arguments)
        except Exception as e:
            print(json.dumps([False, f"{type(e).__name__}: {e}"]))
        else:
            print(json.dumps([True, found if name in SAME else None]))


if __name__ == "__main__":
    main()
