"""Opening a TCP connection: loaded only while one is opened."""

import errno
import select
import socket

from ..clock import ticks_add, ticks_diff, ticks_ms
from ..errors import TransportError
from .wait import BROKEN, TURN, Ready


def connect(host, port, deadline):
    """A generator: (the connected socket, the Ready that waits for it). Raises TransportError."""
    yield TURN  # a name lookup blocks for as long as it likes
    try:
        addresses = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        hint = "; this port may have no IPv6" if ":" in host else ""
        raise TransportError("%s: the name cannot be looked up (%s)%s" % (host, e, hint))
    # What a port has no sockets for has no address in its list.
    addresses = [address for address in addresses if address[-1]]
    failure = "it has no address for this device"
    while addresses:
        try:
            return (yield from _connected(host, addresses[0], deadline, deadline.left() // len(addresses)))
        except OSError as e:
            failure = e
            addresses.pop(0)
    raise TransportError("%s: port %d cannot be reached (%s)" % (host, port, failure))


def _connected(host, address, deadline, ms):
    until = ticks_add(ticks_ms(), ms)
    raw = socket.socket(address[0], address[1], address[2])
    try:
        raw.setblocking(False)
        raw.setsockopt(6, 1, 1)  # IPPROTO_TCP, TCP_NODELAY: not every port names them
        try:
            raw.connect(address[-1])
        except OSError as e:
            if e.errno not in (errno.EINPROGRESS, errno.EAGAIN):
                raise
        waiting = Ready(raw, select.POLLOUT)
        while True:
            ready = waiting.poll(0)
            if ready:
                break
            deadline.check(host, "the connection")
            if ticks_diff(until, ticks_ms()) < 0:
                raise OSError(errno.ETIMEDOUT, "no answer")
            yield waiting
        if ready[0][1] & BROKEN:
            raise OSError(errno.ECONNREFUSED, "refused")
        return raw, waiting
    except BaseException:
        raw.close()
        raise
