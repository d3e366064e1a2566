"""Serving the application over TLS, in a thread beside the caller's."""

import contextlib
import errno
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol


class Reachable(H11Protocol):
    """uvicorn's HTTP, with the connection within reach of a misbehaviour."""

    app_state: dict[str, Any]

    def connection_made(self, transport: Any) -> None:
        self.app_state = {**self.app_state, "transport": transport}
        super().connection_made(transport)

    def shutdown(self) -> None:
        # A TLS connection that is closed waits for the other side's goodbye, up to 30 s.
        self.transport.abort()


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Listening sockets: for 127.0.0.1 on ::1 too, since localhost may mean either.

    Raises:
        OSError: the port is taken, or the address is not this machine's.
    """
    with contextlib.ExitStack() as stack:
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            sockets = [stack.enter_context(socket.create_server((host, port), family=family))]
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                what = "is in use; end what uses it, or choose another with --port."
                raise OSError(f"port {port} of {host} {what}") from None
            raise OSError(f"cannot listen on {host}, port {port}: {error.strerror}.") from None
        if host == "127.0.0.1":
            # Without IPv6 the one socket is all there is to listen on.
            with contextlib.suppress(OSError):
                same = sockets[0].getsockname()[1]
                other = socket.create_server(("::1", same), family=socket.AF_INET6)
                sockets.append(stack.enter_context(other))
        for listener in sockets:
            # asyncio does it only for sockets that name TCP, which create_server()'s do not;
            # every answer would wait 40 ms for an acknowledgement.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield sockets


@contextlib.contextmanager
def serving(app: ASGIApp, sockets: list[socket.socket], tls: ssl.SSLContext) -> Iterator[None]:
    config = uvicorn.Config(
        app,
        http=Reachable,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        server_header=False,
        date_header=False,  # the box has a clock of its own: see Traffic
        proxy_headers=False,
        ssl_context_factory=lambda config, default: tls,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=(sockets,), name="cloud", daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the cloud's server ended while it started")
            time.sleep(0.002)
        yield
    finally:
        server.should_exit = True
        thread.join()
