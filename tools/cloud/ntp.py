"""A time server on this machine, which can also lie."""

import socket
import socketserver
import struct
import threading
import time
from types import TracebackType

# RFC 4330: leap/version/mode, stratum, poll, precision; root delay, root dispersion, reference
# identifier; then the reference, originate, receive and transmit timestamps.
REPLY = struct.Struct("!BBbb4x4x4s8s8s8s8s")
CLIENT, SERVER = 3, 4
FROM_1900_TO_1970 = 2208988800


class Ntp:
    """An SNTP server (RFC 4330) on a free UDP port, for as long as a `with` block lasts.

    Args:
        offset_s: how far its time is ahead of this machine's, in seconds.
        stratum: 0 is the "kiss of death" that tells a client to go away.
        wrong_originate: answers as if to another request.
        silent: receives, and never answers.

    All four may be changed while it runs. `address` is its (host, port); `requests` counts
    what was received.
    """

    def __init__(
        self, offset_s: float = 0, stratum: int = 2, wrong_originate: bool = False, silent: bool = False
    ) -> None:
        self.offset_s, self.stratum = offset_s, stratum
        self.wrong_originate, self.silent = wrong_originate, silent
        self.requests = 0

    def __enter__(self) -> "Ntp":
        ntp = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                request, server = self.request
                ntp.requests += 1
                if not ntp.silent and len(request) >= 48 and request[0] & 7 == CLIENT:
                    server.sendto(ntp.reply(request), self.client_address)

        self._server = socketserver.UDPServer(("127.0.0.1", 0), Handler)
        self.address: tuple[str, int] = self._server.socket.getsockname()
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="ntp", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def reply(self, request: bytes) -> bytes:
        now = timestamp(time.time() + self.offset_s)
        version = request[0] & 0b111000
        originate = bytes(8) if self.wrong_originate else request[40:48]
        identifier = b"RATE" if self.stratum == 0 else socket.inet_aton("127.0.0.1")
        return REPLY.pack(version | SERVER, self.stratum, 6, -20, identifier, now, originate, now, now)


def timestamp(unix: float) -> bytes:
    """NTP's form of a Unix time; its 32 bits of seconds start again from 0 in 2036."""
    seconds = int(unix // 1)
    return struct.pack("!II", (seconds + FROM_1900_TO_1970) & 0xFFFFFFFF, int((unix - seconds) * 2**32))
