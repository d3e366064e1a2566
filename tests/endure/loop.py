"""How long an asyncio program's loop stands still while a server is silent or drips, phase by phase."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from endure.servers import full_port

from tools.cli.verdict import SEED, Verdict
from tools.cloud.certificates import DAY, make_root
from tools.common.paths import ROOT
from tools.common.vm import find_micropython

PROGRAM = Path(__file__).parent / "vm" / "loop.py"
LIMIT_MS = 50
SECONDS, SHORT_S = 3.0, 0.2  # that an exchange may take
# A busy machine makes any loop stand still, now and then; what muster does to one, it does every time.
TRIES = 9

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nX-Filling: " + b"x" * 1000
BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n"
FILLING = bytes(4096)
LARGE = 16 << 10  # kilobytes, more than the sockets' buffers take


@dataclass(frozen=True)
class Phase:
    """What a server does that says nothing from some point on, or too little.

    waits_for: what the error must name in which the exchange ends. tls: it shakes hands; drips_handshake: a
    byte at a time. reads: it takes the request, of so many kilobytes. at_once, drips: what it answers.
    """

    name: str
    waits_for: str
    tls: bool = True
    reads: bool = True
    at_once: bytes = b""
    drips: bytes = b""
    drips_handshake: bool = False
    kilobytes: int = 1


PHASES = (
    Phase("handshake, silent", "the TLS handshake", tls=False),
    Phase("handshake, drips", "the TLS handshake", drips_handshake=True),
    Phase("request, not read", "the request", reads=False, kilobytes=LARGE),
    Phase("headers, silent", "the answer"),
    Phase("headers, drips", "the answer", drips=HEAD),
    Phase("body, silent", "the answer", at_once=BODY + FILLING),
    Phase("body, drips", "the answer", at_once=BODY, drips=FILLING),
)


class Server:
    """One of the above, for as long as a `with` block lasts."""

    def __init__(self, phase: Phase, context: ssl.SSLContext, pause: float) -> None:
        self._phase, self._context, self._pause = phase, context, pause
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Server:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # As over Ethernet: a loopback's segments of 64 KB come with megabytes of buffer to fill first.
        with contextlib.suppress(OSError):
            self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
        self._listener.settimeout(0.05)
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._begin(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _begin(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name=self._phase.name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                stream, _ = self._listener.accept()
                stream.settimeout(0.05)
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._begin(self._serve, stream)

    def _serve(self, stream: socket.socket) -> None:
        phase = self._phase
        # The client leaves when its time is up.
        with stream, contextlib.suppress(OSError, EOFError):
            if phase.tls:
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                tls = self._context.wrap_bio(incoming, outgoing, server_side=True)
                self._until(stream, tls.do_handshake, incoming, outgoing)
                if phase.reads:
                    self._until(stream, lambda: tls.read(65536), incoming, outgoing)
                    tls.write(phase.at_once)
                    self._say(stream, outgoing.read())
                    for byte in phase.drips:
                        tls.write(bytes([byte]))
                        self._say(stream, outgoing.read())
                        self._wait()
            while True:
                self._wait()

    def _until(
        self, stream: socket.socket, done: Callable, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
    ) -> None:
        """Talks TLS until it is done."""
        while True:
            try:
                done()
                self._say(stream, outgoing.read())
                return
            except ssl.SSLWantReadError:
                self._say(stream, outgoing.read())
                incoming.write(self._hear(stream))

    def _say(self, stream: socket.socket, data: bytes) -> None:
        if not self._phase.drips_handshake:
            stream.sendall(data)
            return
        for byte in data:
            stream.sendall(bytes([byte]))
            self._wait()

    def _hear(self, stream: socket.socket) -> bytes:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                data = stream.recv(65536)
                if data:
                    return data
                break
        raise EOFError

    def _wait(self) -> None:
        if self._stop.wait(self._pause):
            raise EOFError


@contextlib.contextmanager
def silent_time_server() -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{s.getsockname()[1]}"


def server_context(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's certificate, and the path of its root."""
    now = datetime.datetime.now(datetime.timezone.utc)
    root, ca = make_root("muster chaos"), folder / "ca.pem"
    ca.write_bytes(root.cert_pem.bytes())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    root.issue_cert("127.0.0.1", not_before=now - DAY, not_after=now + DAY).configure_cert(context)
    return context, ca


def machines() -> dict[str, list[str]]:
    found = {"CPython": [sys.executable]}
    micropython = find_micropython()
    if micropython is not None:
        found["MicroPython"] = [*micropython.command, "-X", "heapsize=512k"]
    return found


def measured(command: list[str], phases: list[tuple], ca: Path, seconds: float) -> list[tuple[int, int, str]]:
    library = str(ROOT / "lib")
    done = subprocess.run(
        [*command, PROGRAM],
        input=json.dumps({"phases": phases, "ca": str(ca), "seconds": seconds}) + "\n",
        env=os.environ | {"MICROPYPATH": f"{library}:.frozen", "PYTHONPATH": library},
        capture_output=True,
        text=True,
        timeout=60 + 4 * seconds * len(phases),
    )
    if done.returncode != 0:
        raise RuntimeError(f"{PROGRAM.name} ended with status {done.returncode}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def run(full: bool, tell: Callable[[str], None], seed: int = SEED) -> Verdict:
    """Measures each phase of an exchange on both machines against 50 ms.

    Name lookup and the arithmetic of a handshake are left out, since nothing can turn the loop meanwhile:
    the servers go by their number, and the handshakes stand still before the arithmetic. On a busy machine
    any loop stands still: a stall may be longer by that of a bare loop just before, and the best of several
    tries counts.
    """
    verdict = Verdict("loop")
    seconds = SECONDS if full else SHORT_S
    with tempfile.TemporaryDirectory(prefix="muster-loop-") as folder, contextlib.ExitStack() as stack:
        context, ca = server_context(Path(folder))
        port = stack.enter_context(full_port())
        names = ["connect, silent", *[phase.name for phase in PHASES], "time server, silent"]
        ends = [f"{what} did not end" for what in ("the connection", *[phase.waits_for for phase in PHASES])]
        ends.append("False")
        asked: list[tuple] = [(f"https://127.0.0.1:{port}/", 1)]
        for phase in PHASES:
            # Twenty bytes are all that it gets to say: a handshake stays short of its arithmetic.
            server = stack.enter_context(Server(phase, context, pause=seconds / 20))
            asked.append((server.url, phase.kilobytes))
        asked.append(("", stack.enter_context(silent_time_server())))

        longest = {}
        for machine, command in machines().items():
            for name, stall, bare, wrong in judged(command, names, ends, asked, ca, seconds):
                verdict.cases += 1
                tell(f"loop: {machine}, {name}: {stall} ms (without muster {bare} ms)")
                if wrong:
                    verdict.failures.append(f"{machine}, {name}: {wrong}")
                elif stall > LIMIT_MS + bare:
                    verdict.failures.append(
                        f"{machine}, {name}: the loop stood still for {stall} ms, expected at most {LIMIT_MS}"
                        f" (without muster {bare} ms)"
                    )
                longest[machine] = max(longest.get(machine, (0, 0, "")), (stall, bare, name))
    verdict.note = "; ".join(
        f"{machine}: longest stall {stall} ms ({name}; without muster {bare} ms)"
        for machine, (stall, bare, name) in longest.items()
    )
    return verdict


def judged(
    command: list[str], names: list[str], ends: list[str], asked: list[tuple], ca: Path, seconds: float
) -> Iterator[tuple[str, int, int, str]]:
    """The name, stall, stall without muster and fault of each phase; what was not well is measured again."""
    best: dict[int, tuple[str, int, int]] = {}
    for _ in range(TRIES):
        left = [n for n in range(len(names)) if n not in best or best[n] > ("", LIMIT_MS)]
        if not left:
            break
        for n, result in zip(left, measured(command, [asked[n] for n in left], ca, seconds), strict=True):
            stall, bare, said = result
            wrong = "" if ends[n] in said else f"expected {ends[n]!r}, came {said!r}"
            best[n] = min(best.get(n, (wrong, stall, bare)), (wrong, stall, bare))
    for n, name in enumerate(names):
        wrong, stall, bare = best[n]
        yield name, stall, bare, wrong
