"""A server on loopback that does as little as it can: what is timed against it is the client."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import TypeVar

S = TypeVar("S", bound="Server")


class Server:
    """Accepts TLS connections for as long as a `with` block lasts, and counts them."""

    def __init__(self, context: ssl.SSLContext, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self.connections = 0
        self.context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)

    def __enter__(self: S) -> S:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # which ends accept()
        self._thread.join(5)
        self._listener.close()

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


class Canned(Server):
    """Gives every request the same answer, in these pieces: each leaves in a write of its own.

    pause: seconds before the first.
    """

    def __init__(self, context: ssl.SSLContext, *pieces: bytes, pause: float = 0) -> None:
        super().__init__(context, self._answer)
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
