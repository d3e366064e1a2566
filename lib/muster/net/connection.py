"""A connection that never blocks: TCP, TLS over it, and a buffer of its own.

Its methods are generators for net.wait: blocking MicroPython sockets cannot be given a
deadline that holds (settimeout does not bound a handshake that drips, a TLS socket has
none, and read(n) waits for all of n). Only looking a name up cannot be bounded.
"""

import errno
import select
import socket

from muster.net.wait import BROKEN, TURN, Ready

from ..clock import ticks_add, ticks_diff, ticks_ms
from ..errors import CertificateDateError, TransportError
from ..memory import unload
from . import tls

try:
    from micropython import const
except ImportError:
    const = int

_BUFFER = const(128)  # a line is read through it: a larger one leaves holes all over a board's heap
_MAX_LINE = const(4096)
_MAX_HEAD = const(16384)
_RECORD = const(16384)  # what TLS can send at once


class Closed(Exception):
    """The server closed a kept connection before a byte of the answer came."""


class Connection:
    """Opened by open(); after a failure of any kind it is closed and of no more use.

    origin     (scheme, host, port)
    trust      a net.roots.Trust when the scheme is https
    deadline   a net.wait.Deadline
    not_after  Unix time at which the server's verified certificate ends, None if unknown
    """

    def __init__(self, origin, trust, deadline):
        self.origin = origin
        self.deadline = deadline
        self.not_after = None
        self._trust = trust
        self._doing = "the connection"
        self._reused = False
        self._raw = self._wire = self._stream = self._ready = None
        self._buffer = memoryview(bytearray(_BUFFER))
        self._start = self._end = 0

    def open(self):
        _, host, port = self.origin
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
                yield from self._connect(addresses[0], self.deadline.left() // len(addresses))
                break
            except OSError as e:
                failure = e
                self.close()
                addresses.pop(0)
        else:
            raise TransportError("%s: port %d cannot be reached (%s)" % (host, port, failure))
        self._doing = "the request"
        if self._trust:
            self._doing = "the TLS handshake"
            raw = self._raw
            if tls.MICROPYTHON:
                raw = self._wire = tls.Wire(raw)
            try:
                self._stream = self._trust.context.wrap_socket(
                    raw, server_hostname=host, do_handshake_on_connect=False
                )
            except (OSError, ValueError) as e:
                raise self._failed(e)
            if not tls.MICROPYTHON:
                # The wrapper has taken its descriptor away.
                self._ready = Ready(self._stream, select.POLLOUT)

    def _connect(self, address, ms):
        until = ticks_add(ticks_ms(), ms)
        raw = self._raw = self._stream = socket.socket(address[0], address[1], address[2])
        raw.setblocking(False)
        raw.setsockopt(6, 1, 1)  # IPPROTO_TCP, TCP_NODELAY: not every port names them
        try:
            raw.connect(address[-1])
        except OSError as e:
            if e.errno not in (errno.EINPROGRESS, errno.EAGAIN):
                raise
        # A new one: the socket of an address tried before is still in the last.
        self._ready = Ready(raw, select.POLLOUT)
        while True:
            ready = self._ready.poll(0)
            if ready:
                break
            self.deadline.check(self.origin[1], self._doing)
            if ticks_diff(until, ticks_ms()) < 0:
                raise OSError(errno.ETIMEDOUT, "no answer")
            yield self._ready
        if ready[0][1] & BROKEN:
            raise OSError(errno.ECONNREFUSED, "refused")

    def reuse(self, deadline):
        """Makes a kept connection ready for another request; False if its server has closed it."""
        self.deadline = deadline
        self._doing = "the request"
        self._reused = True
        if self._wire:
            self._wire.turn()
        # A server with anything to say now says goodbye, or what belongs to no request. TLS may have it
        # in a buffer that a poll does not see.
        try:
            if not self.is_empty() or tls.receive(self._stream, self._buffer[:1]) is not None:
                return False
            if self._wire:
                self._wire.check(None)
            return True
        except tls.WANT_READ:
            return True
        except OSError as e:
            return e.errno == errno.EAGAIN

    def is_empty(self):
        return self._start == self._end

    def write(self, data):
        view = memoryview(data)
        while len(view):
            n = yield from self._attempt(tls.send, view[:_RECORD], select.POLLOUT)
            view = view[n:]
            if len(view):
                yield TURN  # to a peer that takes megabytes at once nobody else would get a turn
        # TLS shakes hands in the first write; not one byte of it leaves before the server is verified.
        self._doing = "the request"

    def line(self, most):
        """(one line of the answer without its end, how many bytes it took).

        most   bytes that it may take; TransportError for more

        Of a line longer than 4096 bytes, 4096 are returned.
        """
        self._doing = "the answer"
        line = b""
        took = 0
        while True:
            if self._start == self._end:
                self._start = 0
                self._end = yield from self._attempt(tls.receive_line, self._buffer, select.POLLIN)
                if not self._end:
                    raise self._failed("the server closed the connection")
                self._reused = False  # the server is there: from here on a failure is one
            chunk = bytes(self._buffer[self._start : self._end])
            n = chunk.find(b"\n") + 1
            self._start += n or len(chunk)
            took += n or len(chunk)
            if took > most:
                raise self._failed("its head or its trailers are longer than %d bytes" % _MAX_HEAD)
            line += (chunk[:n] or chunk)[: _MAX_LINE - len(line)]
            if n:
                return (line.rstrip(b"\r\n") if line[-1:] == b"\n" else line), took

    def readinto(self, view):
        """At least one byte of the answer into view. Returns the count, 0 when the server has closed."""
        if self._start == self._end:
            return (yield from self._attempt(tls.receive, view, select.POLLIN))
        n = min(len(view), self._end - self._start)
        view[:n] = self._buffer[self._start : self._start + n]
        self._start += n
        return n

    def close(self):
        wire = self._wire
        if wire:
            wire.turn()  # for TLS's goodbye
        # The raw socket too: mbedTLS lets go of it when a handshake fails, and then closes nothing.
        for s in (self._stream, self._raw):
            if s:
                try:
                    s.close()
                except OSError:
                    pass
        self._stream = self._raw = self._wire = self._ready = None
        if wire:
            wire.check()

    def _attempt(self, transfer, view, events):
        """Transfers some bytes of view, waiting until that is possible. Returns how many.

        At each turn one of five things happens: bytes are transferred; nothing can be yet, for want of
        input or of room (TLS may want either, whatever was asked of it); the certificate is refused
        (ValueError); the connection has ended (OSError); or the deadline has passed.
        """
        while True:
            self.deadline.check(self.origin[1], self._doing)
            if self._wire:
                self._wire.turn()
            n = None
            wanted = events
            try:
                n = transfer(self._stream, view)
                if self._wire:
                    self._wire.check(n)
                    wanted = self._wire.wanted
            except tls.WANT_READ:
                wanted = select.POLLIN
            except tls.WANT_WRITE:
                wanted = select.POLLOUT
            except ValueError as e:
                raise self._refused(e)
            except OSError as e:
                if e.errno != errno.EAGAIN:
                    raise self._failed(e)
            if self._trust and self._trust.shown:
                dates = self._trust.validity()
                self.not_after = dates and dates[1]
            if n is not None:
                return n
            yield self._ready.to(wanted)

    def _failed(self, reason):
        """The exception to raise, for another one or for a sentence."""
        if self._reused:
            return Closed()
        why = reason
        if self._trust and isinstance(reason, OSError):
            from muster.net.refusals import failure

            shown = self._doing == "the TLS handshake" and (self._trust.shown or self.not_after)
            words = failure(reason.errno, getattr(reason, "reason", None) or "", shown)
            unload("net.refusals")
            why = "%s; %s" % (words, reason) if words else reason
        return TransportError("%s: %s broke off (%s)" % (self.origin[1], self._doing, why))

    def _refused(self, verdict):
        """mbedTLS's or OpenSSL's verdict on a certificate as an exception to raise."""
        from muster.net.refusals import verdict as in_words

        dates = self._trust.validity()
        code = getattr(verdict, "verify_code", None)
        text = str(verdict).strip()
        sentence = "%s: its certificate was refused: %s" % (self.origin[1], in_words(text, code))
        unload("net.refusals")
        early = code == 9 or "starts in the future" in text
        if "\n" in text or not (early or code == 10 or "validity has expired" in text):
            return TransportError(sentence)
        misfit = CertificateDateError(sentence)
        if dates and early:
            misfit.starts = dates[0]
        return misfit
