"""A connection that never blocks: TCP, TLS over it, and a buffer of its own.

Its methods are generators for net.wait: blocking MicroPython sockets cannot be given a
deadline that holds (settimeout does not bound a handshake that drips, a TLS socket has
none, and read(n) waits for all of n). Only looking a name up cannot be bounded.
"""

import errno
import select

from .. import const
from ..errors import TransportError
from ..memory import unload
from . import tls
from .wait import TURN, Ready

_BUFFER = const(128)  # a line is read through it: a larger one leaves holes all over a board's heap
_MAX_LINE = const(4096)
_MAX_HEAD = const(16384)
_RECORD = const(16384)  # what TLS can send at once


class Closed(Exception):
    """The server closed a kept connection before a byte of the answer came."""


class Connection:
    """Opened by open(); after a failure of any kind it is closed and of no more use.

    origin     (scheme, host, port)
    trust      a net.tls.Trust when the scheme is https
    deadline   a net.wait.Deadline
    unread     of a kept one, the Exchange of whose answer the end is still to come
    not_after  Unix time at which the server's verified certificate ends, None if unknown
    """

    def __init__(self, origin, trust, deadline):
        self.origin = origin
        self.deadline = deadline
        self.unread = None
        self.not_after = None
        self._trust = trust
        self._doing = "the request"
        self._reused = False
        self._raw = self._wire = self._stream = self._ready = None
        self._buffer = memoryview(bytearray(_BUFFER))
        self._start = self._end = 0

    def open(self):
        _, host, port = self.origin
        from muster.net.dial import connect

        try:
            self._raw, self._ready = yield from connect(host, port, self.deadline)
        finally:
            unload("muster.net.dial")
        self._stream = self._raw
        if self._trust:
            self._doing = "the TLS handshake"
            raw = self._raw
            if tls.MICROPYTHON:
                raw = self._wire = tls.Wire(raw)
            try:
                self._trust.certificates = b""
                self._stream = self._trust.context.wrap_socket(
                    raw, server_hostname=host, do_handshake_on_connect=False
                )
            except (OSError, ValueError) as e:
                raise self._failed(e)
            if not tls.MICROPYTHON:
                # The wrapper has taken its descriptor away.
                self._ready = Ready(self._stream, select.POLLOUT)

    def reuse(self, deadline):
        """Makes a kept connection ready for another request; False if that cannot be done without waiting."""
        self.deadline = deadline
        unread, self.unread = self.unread, None
        if unread:
            from .stream import drain

            if not drain(unread):
                return False
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
                from muster.net.refusals import refused

                unload("muster.net.refusals")
                raise refused(self.origin[1], e, self._trust.validity())
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
            unload("muster.net.refusals")
            why = "%s; %s" % (words, reason) if words else reason
        return TransportError("%s: %s broke off (%s)" % (self.origin[1], self._doing, why))
