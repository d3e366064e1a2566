"""Fuzzing with hypothesis of all that reads what a server, a file or a person wrote.

What is tried on CPython is tried again in the MicroPython VM, in one process: the two differ in their JSON,
their base64, their stacks. The parsers of our own must come to the same on both.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import functools
import itertools
import json
import random
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from muster import log

from tools.board import find_micropython
from tools.chaos import attempts, guided
from tools.chaos.attempts import KEY, NOW, SECRETS, TOKEN
from tools.chaos.verdict import Verdict

ROOT = Path(__file__).resolve().parents[2]
SHORT, FULL = 15, 600
HEAP = "8m"
VM_TIMEOUT_S = 600

HTTP = st.lists(
    st.sampled_from(
        [
            b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 404 No\r\n", b"HTTP/1.1 100 C\r\n\r\n", b"HTTP/1.1 302 F\r\n",
            b"Content-Length: 5\r\n", b"content-length: 5, 5\r\n", b"Content-Length: -1\r\n",
            b"Content-Length: 99999999999999999999\r\n", b"Transfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: gzip\r\n", b"Content-Encoding: gzip\r\n", b"Connection: close\r\n",
            b"Content-Type: text/x; charset=", b"latin-1", b"Location: /\r\n", b"Location: http://x/\r\n",
            b"X: y\r\n", b" folded\r\n", b"\r\n", b"\n", b"\r", b"\0", b"hello", b"5\r\nhello\r\n",
            b"5;a=b\r\nhello\r\n", b"0\r\n", b"0\r\n\r\n", b"ffffffff\r\n", b"-1\r\n", b"a: \xff\r\n",
            b"1F" * 20 + b"\r\n", b"x" * 5000, b"HTTP/1.1", b" ", b":", b"200",
        ]
    )
    | st.binary(max_size=12),
    max_size=14,
).map(b"".join)  # fmt: skip
SIZES = st.lists(st.integers(1, 300), min_size=1, max_size=4)
METHODS = st.sampled_from(["GET", "HEAD", "POST"])


def latin(data: bytes) -> str:
    """Bytes as attempts take them."""
    return data.decode("latin-1")


def well_formed(status: int, headers: dict[str, str], body: bytes, cuts: list[int] | None) -> bytes:
    """An answer whose body has a length, or comes in chunks that end at the cuts."""
    head = f"HTTP/1.1 {status} Fine\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items())
    if cuts is None:
        return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
    edges = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    chunks = [body[a:b] for a, b in itertools.pairwise(edges)]
    coded = b"".join(b"%X\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    return head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + coded


WELL_FORMED = st.tuples(
    st.sampled_from([200, 201, 404, 500]),
    st.dictionaries(st.from_regex(r"x-[a-z]{1,8}", fullmatch=True), st.sampled_from(["", "a", "b: c"])),
    st.binary(max_size=600),
    st.none() | st.lists(st.integers(0, 999), max_size=5),
)


@st.composite
def mutated(draw: st.DrawFn, good: bytes) -> bytes:
    """Good bytes with some of them changed, taken out, or put in."""
    data = bytearray(good)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        what = draw(st.sampled_from(["change", "cut", "insert", "end"]))
        if what == "end":
            del data[at:]
        elif what == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        else:
            new = draw(st.binary(min_size=1, max_size=4))
            data[at : at + (len(new) if what == "change" else 0)] = new
    return bytes(data)


# JSON as a hostile server might write it: what is in it is anything, at any depth.
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["", "200", "OK", *SECRETS, KEY + TOKEN, "x" * 2000, "a\nb\x7f", "\ud800", "\U0001f600"]
    )
    | st.sampled_from([0, 200, -1, 10**400, 1 << 64])
)
NAMES = st.sampled_from(
    [
        "code", "success", "message", "msg", "data", "deviceId", "deviceNo", "productId", "deviceSecret",
        "protocolTypeTime", "error", "error_code", "error_message", "detail", "logid", "access_token",
        "expires_in", "result", "totalCount", "requestId", "ak", "tenant_access_token", "expire",
        "device_record_id", "choices", "delta", "content", "last_error", "type",
    ]
)  # fmt: skip
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=12,
)
# What the documents say, so that fuzz gets past the first field.
DOCUMENTS: list = [
    {"code": "200", "message": "", "success": True, "data": {
        "deviceId": "1", "deviceNo": "no", "productId": "product", "deviceSecret": TOKEN,
        "protocolTypeTime": "2026"}},
    {"code": 0, "msg": "", "data": {"text": "hello", "device_record_id": "1", "room_id": "1"}},
    {"code": 0, "access_token": "a", "expires_in": 900, "tenant_access_token": "t", "expire": 7200,
     "data": {"device_record_id": "1"}},
    {"result": [{"ak": "ak", "sk": "sk"}], "totalCount": 1, "ak": "ak"},
    {"choices": [{"delta": {"content": "hello"}}], "type": "answer", "content": "hello"},
    {"error": {"message": "no", "code": "1"}}, {"error_code": "1", "error_message": "no"},
]  # fmt: skip


def _changed(document: dict, path: list[int], value: object) -> dict:
    """The document with something else in one of its places."""
    copy = json.loads(json.dumps(document))
    place = copy
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return value  # type: ignore[return-value]
        key = keys[path.pop() % len(keys)]
        if not path or not isinstance(place[key], (dict, list)):
            place[key] = value
            return copy
        place = place[key]


CHANGED = st.builds(
    _changed, st.sampled_from(DOCUMENTS), st.lists(st.integers(0, 9), min_size=1, max_size=4), ANYTHING
)
BOMBS = st.builds(
    lambda key, bomb: f'{{"{key}":{bomb}}}',
    NAMES,
    st.sampled_from(["[" * 20000 + "]" * 20000, '{"a":' * 9000 + "1" + "}" * 9000, "9" * 4000, "[" * 60000]),
)
JSON = (CHANGED | ANYTHING | st.sampled_from(DOCUMENTS)).map(json.dumps) | BOMBS


@st.composite
def cloud_answers(draw: st.DrawFn) -> list:
    """An answer of HTTP to one of the clouds' calls."""
    call = draw(st.sampled_from(attempts.CALLS))
    texts = draw(st.lists(JSON, min_size=1, max_size=3))
    names = ["Message", "Error", "done", "Done", "error", "PING", "conversation.message.delta", ""]
    if call in ("chat", "coze chat", "workflow stream") and draw(st.integers(0, 5)):
        kind, body = "text/event-stream", b""
        for n, text in enumerate(texts):
            name = draw(st.sampled_from(names)).encode()
            body += b"id: %d\nevent: %s\ndata: %s\n\n" % (n, name, _utf8(text))
        body += draw(
            st.sampled_from([b"data: [DONE]\n\n", b"event: done\ndata: x\n\n", b"data: \xff\n\n", b""])
        )
    else:
        kind, body = "application/json", _utf8(texts[0])
    if not draw(st.integers(0, 9)):
        body = draw(st.binary(max_size=40) | HTTP)
    headers = {"content-type": draw(st.sampled_from([kind, kind, kind, "audio/x", "text/html"]))}
    for name in ("x-tt-logid", "x-bce-request-id", "retry-after", "x-ogw-ratelimit-reset"):
        value = draw(st.sampled_from([None, None, None, "7", "\xb2", "9" * 500, "\x01\r\x7f", KEY, "-1"]))
        if value is not None:
            headers[name] = value
    status = draw(st.sampled_from([200, 200, 200, 201, 400, 401, 404, 408, 429, 500, 503]))
    head = f"HTTP/1.1 {status} x\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    answer = head.encode("latin-1") + b"Content-Length: %d\r\n\r\n" % len(body) + body
    return [call, latin(answer), draw(st.sampled_from([[4096], [4096], [7, 100]]))]


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


CONFIGURATION = {
    "productId": "1234567890123", "productKey": KEY, "deviceNo": "AI-0001", "firmwareVersion": "1.0",
    "cmei": "111234560000018", "wifi": [{"ssid": "home", "key": TOKEN}],
}  # fmt: skip
OTHER_KEYS = st.sampled_from(
    [
        "hostname", "deviceNoType", "cellular", "imei", "sdkVersion", "platform", "netType", "baseUrl",
        "roots", "ntp", "policy", "period", "jitter", "spread", "deadline", "clouds", "store", *CONFIGURATION,
        "productKye", KEY[:3],
    ]
)  # fmt: skip
SETTINGS = st.sampled_from(
    ["SN", "IMEI", "auto", "daily", "nvs", "https://host:1/", f"https://u:{TOKEN}@host", "[::1]:80", 1, 0, -1,
     86400, 43200, 490154203237518, "490154203237518", ["a"], {"key": TOKEN}, [{"ssid": TOKEN * 3, "key": 1}],
     [TOKEN], [[TOKEN]], "\u212a", "\u0130.cn", "https://\u212a", True]
)  # fmt: skip
CONFIGURATIONS = (
    st.dictionaries(OTHER_KEYS, SETTINGS | ANYTHING, max_size=4).map(lambda more: {**CONFIGURATION, **more})
    | st.dictionaries(OTHER_KEYS, SETTINGS, max_size=4)
    | ANYTHING
)


@functools.cache
def keys() -> tuple[bytes, ...]:
    """PEM of a private and of a public key, and a certificate: the same ones every time."""
    dice = random.Random(1)

    def prime() -> int:
        while True:
            n = dice.getrandbits(510) | 3 << 510 | 1
            if pow(3, n - 1, n) == 1 and n % 65537 != 1:
                return n

    p, q = prime(), prime()
    d = pow(65537, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(65537, p * q)
    )
    key = numbers.private_key()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fuzz")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
    builder = builder.public_key(key.public_key())
    builder = builder.not_valid_before(datetime.datetime(2026, 1, 2)).not_valid_after(
        datetime.datetime(2050, 1, 2)
    )
    return (
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM),
    )


def _armoured(label: str, der: bytes) -> bytes:
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (
        label.encode(), base64.encodebytes(der), label.encode()
    )  # fmt: skip


def _der(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(pem.split(b"\n")[1:-2]))


def _pem(which: int, label: str) -> st.SearchStrategy[str]:
    """PEM text that was spoiled, or of DER that was."""
    good = keys()[which]
    return (mutated(good) | mutated(_der(good)).map(lambda der: _armoured(label, der)) | HTTP).map(latin)


def _tokens() -> st.SearchStrategy[str]:
    good = attempts.jwt.encode({"iss": "a", "exp": NOW + 9}, KEY).encode()
    return (mutated(good).map(latin)) | st.text(max_size=40) | st.text("ab.=_-", max_size=40)


PARTS = (
    st.dictionaries(st.sampled_from(["alg", "crit", "exp", "nbf", "iat", "x"]), SETTINGS | ANYTHING)
    | st.builds(
        lambda exp, nbf: {"alg": "HS256", "exp": exp, "nbf": nbf},
        st.integers() | st.floats(),
        st.integers() | st.booleans(),
    )
).map(lambda part: latin(_utf8(json.dumps(part)))) | st.binary(max_size=12).map(latin)

HEADER = latin(b'{"alg":"HS256"}')
URLS = st.sampled_from(["https://host/a/b?c", "http://h:81", "https://[::1]/", "http://[", "https://u@h"])
LOCATIONS = st.lists(
    st.sampled_from(["https:", "http:", "//", "/", "host", "evil", ":", "443", "80", "@", "?", "#", "..",
                     "\\", "[::1]", "[", "]", "%2F", " ", "\r\n", "HTTPS://HOST", "\u4e2d"]),
    max_size=7,
).map("".join)  # fmt: skip
REQUEST_HEADERS = st.dictionaries(
    st.sampled_from(["a", "Host", "Content-Length", "b\r\nc", "", "\u4e2d"]),
    st.sampled_from(["", "v", KEY, KEY + "\r\nX: y", "\n", "\x00", "\xe9", "7"]),
    max_size=3,
)
LINES = st.lists(
    st.sampled_from(
        [b"data: x", b"data", b"event: e", b"id: 1", b"", b": c", b"data: \xff", b"retry: 1", b"id"]
    )
    | st.binary(max_size=9).filter(lambda line: b"\n" not in line),
    max_size=12,
).map(lambda lines: [latin(line) for line in lines])
EVENT_DATA = JSON | st.lists(
    st.sampled_from(['"', "\\", "\\u", "\\ud83d", "\\ude00", "\\\\", "d83d", "\U0001f600", "x", "{", "["]),
    max_size=9,
).map(lambda parts: '"' + "".join(parts) + '"')


def _record(sequence: int, text: bytes) -> bytes:
    return attempts.sys.modules["muster.store"]._pack(sequence, text)


SLOTS = (
    st.binary(max_size=60)
    | st.builds(_record, st.integers(0, (1 << 32) - 1), st.sampled_from([b'{"a":1}', b"{", b"[1]", b"\xff"]))
    | st.builds(_record, st.integers(0, 9), JSON.map(lambda text: _utf8(text)[:900]))
    | mutated(b"\x00" * 4 + b'\x01\x00\x00\x00\x07\x00{"a":1}')
).map(latin)


def _strategies(folder: str) -> dict[str, st.SearchStrategy]:
    """Of each attempt, its arguments."""
    raw = (HTTP | WELL_FORMED.map(lambda parts: well_formed(*parts))).map(latin)
    return {
        "http_answer": st.tuples(raw, SIZES, METHODS),
        "http_stream": st.tuples(raw, SIZES),
        "http_request": st.tuples(METHODS | st.just("G\r\nT"), URLS | LOCATIONS, REQUEST_HEADERS),
        "http_redirect": st.tuples(LOCATIONS, URLS, REQUEST_HEADERS),
        "pem_certificates": st.tuples(_pem(2, "CERTIFICATE")),
        "certificate_dates": st.tuples((mutated(_der(keys()[2])) | st.binary(max_size=60)).map(latin)),
        "private_key": st.tuples(_pem(0, "PRIVATE KEY")),
        "public_key": st.tuples(_pem(1, "PUBLIC KEY")),
        "jwt_decode": st.tuples(_tokens(), st.just(NOW)),
        "jwt_signed": st.tuples(st.just(HEADER) | PARTS, PARTS, st.just(NOW)),
        "configuration": st.tuples(CONFIGURATIONS),
        "configuration_file": st.tuples(
            (JSON.map(_utf8) | CONFIGURATIONS.map(lambda c: _utf8(json.dumps(c))) | HTTP).map(latin),
            st.just(folder),
        ),
        "events": st.tuples(LINES),
        "event_data": st.tuples(EVENT_DATA),
        "stored": st.tuples(SLOTS, SLOTS, st.just(folder)),
        "device_number": st.tuples(
            st.text(max_size=9) | st.just("11123456"), st.text(max_size=7) | st.integers()
        ),
        "device_number_checked": st.tuples(st.text("0123456789\u0661\xb2", max_size=16) | ANYTHING),
        "cloud": cloud_answers(),
    }


class Fuzz:
    """Explores one function after another, and keeps what was tried for the other machine.

    examples: of each function.  number: the seed, or None for the same ones every time.
    """

    def __init__(self, examples: int, number: int | None) -> None:
        self.examples, self.number = examples, number
        self.cases = 0
        self.failures: list[str] = []
        self.tried: dict[str, list[tuple[list, object]]] = {}

    def explore(self, name: str, strategy: st.SearchStrategy, function: Callable, times: int = 1) -> None:
        """Calls function(example) for many examples; a failure is told with the smallest one."""
        last: list = []

        def run(example: object) -> None:
            self.cases += 1
            last[:] = [example]
            function(example)

        found = settings(
            max_examples=self.examples * times,
            derandomize=self.number is None,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            print_blob=False,
        )(given(strategy)(run))
        if self.number is not None:
            found = seed(self.number)(found)
        try:
            found()
        except Exception as e:
            how = f"seed {self.number}" if self.number is not None else "derandomized"
            problem = f"{type(e).__name__}: {e}".partition("\n")[0]
            self.failures.append(f"{name}({_short(last)}) on CPython: {problem[:300]} ({how})")

    def attempt(self, name: str, strategy: st.SearchStrategy) -> None:
        tried = self.tried.setdefault(name, [])

        def function(arguments: tuple) -> None:
            tried.append((list(arguments), attempts.attempt(name, arguments)))

        # The clouds have sixteen calls, each with answers of its own.
        self.explore(name, strategy, function, 6 if name == "cloud" else 1)


def to_be_fed(strategy: st.SearchStrategy, function: Callable) -> Callable[[bytes], object]:
    """What makes an example of bytes, and calls function with it."""
    fed = settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    return fed(given(strategy)(function)).hypothesis.fuzz_one_input


def _short(example: object) -> str:
    text = repr(example)
    return text if len(text) < 600 else f"{text[:300]} ... {text[-200:]}"


def run(full: bool, tell: Callable[[str], None], number: int | None = None) -> Verdict:
    """number: the seed of the full form, to see it again."""
    if full and number is None:
        number = random.SystemRandom().randrange(1 << 32)
    fuzz = Fuzz(FULL if full else SHORT, number)
    if number is not None:
        tell(f"the seed is {number}")
    level, log.level = log.level, attempts.SILENT
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, strategy in _strategies(folder).items():
                tell(f"{name} on CPython")
                fuzz.attempt(name, strategy)
            tell("what two readers must agree on")
            _agreements(fuzz)
            note = _replay(fuzz, folder, tell)
            if full:
                cases, failures, more = guided.explore([*attempts.ATTEMPTS], tell)
                fuzz.cases += cases
                fuzz.failures += failures
                note += f", {more}"
    finally:
        log.level = level
    how = "derandomized" if number is None else f"seed {number}"
    return Verdict("fuzz", fuzz.cases, fuzz.failures, note=f"{how}; {note}")


def _agreements(fuzz: Fuzz) -> None:
    """Round trips, and what other people's code says to the same."""

    def pieces(example: tuple) -> None:
        raw, sizes, method = example
        whole = attempts.http_answer(latin(raw), [1 << 16], method)
        # Only what comes on top of an answer, in one piece with it, shows that the connection is spoiled.
        found = attempts.http_answer(latin(raw), sizes, method)
        assert found[:4] == whole[:4] if isinstance(found, list) else found == whole

    def read_back(example: tuple) -> None:
        status, headers, body, cuts = example
        found = attempts.http_answer(latin(well_formed(*example)), [7, 1, 200], "GET")
        framing = [["content-length", str(len(body))]] if cuts is None else [["transfer-encoding", "chunked"]]
        assert found == [
            status,
            "Fine",
            sorted([[n, v] for n, v in headers.items()] + framing),
            body.hex(),
            True,
        ]

    def with_h11(raw: bytes) -> None:
        ours, theirs = attempts.http_answer(latin(raw), [1 << 16], "GET"), _h11(raw)
        # We are stricter here and there; but what both take has one body.
        if isinstance(ours, list) and theirs is not None:
            assert [ours[0], ours[3]] == theirs

    def signed_and_read(claims: dict) -> None:
        assert attempts.jwt.decode(attempts.jwt.encode(claims, KEY), KEY, now=NOW) == claims

    def as_pyjwt(token: str) -> None:
        import jwt as pyjwt

        ours = attempts.jwt_decode(token, NOW)
        if isinstance(ours, dict):
            options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
            options |= {"verify_iss": False, "verify_sub": False, "verify_jti": False}
            assert pyjwt.decode(token, KEY, ["HS256"], options=options) == ours  # type: ignore[arg-type]

    def as_the_sdk(request: tuple) -> None:
        assert attempts.baidu.authorization(*request) == _signed_by_the_sdk(*request)

    fuzz.explore("an answer in pieces", st.tuples(HTTP, SIZES, METHODS), pieces)
    fuzz.explore("an answer read back", WELL_FORMED, read_back)
    fuzz.explore("an answer that h11 reads too", HTTP, with_h11, 2)
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(), v, max_size=3),
    )
    names = st.text().filter(lambda name: name not in ("exp", "nbf", "iat"))
    claims = st.dictionaries(names, values.filter(_has_no_surrogates), max_size=4).filter(_has_no_surrogates)
    fuzz.explore("claims signed and read", claims, signed_and_read)
    fuzz.explore("tokens that PyJWT reads too", _tokens(), as_pyjwt)
    fuzz.explore("bce-auth-v1 as Baidu's SDK signs", _bce_requests(), as_the_sdk)


def _has_no_surrogates(value: object) -> bool:
    return not any("\ud800" <= c < "\ue000" for c in json.dumps(value, ensure_ascii=False))


def _h11(raw: bytes) -> list | None:
    """[status, body in hex] as h11 reads an answer to a GET, None if it refuses."""
    import h11

    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "host")]))
    connection.send(h11.EndOfMessage())
    status, body = 0, b""
    try:
        connection.receive_data(raw)
        connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return [status, body.hex()]
            elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None


def _bce_requests() -> st.SearchStrategy[tuple]:
    """Arguments of authorization(), but for what the SDK does otherwise than its document."""
    text = st.text(max_size=12).filter(_has_no_surrogates)
    params = st.dictionaries(
        text.filter(lambda n: n and n.lower() != "authorization"), text | st.integers(), max_size=4
    )
    # Blanks around a value and values of blanks alone are where the SDK and its rules part.
    value = text.map(lambda v: "v" + v + "v")
    headers = st.builds(
        lambda host, date, more: {"Host": host, **({"x-bce-date": date} if date else {}), **more},
        value, st.none() | value, st.dictionaries(st.sampled_from(["Content-Type", "Content-Length"]), value),
    )  # fmt: skip
    return st.tuples(
        st.text("0123456789abcdef", min_size=1), text.map(lambda key: "k" + key),
        st.sampled_from(["GET", "PUT", "POST", "DELETE"]), st.text("abc/%2F-._~;:@").map(lambda p: "/" + p),
        params, headers, st.integers(946684800, 4102444800), st.integers(1, 86400),
    )  # fmt: skip


def _signed_by_the_sdk(
    access_key_id: str,
    secret: str,
    method: str,
    path: str,
    params: dict,
    headers: dict,
    timestamp: int,
    expires: int,
) -> str:
    from baidubce.auth.bce_credentials import BceCredentials
    from baidubce.auth.bce_v1_signer import sign

    signed = {n.encode(): v for n, v in headers.items() if n.lower() in ("host", "x-bce-date")}
    credentials = BceCredentials(access_key_id, secret)
    return sign(
        credentials,
        method.encode(),
        path.encode(),
        signed,
        params,
        timestamp,
        expires,
        sorted(n.lower() for n in signed),
    ).decode()


def _replay(fuzz: Fuzz, folder: str, tell: Callable[[str], None]) -> str:
    """Tries it all again in the VM. Returns how much that was."""
    micropython = find_micropython()
    if micropython is None:
        return "no MicroPython here, so on CPython alone"
    lines, expected = [], []
    for name, tried in fuzz.tried.items():
        for arguments, found in tried:
            # What JSON or UTF-8 does not have cannot be told to the VM.
            with contextlib.suppress(ValueError):
                line = json.dumps([name, arguments], ensure_ascii=False, allow_nan=False)
                lines.append(line.encode())
                expected.append((name, arguments, found))
    tell(f"{len(lines)} of these again in MicroPython")
    done = subprocess.run(
        [*micropython.command, "-X", f"heapsize={HEAP}", attempts.__file__, folder],
        input=b"\n".join(lines) + b"\n",
        env={"MICROPYPATH": f"{ROOT / 'lib'}:.frozen"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=VM_TIMEOUT_S,
    )
    told = []
    # MicroPython makes something of half a pair that is no UTF-8.
    output = done.stdout.decode("utf-8", "surrogatepass").split("\n")
    for line, said in zip(lines, output, strict=False):
        try:
            told.append(json.loads(said))
        except ValueError:
            end = " ".join(output[len(told) :])[-300:]
            fuzz.failures.append(f"the VM ended in {_short(line.decode())}: {end}")
            break
    fuzz.cases += len(told)
    known: set[str] = set()
    for (name, arguments, found), (good, there) in zip(expected, told, strict=False):
        problem = None
        if not good:
            problem = str(there)
        elif name in attempts.SAME and there != json.loads(json.dumps(found)):
            problem = f"{_short(there)} there, {_short(found)} on CPython"
        # One of a kind is enough to read.
        if problem and f"{name}{problem[:20]}" not in known:
            known.add(f"{name}{problem[:20]}")
            fuzz.failures.append(f"{name}({_short(arguments)}) in MicroPython: {problem}")
    return f"{len(told)} of them in MicroPython"
