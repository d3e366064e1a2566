"""A heartbeat on the wire: its bytes and its TLS records, and how long the second one takes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import ssl
import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from muster.clouds.chinamobile import PRODUCTION

from tools.common.certificates import keep_root, make_server
from tools.common.paths import ROOT
from tools.common.progress import Tell
from tools.common.vm import find_micropython

from .figure import Figure, ratio_of, times
from .server import Server

PROGRAM = Path(__file__).parent / "vm" / "wire.py"
ROUNDS = 60
MOST_BYTES, AS_FAST = 560, 8
PEER = "MicroPython's frozen requests"

BODY = b'{"code":"200","message":"OK","success":true,"data":{"deviceId":"123456789","protocolTypeTime":"0"}}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)


@dataclass
class Request:
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


class Counter(Server):
    """Counts the records of each request, and accepts every heartbeat."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context, self._count)
        self.requests: list[Request] = []

    def _count(self, client: socket.socket) -> None:
        came, answers = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(came, answers, server_side=True)
        greeted, request = False, Request()
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
                    tls.write(ANSWER)
                    self.requests.append(request)
                client.sendall(answers.read())
                if whole:
                    if request.last:
                        return
                    request = Request()


def _record(stream) -> bytes:
    """One TLS record, its header of five bytes included; b"" when the client has left."""
    header = stream.read(5)
    return header + stream.read(int.from_bytes(header[3:], "big")) if len(header) == 5 else b""


def exchange(rounds: int) -> tuple[list[Request], dict]:
    """What the server saw of our first heartbeat and of the peer's, and what the VM told."""
    micropython = find_micropython()
    if micropython is None:
        raise RuntimeError("there is no MicroPython for this computer.")
    with tempfile.TemporaryDirectory(prefix="muster-wire-") as folder:
        root = keep_root(Path(folder), "muster bench")
        host = str(urlsplit(PRODUCTION).hostname)
        with Counter(make_server(host, signer=root).context()) as server:
            done = subprocess.run(
                [*micropython.command, PROGRAM, str(server.port), Path(folder) / "ca.pem", str(rounds)],
                env=dict(os.environ, MICROPYPATH=f"{ROOT / 'lib'}:.frozen"),
                capture_output=True,
                text=True,
                timeout=60,
            )
            if done.returncode:
                raise RuntimeError(f"{PROGRAM.name} failed: {done.stderr or done.stdout}")
            return server.requests[:2], json.loads(done.stdout)


def measure(tell: Tell) -> list[Figure]:
    """The two rows of this topic."""
    tell("wire: heartbeats by muster.http and by the frozen requests, in turns")
    (ours, theirs), told = exchange(ROUNDS)
    what, again = "the document's example heartbeat as one HTTPS POST", "second POST to the same host"
    if ours.body != theirs.body or told["answers"][0] != told["answers"][1]:
        wrong = f"wrong: it sent {theirs.body!r} and was answered {told['answers'][1]}"
        return [Figure(name, PEER, "", wrong, None) for name in (what, again)]
    pairs = [(ours_us, theirs_us) for ours_us, theirs_us in told["times"]]
    ratio = ratio_of(pairs)
    middle = [statistics.median(side) / 1000 for side in zip(*pairs, strict=True)]
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
            f"{times(ratio)} as fast: {middle[0]:.2f} ms, {middle[1]:.1f} ms",
            ratio >= AS_FAST,
            f"{len(pairs)} rounds in turns, TCP_NODELAY on both sides; the peer verifies no certificate",
        ),
    ]
