"""What fuzz draws: answers, configurations, keys, tokens and records, mostly good ones that were spoiled."""

from __future__ import annotations

import base64
import datetime
import itertools
import json
import struct
import zlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from endure.vm.readers import CALLS, KEY, NOW, SECRETS, TOKEN
from hypothesis import strategies as st
from muster import jwt
from pem_keys import KEY as PRIVATE_PEM
from pem_keys import PUBLIC as PUBLIC_PEM

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
    """Bytes as readers take them."""
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
def cloud_answers(draw: st.DrawFn, call: str) -> tuple:
    """An answer of HTTP to one of the clouds' calls."""
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
    return call, latin(answer), draw(st.sampled_from([[4096], [4096], [7, 100]]))


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
     [TOKEN], [[TOKEN]], "\u212a", "\u0130.cn", "https://\u212a", True, KEY, f"https://{KEY}",
     "x" * 60 + TOKEN]
)  # fmt: skip
CONFIGURATIONS = (
    st.dictionaries(OTHER_KEYS, SETTINGS | ANYTHING, max_size=4).map(lambda more: {**CONFIGURATION, **more})
    | st.dictionaries(OTHER_KEYS, SETTINGS, max_size=4)
    | ANYTHING
)


PKCS1_PEM = PRIVATE_PEM.encode()
_KEY = load_pem_private_key(PKCS1_PEM, None)
PKCS8_PEM = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
_NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fuzz")])
CERTIFICATE_PEM = (
    x509.CertificateBuilder(_NAME, _NAME, _KEY.public_key(), 1)
    .not_valid_before(datetime.datetime(2026, 1, 2))
    .not_valid_after(datetime.datetime(2050, 1, 2))
    .sign(_KEY, hashes.SHA256())
    .public_bytes(Encoding.PEM)
)


def _armoured(label: str, der: bytes) -> bytes:
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (
        label.encode(), base64.encodebytes(der), label.encode()
    )  # fmt: skip


def _der(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(pem.split(b"\n")[1:-2]))


def _pem(good: bytes, label: str) -> st.SearchStrategy[str]:
    """PEM text that was spoiled, or of DER that was."""
    return (mutated(good) | mutated(_der(good)).map(lambda der: _armoured(label, der)) | HTTP).map(latin)


TOKENS = (
    mutated(jwt.encode({"iss": "a", "exp": NOW + 9}, KEY).encode()).map(latin)
    | st.text(max_size=40)
    | st.text("ab.=_-", max_size=40)
)
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
    """As it lies on flash: see muster.store."""
    body = struct.pack("<IH", sequence, len(text)) + text
    return struct.pack("<I", zlib.crc32(body)) + body


SLOTS = (
    st.binary(max_size=60)
    | st.builds(_record, st.integers(0, (1 << 32) - 1), st.sampled_from([b'{"a":1}', b"{", b"[1]", b"\xff"]))
    | st.builds(_record, st.integers(0, 9), JSON.map(lambda text: _utf8(text)[:900]))
    | mutated(b"\x00" * 4 + b'\x01\x00\x00\x00\x07\x00{"a":1}')
).map(latin)


RAW = (HTTP | WELL_FORMED.map(lambda parts: well_formed(*parts))).map(latin)
CONFIGURATION_FILES = (JSON | CONFIGURATIONS.map(json.dumps)).map(_utf8) | HTTP
# The arguments of each reader; each call of the clouds has answers of its own.
STRATEGIES: dict[str, st.SearchStrategy[tuple]] = {
    "http_answer": st.tuples(RAW, SIZES, METHODS),
    "http_stream": st.tuples(RAW, SIZES),
    "http_request": st.tuples(METHODS | st.just("G\r\nT"), URLS | LOCATIONS, REQUEST_HEADERS),
    "http_redirect": st.tuples(LOCATIONS, URLS, REQUEST_HEADERS),
    "pem_certificates": st.tuples(_pem(CERTIFICATE_PEM, "CERTIFICATE")),
    "certificate_dates": st.tuples((mutated(_der(CERTIFICATE_PEM)) | st.binary(max_size=60)).map(latin)),
    "private_key": st.tuples(_pem(PKCS1_PEM, "RSA PRIVATE KEY") | _pem(PKCS8_PEM, "PRIVATE KEY")),
    "public_key": st.tuples(_pem(PUBLIC_PEM.encode(), "PUBLIC KEY")),
    "jwt_decode": st.tuples(TOKENS, st.just(NOW)),
    "jwt_signed": st.tuples(st.just(HEADER) | PARTS, PARTS, st.just(NOW)),
    "configuration": st.tuples(CONFIGURATIONS),
    "configuration_file": st.tuples(CONFIGURATION_FILES.map(latin)),
    "events": st.tuples(LINES),
    "event_data": st.tuples(EVENT_DATA),
    "stored": st.tuples(SLOTS, SLOTS),
    "device_number": st.tuples(
        st.text(max_size=9) | st.just("11123456"), st.text(max_size=7) | st.integers()
    ),
    "device_number_checked": st.tuples(st.text("0123456789\u0661\xb2", max_size=16) | ANYTHING),
    **{f"cloud: {call}": cloud_answers(call) for call in CALLS},
}


def _has_no_surrogates(value: object) -> bool:
    return not any("\ud800" <= c < "\ue000" for c in json.dumps(value, ensure_ascii=False))


TEXT = st.text(max_size=12).filter(_has_no_surrogates)
# Blanks around a value and values of blanks alone are where Baidu's SDK and its rules part.
VALUES = TEXT.map(lambda text: "v" + text + "v")
# Arguments of authorization(), but for what the SDK does otherwise than its document.
BCE_REQUESTS = st.tuples(
    st.text("0123456789abcdef", min_size=1),
    TEXT.map(lambda key: "k" + key),
    st.sampled_from(["GET", "PUT", "POST", "DELETE"]),
    st.text("abc/%2F-._~;:@").map(lambda path: "/" + path),
    st.dictionaries(
        TEXT.filter(lambda name: name and name.lower() != "authorization"), TEXT | st.integers(), max_size=4
    ),
    st.builds(
        lambda host, date, more: {"Host": host, **({"x-bce-date": date} if date else {}), **more},
        VALUES, st.none() | VALUES,
        st.dictionaries(st.sampled_from(["Content-Type", "Content-Length"]), VALUES),
    ),
    st.integers(946684800, 4102444800),
    st.integers(1, 86400),
)  # fmt: skip

CLAIMS = st.dictionaries(
    st.text().filter(lambda name: name not in ("exp", "nbf", "iat")),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    max_size=4,
).filter(_has_no_surrogates)
