"""A server on loopback that does as little as it can: what is timed against it is the client."""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tools.common.certificates import make_ca, make_server

Self = TypeVar("Self", bound="LoopbackServer")

BODY = b'{"code":"200","message":"OK","success":true,"data":{"deviceId":"123456789","protocolTypeTime":"0"}}'
# What the platform says to a heartbeat.
ACCEPTED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)


class LoopbackServer:
    """Accepts TLS connections for as long as a `with` block lasts, and counts them.

    serve: is given each connection, without TLS.  name: whom its certificate is for.
    url; ca: the file of its root, in PEM; der: that root; context: for TLS.
    """

    def __init__(self, serve: Callable[[socket.socket], None], name: str = "127.0.0.1") -> None:
        self._serve = serve
        self._folder = tempfile.TemporaryDirectory(prefix="muster-bench-")
        root = make_ca("muster bench")
        ca = Path(self._folder.name, "ca.pem")
        ca.write_bytes(root.pem)
        self.ca, self.der = str(ca), root.der
        self.context = make_server(name, signer=root).context()
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)

    def __enter__(self: Self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # which ends accept()
        self._thread.join(5)
        self._listener.close()
        self._folder.cleanup()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections += 1
                threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _connection(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            self._serve(client)


class CannedServer(LoopbackServer):
    """Gives every request the same answer, in these pieces: each leaves in a write of its own.

    pause: seconds before the first.
    """

    def __init__(self, *pieces: bytes, pause: float = 0) -> None:
        super().__init__(self._answer)
        self._pieces, self._pause = pieces, pause

    def _answer(self, client: socket.socket) -> None:
        with self.context.wrap_socket(client, server_side=True) as tls, tls.makefile("rb") as stream:
            while _request(stream):
                time.sleep(self._pause)
                for piece in self._pieces:
                    tls.sendall(piece)


def _request(stream) -> bool:
    """Reads one request, whose head gives the length of its body; False when the client has left."""
    length = 0
    line = stream.readline()
    while line.strip():
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        line = stream.readline()
    stream.read(length)
    return bool(line)
