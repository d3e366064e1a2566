"""Serving the application over TLS, in a thread beside the caller's."""

import contextlib
import errno
import ipaddress
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


def is_loopback(host: str) -> bool:
    """Whether this computer alone reaches what listens there."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def own_addresses() -> list[str]:
    """This computer's IPv4 addresses in the networks that it is in, that of its way to the Internet first.

    One that nobody can ask for here, of a network without a way on, may be missing: name it as the host then.
    """
    found = []
    # Nothing is sent: only the way is looked up.
    for far in ("192.0.2.1", "192.168.255.254", "172.31.255.254", "10.255.255.254"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.connect((far, 9))
            found.append(way.getsockname()[0])
    with contextlib.suppress(OSError):
        found += socket.gethostbyname_ex(socket.gethostname())[2]
    return [address for address in dict.fromkeys(found) if not is_loopback(address)]


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[list[socket.socket]]:
    """Listening sockets, on localhost too, which may mean either of two addresses.

    Raises:
        OSError: the port is taken, or the address is not this machine's.
    """
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []

        def listen(address: str) -> None:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            at = sockets[0].getsockname()[1] if sockets else port
            sockets.append(stack.enter_context(socket.create_server((address, at), family=family)))

        for address in [host] if host in ("localhost", "127.0.0.1", "0.0.0.0") else [host, "127.0.0.1"]:
            try:
                listen(address)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    what = "is in use; end what uses it, or choose another with --port."
                    raise OSError(f"port {port} of {address} {what}") from None
                raise OSError(f"cannot listen on {address}, port {port}: {error.strerror}.") from None
        # Without IPv6 the others are all there is to listen on.
        with contextlib.suppress(OSError):
            listen("::1")
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
