"""The ESP32's socket module, on a board that has an access point.

What is bound to the access point's address lies on a free port of the loopback, which ap.json in the board's
folder names. A peer at 127.0.0.k is the phone with the address k + 1 of the access point's network: browsers
come from 127.0.0.1. Any other loopback address is seen as it is: a stranger's. Addresses are (ip, port) here,
as ports/esp32/modsocket.c of MicroPython gives them, and nothing can be bound while the access point is off.

Only the virtual board puts it in sys.modules["socket"].
"""
# ruff: noqa: F403, F405

import errno
import io
import os
import sys
from socket import *
from socket import socket as _socket

from _radio import AP_IF, radio

_LOOPBACK = "127.0.0.1"
_PHONES = "127.0.0."
# The requests of MicroPython's streams, py/stream.h.
_CLOSE = 4
_GET_FILENO = 10

# MicroPython's select and tls know no other object of Python code than this kind.
_Stream = io.IOBase if sys.implementation.name == "micropython" else object


def socket(*arguments):
    """The host's own; one that can be bound to the access point's address where that is on."""
    raw = _socket(*arguments)
    return _Socket(raw, arguments[1:2] == (SOCK_DGRAM,)) if radio.active[AP_IF] else raw


class _Socket(_Stream):
    """A socket of the host. From bind() to the access point's address on it is one of its network."""

    def __init__(self, raw, datagrams=False, of_ap=False):
        self._raw = raw
        self._datagrams = datagrams
        self._of_ap = of_ap
        self._at = 0
        self.port = 0
        self.lies_on = 0  # once it can be reached
        if of_ap:
            radio.sockets.append(self)

    @property
    def deaf(self):
        """Whether it hears nothing just now, and nothing that it says is heard."""
        return self._of_ap and radio.deaf

    def __getattr__(self, name):
        method = getattr(self._raw, name)
        if not self._of_ap or name not in _WHEN_DEAF:
            return method
        # Asked at each call: a program may keep the method.
        return lambda *arguments: (_WHEN_DEAF[name] if self.deaf else method)(*arguments)

    def ioctl(self, request, argument):
        if request == _GET_FILENO:
            return self._raw.fileno()
        if request == _CLOSE:
            self.close()
            return 0
        return -errno.EINVAL

    def fileno(self):
        return self._raw.fileno()

    def bind(self, address):
        host, port = _plain(address)
        if host != radio.ap_addresses[0]:
            self._raw.bind(_packed(host, port))
            return
        if not radio.active[AP_IF]:
            raise OSError(errno.EADDRNOTAVAIL)
        if port in [other.port for other in radio.sockets if other._datagrams == self._datagrams]:
            raise OSError(errno.EADDRINUSE)
        self._at = _bind_anywhere(self._raw)
        self._of_ap = True
        self.port = port
        radio.sockets.append(self)
        if self._datagrams:
            self._can_be_reached()

    def listen(self, *backlog):
        self._raw.listen(*backlog)
        if self._of_ap:
            self._can_be_reached()

    def _can_be_reached(self):
        self.lies_on = self._at
        radio.announce()

    def accept(self):
        if self.deaf:
            _would_block()
        raw, peer = self._raw.accept()
        if not self._of_ap:
            return raw, peer
        return _Socket(raw, of_ap=True), _seen(_plain(peer))

    def recvfrom(self, size):
        if self.deaf:
            _would_block()
        data, peer = self._raw.recvfrom(size)
        return data, _seen(_plain(peer)) if self._of_ap else peer

    def sendto(self, data, address):
        if self.deaf:
            return len(data)  # into the air
        host, port = _plain(address)
        return self._raw.sendto(data, _packed(_real(host) if self._of_ap else host, port))

    def close(self):
        self._forget()
        self._raw.close()

    def drop(self):
        """The access point is off: who held a connection has none any more, and nobody can be heard."""
        self._forget()
        self._raw.close()
        self._raw = _socket(AF_INET, SOCK_DGRAM if self._datagrams else SOCK_STREAM)
        self._raw.setblocking(False)

    def _forget(self):
        if self in radio.sockets:
            radio.sockets.remove(self)
        if self.lies_on:
            self.port = self.lies_on = 0
            radio.announce()


def _nothing(*_):
    """What a stream that would block returns."""


def _would_block(*_):
    raise OSError(errno.EAGAIN)


_WHEN_DEAF = {"recv": _would_block, "send": _would_block, "sendall": _would_block}
_WHEN_DEAF.update({"read": _nothing, "readinto": _nothing, "readline": _nothing, "write": _nothing})


def _plain(address):
    """(ip, port) of either kind of address: the Unix port's is packed."""
    if isinstance(address, tuple):
        return address[0], address[1]
    _, host, port = sockaddr(address)
    return inet_ntop(AF_INET, host), port


def _packed(host, port):
    return getaddrinfo(host, port)[0][-1]


def _network():
    return radio.ap_addresses[0].rpartition(".")[0] + "."


def _seen(peer):
    host, port = peer
    if host.startswith(_PHONES):
        host = _network() + str(int(host[len(_PHONES) :]) + 1)
    return host, port


def _real(host):
    if host.startswith(_network()):
        return _PHONES + str(int(host[len(_network()) :]) - 1)
    return host


def _bind_anywhere(raw):
    """Binds it to a free port of the loopback and returns that: MicroPython has no getsockname().

    Below the ports that systems hand out of themselves.
    """
    while True:
        port = 20000 + int.from_bytes(os.urandom(2), "little") % 12000
        try:
            raw.bind(_packed(_LOOPBACK, port))
            return port
        except OSError as e:
            if e.errno != errno.EADDRINUSE:
                raise
