"""A heartbeat on the wire: its bytes and its TLS records, and how long the second one takes."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from muster.clouds.chinamobile import PRODUCTION

from tools.common import vm
from tools.common.progress import Tell

from .figure import Figure, Turns, times
from .programs import PROGRAMS
from .server import ACCEPTED, LoopbackServer

ROUNDS = 60
MOST_BYTES, AS_FAST = 560, 8
PEER = "MicroPython's frozen requests"


@dataclass
class SeenRequest:
    """A request as it comes: its plain bytes, and the TLS records that carry them, with their headers."""

    plain: bytes = b""
    records: int = 0
    wire_bytes: int = 0

    @property
    def body(self) -> bytes | None:
        """The body, once all of it is there."""
        head, end, body = self.plain.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        return body if end and length and len(body) == int(length[1]) else None

    @property
    def last(self) -> bool:
        """Whether the client wants the connection closed after it."""
        return re.search(rb"^.* HTTP/1\.0\r\n|\r\nconnection: *close", self.plain, re.IGNORECASE) is not None


class RecordCounter(LoopbackServer):
    """Counts the records of each request, and accepts every heartbeat."""

    def __init__(self) -> None:
        super().__init__(self._count, str(urlsplit(PRODUCTION).hostname))
        self.requests: list[SeenRequest] = []

    def _count(self, client: socket.socket) -> None:
        came, answers = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(came, answers, server_side=True)
        greeted, request = False, SeenRequest()
        with client.makefile("rb") as stream:
            while record := _record(stream):
                came.write(record)
                with contextlib.suppress(ssl.SSLWantReadError):
                    if not greeted:
                        tls.do_handshake()
                        greeted = True
                    else:
                        request.plain += tls.read()
                        request.records += 1
                        request.wire_bytes += len(record)
                whole = request.body is not None
                if whole:
                    tls.write(ACCEPTED)
                    self.requests.append(request)
                client.sendall(answers.read())
                if whole:
                    if request.last:
                        return
                    request = SeenRequest()


def _record(stream) -> bytes:
    """One TLS record, its header of five bytes included; b"" when the client has left."""
    header = stream.read(5)
    return header + stream.read(int.from_bytes(header[3:], "big")) if len(header) == 5 else b""


def exchange(rounds: int) -> tuple[list[SeenRequest], dict]:
    """What the server saw of our first heartbeat and of the peer's, and what the VM told."""
    with RecordCounter() as server:
        told = vm.ask(PROGRAMS / "wire.py", [server.port, server.ca, rounds])
        return server.requests[:2], told


def measure(tell: Tell) -> list[Figure]:
    """The two rows of this topic."""
    tell("wire: heartbeats by muster.http and by the frozen requests, in turns")
    (ours, theirs), told = exchange(ROUNDS)
    what, again = "the document's example heartbeat as one HTTPS POST", "second POST to the same host"
    if ours.body != theirs.body or told["answers"][0] != told["answers"][1]:
        wrong = f"wrong: it sent {theirs.body!r} and was answered {told['answers'][1]}"
        return [Figure(name, PEER, "", wrong, None) for name in (what, again)]
    turns = Turns(told["times"])
    return [
        Figure(
            what,
            f"{PEER}: {theirs.records} records, {theirs.wire_bytes:,} bytes",
            f"1 record, at most {MOST_BYTES} bytes",
            f"{ours.records} record{'s' * (ours.records != 1)}, {ours.wire_bytes} bytes",
            ours.records == 1 and ours.wire_bytes <= MOST_BYTES,
            f"to {urlsplit(PRODUCTION).netloc}; bytes on the wire, the TLS records' headers, nonces and tags "
            f"included; of HTTP they are {len(ours.plain)}, of JSON {len(ours.body or b'')}",
        ),
        Figure(
            again,
            f"{PEER}, which shakes hands again",
            f"{AS_FAST} times as fast over loopback TLS",
            f"{times(turns.ratio)} as fast: {turns.ours / 1000:.2f} ms, {turns.theirs / 1000:.1f} ms",
            turns.ratio >= AS_FAST,
            f"{len(turns.pairs)} rounds in turns, TCP_NODELAY on both sides; the peer verifies no "
            "certificate",
        ),
    ]
