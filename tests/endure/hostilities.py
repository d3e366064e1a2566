"""What is done to a device by the servers that it calls, group by group.

A group is a function that adds its cases to a stage.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any

from address import here
from endure.authorities import Authorities
from endure.servers import BadLine, RudeServer, ScriptedServer, full_port
from endure.vm.hostile import DEVICE_SECRET, PRODUCT_KEY, SECRETS, TOKEN

# What each call tells the cloud, which may say it back.
SENT = {
    "secret_info": (PRODUCT_KEY,),
    "report": (PRODUCT_KEY, DEVICE_SECRET),
    "chat": (TOKEN,),
    "stream": (TOKEN,),
    "get": (TOKEN,),
}
TIMEOUT_S = 5.0
SHORT_S = 0.2  # where the deadline is what ends it
# A handshake and an answer, as they come from the server.
LINE_BYTES = 1500

FAILS = frozenset({"TransportError"})
REFUSED = frozenset({"TransportError", "CloudError"})
PASSES = REFUSED | {"data"}
ANY = PASSES | {"other data"}


def _text(data: bytes | bytearray) -> str:
    return bytes(data).decode("latin-1")


def answer(body: bytes, *headers: str, status: str = "200 OK", chunked: bool = False) -> bytes:
    """As the platform's own server writes it."""
    lines = [f"HTTP/1.1 {status}", "date: Sun, 22 Nov 2026 04:41:21 GMT", "server: uvicorn", *headers]
    if chunked:
        lines.append("transfer-encoding: chunked")
        body = b"".join(
            b"%x\r\n%b\r\n" % (len(body[n : n + 50]), body[n : n + 50]) for n in range(0, len(body), 50)
        )
        body += b"0\r\n\r\n"
    else:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "content-type: application/json", "", ""]).encode() + body


def _json(data: object) -> bytes:
    return json.dumps(
        {"code": "200", "message": "成功", "success": True, "data": data}, ensure_ascii=False
    ).encode()


INFO = _json({"deviceId": "1", "deviceNo": "no", "productId": "product", "deviceSecret": DEVICE_SECRET})
REPORTED = _json({"deviceId": "1", "protocolTypeTime": "2026-11-22 04:41:21"})
EVENTS = b"".join(
    b"data: %b\n\n" % data
    for data in (
        b'{"choices":[{"delta":{"content":"Good "}}]}',
        b'{"choices":[{"delta":{"content":"morning"}}]}',
        b"[DONE]",
    )
)
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
STREAM += b"%x\r\n%b\r\n0\r\n\r\n" % (len(EVENTS), EVENTS)
GOOD = (
    ("secret_info", answer(INFO)),
    ("report", answer(REPORTED)),
    ("report", answer(REPORTED, chunked=True)),
    ("chat", STREAM),
)
OK = "HTTP/1.1 200 OK\r\n"
CHUNKED = OK + "transfer-encoding: chunked\r\n\r\n"


@dataclass
class Case:
    """name: what is done to the device, so that it can be done again. expected: what may come of it."""

    name: str
    call: str
    url: str
    expected: frozenset = REFUSED
    timeout: float = TIMEOUT_S
    names: list | int | None = None


class PreparedServer(ScriptedServer):
    """A server whose answers are prepared, each at a path of its own."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(context)
        self._steps: list[list] = []

    def at(self, *steps: object) -> str:
        """The URL at which these are the steps of every answer."""
        self._steps.append(list(steps))
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}/{len(self._steps) - 1}"

    def script(self, head: str, body: str) -> list:
        place = head.split(" ")[1].split("/")[1].partition("?")[0]
        known = place.isdigit() and int(place) < len(self._steps)
        return self._steps[int(place)] if known else [_text(answer(b"", status="404 Not Found"))]


@dataclass
class Stage:
    """All that is set up for one device, and the cases in the order in which it meets them."""

    full: bool
    dice: random.Random
    stack: contextlib.ExitStack
    authorities: Authorities
    cases: list[Case] = field(default_factory=list)

    def __post_init__(self) -> None:
        good = self.authorities.contexts["good"]
        self.plain, self.tls = self._open(PreparedServer()), self._open(PreparedServer(good))
        self.other, self.other_tls = self._open(PreparedServer()), self._open(PreparedServer(good))
        self.weak = self._open(PreparedServer(self.authorities.issue(here()).context(weak=True)))
        self.rude = self._open(RudeServer())
        self.line = self.stack.enter_context(BadLine(self.tls.port, self.dice))
        self.bad: dict[str, PreparedServer] = {}

    def _open(self, server):
        return self.stack.enter_context(server)

    def add(self, name: str, call: str, url: str, expected: frozenset = REFUSED, **more) -> None:
        self.cases.append(Case(name, call, url, expected, **more))

    def some(self, of: range, short: int) -> list[int]:
        """All of them in the full form, and so many in the short one."""
        return list(of) if self.full or len(of) <= short else sorted(self.dice.sample(of, short))

    def of(self, *all_of_them: Any) -> list:
        """All of them in the full form, and one in the short one."""
        return list(all_of_them) if self.full else [self.dice.choice(all_of_them)]

    def servers(self) -> list[ScriptedServer]:
        return [self.plain, self.tls, self.other, self.other_tls, self.weak, self.rude, *self.bad.values()]


def good(stage: Stage) -> None:
    """That all is well when nobody is hostile; the rest is measured against it."""
    for call, data in GOOD:
        stage.add("nothing", call, stage.tls.at(_text(data)), frozenset({"data"}))
        stage.add("nothing", call, stage.plain.at(_text(data)), frozenset({"data"}))
    stage.add("nothing", "report", stage.weak.at(_text(answer(REPORTED))), frozenset({"data"}))


def cut(stage: Stage) -> None:
    """A good answer that ends early, after every byte."""
    for call, data in GOOD:
        # After these nothing is waited for.
        done = data.index(b"[DONE]\n\n") + 8 if b"[DONE]" in data else len(data)
        for n in stage.some(range(len(data)), 12 if call == "secret_info" else 5):
            expected = FAILS if n < done else PASSES
            for end in stage.of("cut", "reset"):
                url = stage.plain.at(_text(data[:n]), [end])
                stage.add(f"{end} after {n} of {len(data)} bytes", call, url, expected)
        for n in stage.some(range(len(data)), 3):
            expected = FAILS if n < done else PASSES
            for end in stage.of("close", "cut", "reset"):
                url = stage.tls.at(_text(data[:n]), [end])
                stage.add(f"TLS, {end} after {n} of {len(data)} bytes", call, url, expected)


def line(stage: Stage) -> None:
    """A line that breaks, or is disturbed, anywhere in the handshake and in the answer, TLS and all."""
    path = stage.tls.at(_text(answer(INFO))).rpartition("/")[2]
    for what, step in (("FIN", 1), ("RST", 1), ("noise", 3), ("flipped", 3)):
        for n in stage.some(range(stage.dice.randrange(step), LINE_BYTES, step), 4):
            url = f"{stage.line.then(what, n)}/{path}"
            stage.add(f"a line with {what} at byte {n}", "secret_info", url, PASSES, timeout=0.5)
    for n in stage.of(0, 100, 700):
        url = f"{stage.line.then('slow', n)}/{path}"
        stage.add(f"a line that gives a byte a second from byte {n}", "report", url, timeout=SHORT_S)


def noise(stage: Stage) -> None:
    """Random bytes, and good answers with some bytes changed."""
    for n in range(600 if stage.full else 8):
        data = stage.dice.randbytes(stage.dice.randrange(1, 600))
        server = stage.tls if n % 2 else stage.plain
        stage.add(f"random bytes {data[:40]!r}", "report", server.at(_text(data), ["cut"]), FAILS)
        call, data = stage.dice.choice(GOOD)
        spoiled = bytearray(data)
        for _ in range(stage.dice.choice([1, 1, 2, 5])):
            spoiled[stage.dice.randrange(len(data))] = stage.dice.randrange(256)
        stage.add(f"spoiled {bytes(spoiled)!r}", call, server.at(_text(spoiled), ["cut"]), ANY)


def framing(stage: Stage) -> None:
    """Heads and bodies that have no end, or lie about it."""
    reported, fits = _text(REPORTED), len(REPORTED)
    packed = gzip.compress(REPORTED)
    bomb = gzip.compress(bytes(10_000_000))
    for name, steps, expected in (
        ("a status line without end", ["HTTP/1.1 200 ", ["endless", "x"]], FAILS),
        ("nothing but line ends", [["endless", "\r\n"]], FAILS),
        ("a header without end", [OK + "a: ", ["endless", "x"]], FAILS),
        ("10,000 headers", [OK, ["count", "h%d: v\r\n", 10000], "\r\n"], FAILS),
        ("headers without end", [OK, ["endless", "a: b\r\n"]], FAILS),
        ("interim answers without end", [["endless", "HTTP/1.1 103 x\r\n\r\n"]], FAILS),
        ("1 GB announced", [OK + "content-length: 1073741824\r\n\r\n", ["silent"]], FAILS),
        ("1 GB announced and sent", [OK + "content-length: 1073741824\r\n\r\n", ["endless", "x"]], FAILS),
        ("a body without end", [OK + "\r\n", ["endless", "{"]], FAILS),
        ("chunks without end", [CHUNKED, ["endless", "5\r\nhello\r\n"]], FAILS),
        ("a chunk's extension without end", [CHUNKED + "5;", ["endless", "x"]], FAILS),
        ("trailers without end", [CHUNKED + "0\r\n", ["endless", "a: b\r\n"]], FAILS),
        ("a length that fits twice", [OK + f"content-length: {fits}, {fits}\r\n\r\n" + reported], PASSES),
        ("a body that is longer than it says", [_text(answer(REPORTED)) + "HTTP/1.1 200 OK\r\n\r\n"], PASSES),
        ("gzip that nobody asked for", [_text(answer(packed, "content-encoding: gzip"))], FAILS),
        ("gzip that says nothing of it", [_text(answer(packed))], REFUSED),
        ("gzip as a coding", [OK + "transfer-encoding: gzip\r\n\r\n", _text(packed), ["cut"]], FAILS),
        ("10 MB of zeros in gzip", [_text(answer(bomb, "content-encoding: gzip"))], FAILS),
        ("a body for a 204", [_text(answer(REPORTED, status="204 No Content"))], REFUSED),
        ("HTTP/2", ["HTTP/2 200\r\n\r\n", ["silent"]], FAILS),
        ("HTTP/0.9", [reported, ["cut"]], FAILS),
    ):  # fmt: skip
        for server in stage.of(stage.tls, stage.plain):
            stage.add(name, "report", server.at(*steps), expected)
    for size in ("-1", "-0", "+5", "1e3", "0x10", "5 6", "5, 6", "9" * 20, "18446744073709551617", "", "²"):
        url = stage.tls.at(OK + f"content-length: {size}\r\n\r\n" + reported, ["silent"])
        stage.add(f"the length {size!r}", "report", url, FAILS)
    for size in ("-1", "f" * 17, "100000000", "7fffffff", "ffffffff", "80000000", "0x5", "g", "", "-0"):
        url = stage.tls.at(CHUNKED + f"{size}\r\n" + reported, ["cut"])
        stage.add(f"a chunk of the size {size!r}", "report", url, FAILS)


def slowness(stage: Stage) -> None:
    """Servers that take their time: the deadline of the whole exchange holds."""
    data = _text(answer(REPORTED))
    chunks = _text(answer(REPORTED, chunked=True))
    head = data.index("\r\n\r\n") + 4
    for name, steps in (
        ("no answer", [["silent"]]),
        ("a byte a second", [["drip", data, 1]]),
        ("a byte a second after the head", [data[:head], ["drip", data[head:], 1]]),
        ("a byte a second in chunks", [chunks[:head], ["drip", chunks[head:], 1]]),
        ("a byte every 20 ms", [["drip", data, 0.02]]),
        ("silence after the head", [data[:head], ["silent"]]),
        ("silence before the last byte", [data[:-1], ["silent"]]),
        ("silence before the last chunk", [chunks[:-5], ["silent"]]),
    ):
        for server in stage.of(stage.tls, stage.plain):
            stage.add(name, "report", server.at(*steps), FAILS, timeout=SHORT_S)
    text = _text(STREAM)
    for n in stage.of(30, len(STREAM) // 2, len(STREAM) - 20):
        stage.add(
            f"a stream silent after byte {n}", "chat", stage.tls.at(text[:n], ["silent"]), timeout=SHORT_S
        )
    deaf = stage.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    url = f"https://127.0.0.1:{deaf.getsockname()[1]}"
    stage.add("a port where nobody reads", "secret_info", url, FAILS, timeout=SHORT_S)
    full = f"https://127.0.0.1:{stage.stack.enter_context(full_port())}"
    stage.add("a port that takes no connection", "secret_info", full, FAILS, timeout=SHORT_S)


def handshakes(stage: Stage) -> None:
    """What is no TLS server, or only the beginning of one."""
    hello = ["hello"]
    # handshake, TLS 1.2, 90 bytes: a ServerHello that goes no further.
    half = "\x16\x03\x03\x00\x5a\x02\x00\x00\x56\x03\x03" + "r" * 20
    for name, steps, timeout in (
        ("a reset at once", [["reset"]], TIMEOUT_S),
        ("an end at once", [["cut"]], TIMEOUT_S),
        ("a reset after the ClientHello", [hello, ["reset"]], TIMEOUT_S),
        ("an end after the ClientHello", [hello, ["cut"]], TIMEOUT_S),
        ("silence after the ClientHello", [hello, ["silent"]], SHORT_S),
        ("half a ServerHello and silence", [hello, half, ["silent"]], SHORT_S),
        ("half a ServerHello and the end", [hello, half, ["cut"]], TIMEOUT_S),
        ("half a ServerHello and a reset", [hello, half, ["reset"]], TIMEOUT_S),
        ("a ServerHello at a byte a second", [hello, ["drip", half, 1]], SHORT_S),
        ("HTTP where TLS should be", [hello, _text(answer(REPORTED)), ["silent"]], SHORT_S),
        ("a fatal alert", [hello, "\x15\x03\x03\x00\x02\x02\x28", ["silent"]], SHORT_S),
        ("a record of 65,535 bytes", [hello, "\x16\x03\x03\xff\xff", ["endless", "x"]], SHORT_S),
        ("a message of 16 MB", [hello, "\x16\x03\x03\x3f\xff\x0b\xff\xff\xff", ["endless", "x"]], SHORT_S),
        ("application data before its time", [hello, "\x17\x03\x03\x00\x05hello", ["silent"]], SHORT_S),
        ("warnings without end", [hello, ["endless", "\x15\x03\x03\x00\x02\x01\x5a"]], SHORT_S),
        ("empty records without end", [hello, ["endless", "\x16\x03\x03\x00\x00"]], SHORT_S),
    ):  # fmt: skip
        stage.add(name, "secret_info", stage.rude.then(*steps), FAILS, timeout=timeout)
    for _ in range(200 if stage.full else 5):
        data = stage.dice.randbytes(stage.dice.randrange(1, 300))
        start = stage.dice.choice(["", "", "\x16\x03\x03", "\x16\x03\x03\x00\x40\x02\x00\x00\x3c\x03\x03"])
        url = stage.rude.then(hello, start + _text(data), ["cut"])
        stage.add(f"{start!r} and random bytes {data[:40]!r}", "secret_info", url, FAILS)


def certificates(stage: Stage) -> None:
    """Servers that are not who they say, by every kind of certificate that says so."""
    contexts = {**stage.authorities.contexts, **stage.authorities.wrong()}
    for kind, context in contexts.items():
        if kind not in ("good", "named"):
            server = stage.bad[kind] = stage._open(PreparedServer(context))
            for call in ("secret_info", "report", "chat", "stream", "get") if stage.full else ("report",):
                stage.add(f"a certificate: {kind}", call, server.at(_text(answer(INFO))), FAILS)


def names(stage: Stage) -> None:
    """Name servers that fail, know nothing, or lie."""
    real = stage.tls.at(_text(answer(REPORTED))).replace("127.0.0.1", "platform.example")
    dead = _dead_port()
    for what, looked_up in (
        ("a name that nobody knows", -2),
        ("a name server that does not answer", -3),
        ("an error of no meaning", 12345),
        ("a name without an address", []),
        ("a name of nobody's addresses", ["127.0.0.2", "127.0.0.3"]),
        ("a name that is everybody", ["255.255.255.255"]),
        ("a name of many addresses", ["255.255.255.255"] * 50),
        ("another's address", ["127.0.0.1"]),
    ):
        port_of_nobody = real.replace(f":{stage.tls.port}", f":{dead}")
        url = real if looked_up == ["127.0.0.1"] else port_of_nobody
        stage.add(what, "secret_info", url, FAILS, names=looked_up)
    for host in ("nowhere.invalid", "a" * 64 + ".invalid", "a..b", "xn--.invalid", "-"):
        stage.add(f"the name {host}", "secret_info", f"https://{host}:{dead}", FAILS)


def _dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def redirects(stage: Stage) -> None:
    """Redirects to elsewhere, with secrets in hand."""
    plain, tls = (f"//127.0.0.1:{server.port}/0" for server in (stage.other, stage.other_tls))
    places = [
        "http:" + plain, "https:" + tls, tls, f"https://localhost:{stage.other_tls.port}/0",
        f"http://127.0.0.1:{stage.tls.port}/0", f"https://127.0.0.1@127.0.0.1:{stage.other_tls.port}/0",
        f"HTTPS:{tls}?a#b", "ftp:" + tls, "file:///etc/passwd", "https://", "//", "https:///", "\\\\x",
        "/a b", f"https://127.0.0.1:{stage.tls.port}\r\nx: y", "https://[::1",
    ]  # fmt: skip
    for place in places:
        for status in stage.of(301, 302, 303, 307, 308):
            for call in stage.of("secret_info", "report", "chat", "stream", "get"):
                data = f"HTTP/1.1 {status} x\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n"
                # Not all of them lead away, and then there is nothing at that place.
                expected = REFUSED if "//" in place and "\r" not in place else REFUSED | {"other data"}
                stage.add(f"{status} to {place!r}", call, stage.tls.at(data), expected)
    for call in ("secret_info", "report", "get"):
        url = stage.tls.at("HTTP/1.1 307 x\r\nlocation: ?\r\ncontent-length: 0\r\n\r\n")
        stage.add("a redirect to itself", call, url, FAILS)


def bombs(stage: Stage) -> None:
    """JSON that is deep, huge or odd, where a cloud's answer stands."""
    deep, nested, digits = "[" * 30000 + "]" * 30000, '{"a":' * 10000 + "1" + "}" * 10000, "9" * 4000
    sized = {
        "depth 30,000": deep, "depth 3,000": "[" * 3000 + "]" * 3000, "depth 500": "[" * 500 + "]" * 500,
        "10,000 objects in each other": nested,
        "30,000 brackets": "[" * 30000, "60,000 brackets": "[" * 60000, "4,000 digits": digits,
        "many digits": "9" * (60000 if stage.full else 15000), "a huge exponent": "1e" + "9" * 300,
        "-0": "-0", "not a number": "NaN", "60,000 letters": '"' + "x" * 60000 + '"',
        "10,000 escapes": '"' + "\\u0000" * 10000 + '"', "half a pair": '"\\ud800"',
        "no UTF-8": '"\xff\xfe"', "a NUL": '"\x00"', "line ends": '"a\\r\\nb\\u007f"',
        "5,000 keys": "{" + ",".join(f'"k{n}":{n}' for n in range(5000)) + "}", "a list": "[1,2]",
        "secrets": json.dumps(" ".join(SECRETS)), "true": "true", "null": "null", "nothing": "",
    }  # fmt: skip
    bodies = {
        "whole": "BOMB",
        "code": '{"code":BOMB,"message":"no","success":false}',
        "message": '{"code":"500","message":BOMB,"success":false}',
        "data": '{"code":"200","success":true,"data":BOMB}',
        "deviceSecret": '{"code":"200","success":true,"data":{"deviceId":"1","deviceNo":"no",'
        '"productId":"product","protocolTypeTime":"x","deviceSecret":BOMB}}',
    }
    head = OK + "content-type: text/event-stream\r\n\r\n"
    streams = {
        "an event": 'event: Message\ndata: {"choices":[{"delta":{"content":BOMB}}]}\n\n',
        "an error": 'event: Error\ndata: {"error_code":BOMB,"error_message":BOMB}\n\n',
    }
    refusal = '{"error":{"code":BOMB,"message":BOMB},"code":BOMB,"msg":BOMB}'
    for name, bomb in sized.items():
        for place, body in stage.of(*bodies.items()):
            data = answer(body.replace("BOMB", bomb).encode("latin-1"))
            for call in stage.of("secret_info", "report"):
                stage.add(f"{name} as {place}", call, stage.plain.at(_text(data)), ANY)
        data = answer(refusal.replace("BOMB", bomb).encode("latin-1"), status="400 Bad Request")
        for call in stage.of("chat", "stream"):
            for place, event in stage.of(*streams.items()):
                url = stage.plain.at(head + event.replace("BOMB", bomb), ["cut"])
                stage.add(f"{place} with {name}", call, url)
            stage.add(f"a refusal with {name}", call, stage.plain.at(_text(data)))
    for name, text in (
        ("data", "data: " + "x" * 900 + "\n"),
        ("a line", "x" * 900),
        ("data lines", "data\n"),
    ):
        for call in ("chat", "stream"):
            stage.add(f"{name} without end", call, stage.plain.at(head, ["endless", text]))


GROUPS = (cut, line, noise, framing, slowness, handshakes, certificates, names, redirects, bombs)
