"""A connection that never blocks: TCP, TLS over it, and a buffer of its own.

Its methods are generators for the drivers of muster.wait: blocking MicroPython
sockets cannot be given a deadline that holds (settimeout does not bound a
handshake that drips, a TLS socket has none, and read(n) waits for all of n).
Only looking a name up cannot be bounded.
"""

import errno
import os
import select
import socket
import sys

from . import log
from .asn1 import certificates, validity
from .clock import ticks_add, ticks_diff, ticks_ms
from .errors import ConfigError, TransportError
from .memory import unload

try:
    from micropython import const
except ImportError:
    const = int

MICROPYTHON = sys.implementation.name == "micropython"
_TURN_MS = const(20)

if MICROPYTHON:
    import io

    # Not `ssl`: the wrapper of that name verifies nothing until it is told to.
    import tls

    class _Wire(io.IOBase):
        """What TLS reads and writes through, for a moment at a time.

        mbedTLS alone goes on reading for as long as warnings come in, and anybody can send those
        before the handshake is over. An exception would jump out of the midst of it, and what it had
        allocated would be lost: nothing is raised here, but by check().
        """

        def __init__(self, raw):
            self._read = raw.readinto
            self._write = raw.write
            self._fault = None
            self.wanted = None  # what the last transfer waits for
            self.turn()

        def turn(self):
            self._until = ticks_add(ticks_ms(), _TURN_MS)

        def readinto(self, buffer):
            return self._transfer(self._read, buffer, select.POLLIN)

        def write(self, data):
            return self._transfer(self._write, data, select.POLLOUT)

        def ioctl(self, request, argument):
            return 0

        def _transfer(self, transfer, data, events):
            try:
                self.wanted = events
                if ticks_diff(self._until, ticks_ms()) >= 0:
                    return transfer(data)
            except BaseException as e:
                self._fault = e
            return None  # as if it would block

        def check(self, n=0):
            """Raises what ended the last transfer; a broken connection only when all has been taken."""
            fault = self._fault
            if fault and (n is None or not isinstance(fault, OSError)):
                self._fault = None
                raise fault

    _WANT_READ = _WANT_WRITE = ()  # a stream that would block returns None there

    def _send(stream, view):
        return stream.write(view)

    def _receive(stream, view):
        return stream.readinto(view)

    def _receive_line(stream, view):
        # readinto() goes on after the head's last byte, and if the connection breaks there, all is lost.
        data = stream.readline(len(view))
        if data is None:
            return None
        view[: len(data)] = data
        return len(data)

else:
    import ssl as tls

    _WANT_READ = tls.SSLWantReadError  # type: ignore[attr-defined]
    _WANT_WRITE = tls.SSLWantWriteError  # type: ignore[attr-defined]

    def _send(stream, view):
        return stream.send(view)

    def _receive(stream, view):
        return stream.recv_into(view)

    _receive_line = _receive


ROOTS = "/roots"  # where a board keeps its CA certificates

_BUFFER = const(128)  # a line is read through it: a larger one leaves holes all over a board's heap
MAX_LINE = const(4096)
MAX_HEAD = const(16384)  # and of trailers
_LONGEST_S = const(518400)  # six days: an ESP32's ticks count no further ahead
_RECORD = const(16384)  # what TLS can send at once
# To be asked for: an ESP32 tells of no more than that, and a refused connection is writable there.
_BROKEN = select.POLLERR | select.POLLHUP


class Closed(Exception):
    """The server closed a kept connection before a byte of the answer came."""


class Misfit(TransportError):
    """The certificate is good but for its dates: not yet valid, or ended, by this clock."""

    starts = 0  # Unix time of its first day, if that is what this clock has not seen


_skipped = []  # what was said of files that are no certificates, once


class Deadline:
    """seconds from now, for everything that is done under it."""

    def __init__(self, seconds):
        self.seconds = seconds
        self._at = ticks_add(ticks_ms(), int(min(seconds, _LONGEST_S) * 1000))

    def left(self):
        """Milliseconds."""
        return ticks_diff(self._at, ticks_ms())

    def check(self, host, doing):
        if self.left() <= 0:
            raise TransportError("%s: %s did not end within %s s" % (host, doing, self.seconds))


class Trust:
    """The TLS context of a session: its roots, which stay in memory, and what the last peer showed.

    ca     as http.Session takes it
    shown  DER of the peer's certificate, None if it is known already or not to be had
    """

    def __init__(self, ca):
        self.shown = None
        self.context = context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
        if MICROPYTHON:
            context.verify_callback = self._see  # type: ignore[attr-defined]
        elif ca is None:
            context.load_default_certs()  # type: ignore[attr-defined]
            return
        try:
            self._load(ROOTS if ca is None else ca, "ca")
        except MemoryError:
            raise TransportError("there is no memory for the CA certificates")

    def _load(self, ca, name):
        """Loads each certificate in ca: bytes, path of a file or directory, or a list of these."""
        files = None
        if isinstance(ca, str):
            name = ca
            try:
                files = sorted(os.listdir(ca))
            except OSError:
                pass  # no directory
        if files is not None:
            usable = 0
            for file in files:
                try:
                    self._load(ca + "/" + file, name)
                    usable += 1
                except ConfigError as e:
                    # One bad file, such as computers leave in folders, does not disable the others.
                    if str(e) not in _skipped:
                        _skipped.append(str(e))
                        log.warning(str(e))
            if not usable:
                raise ConfigError("there is no CA certificate to verify servers by in %s" % ca)
            return
        if isinstance(ca, (list, tuple)):
            if not ca:
                raise ConfigError("there is no CA certificate to verify servers by: the list is empty")
            for part in ca:
                self._load(part, name)
            return
        try:
            if isinstance(ca, str):
                with open(ca, "rb") as f:
                    ca = f.read()
            else:
                ca = bytes(ca)
            for der in certificates(ca):
                self._add(der)
        except (OSError, ValueError) as e:
            if getattr(e, "errno", None) == errno.ENOENT:
                raise ConfigError("there is no %s: put the CA certificate of your servers there" % name)
            raise ConfigError(
                "%s is no CA certificate to verify servers by: %s; DER or PEM is expected" % (name, e)
            )

    def _add(self, der):
        if not MICROPYTHON:
            self.context.load_verify_locations(cadata=der)
            return
        try:
            self.context.load_verify_locations(der)
        except ValueError:
            # It says the same where there was no memory, of which a certificate takes about that much.
            _make_sure_of(2 * len(der) + 2048)
            raise ValueError("this board's TLS cannot read it")

    def _see(self, certificate, depth):
        # mbedTLS shows each certificate of the chain; the verdict stays its own. What left here would
        # lose what it has allocated. A Ctrl-C cannot: MicroPython looks for one only at a branch.
        try:
            self.shown = bytes(certificate[: len(certificate) * (depth == 0)])
            return 0
        except:  # noqa: E722
            self.shown = None
            return 0

    def validity(self):
        """(notBefore, notAfter) of the peer's certificate, None if it is not known; to be asked once."""
        der, self.shown = self.shown, None
        try:
            return der and validity(der)
        except ValueError:
            return None


class Connection:
    """Opened by open(); after a failure of any kind it is closed and of no more use.

    origin     (scheme, host, port)
    trust      a Trust when the scheme is https
    not_after  Unix time at which the server's verified certificate ends, None if unknown
    """

    def __init__(self, origin, trust, deadline):
        self.origin = origin
        self.deadline = deadline
        self.not_after = None
        self._trust = trust
        self._doing = "the connection"
        self._reused = False
        self._raw = self._wire = self._stream = self._poller = None
        self._buffer = memoryview(bytearray(_BUFFER))
        self._start = self._end = 0

    def open(self):
        _, host, port = self.origin
        yield False  # a name lookup blocks for as long as it likes
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
            if MICROPYTHON:
                raw = self._wire = _Wire(raw)
            else:
                self._poller.unregister(raw)  # the wrapper takes its descriptor away
            try:
                self._stream = self._trust.context.wrap_socket(
                    raw, server_hostname=host, do_handshake_on_connect=False
                )
            except (OSError, ValueError) as e:
                raise self._failed(e)
            if not MICROPYTHON:
                self._poller.register(self._stream, select.POLLOUT)

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
        self._poller = select.poll()
        self._poller.register(raw, select.POLLOUT | _BROKEN)
        while True:
            ready = self._poller.poll(0)
            if ready:
                break
            self.deadline.check(self.origin[1], self._doing)
            if ticks_diff(until, ticks_ms()) < 0:
                raise OSError(errno.ETIMEDOUT, "no answer")
            yield self._poller
        if ready[0][1] & _BROKEN:
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
            if _receive(self._stream, self._buffer[:1]) is not None:
                return False
            if self._wire:
                self._wire.check(None)
            return True
        except _WANT_READ:
            return True
        except OSError as e:
            return e.errno == errno.EAGAIN

    def is_empty(self):
        return self._start == self._end

    def write(self, data):
        view = memoryview(data)
        while len(view):
            n = yield from self._attempt(_send, view[:_RECORD], select.POLLOUT)
            view = view[n:]
            if len(view):
                yield False  # to a peer that takes megabytes at once nobody else would get a turn
        # TLS shakes hands in the first write; not one byte of it leaves before the server is verified.
        self._doing = "the request"

    def line(self, left=MAX_HEAD):
        """(one line of the answer without its end, what it leaves of so many bytes).

        Of a line longer than MAX_LINE, MAX_LINE bytes are returned.
        """
        self._doing = "the answer"
        line = b""
        while True:
            if self._start == self._end:
                self._start = 0
                self._end = yield from self._attempt(_receive_line, self._buffer, select.POLLIN)
                if not self._end:
                    raise self._failed("the server closed the connection")
                self._reused = False  # the server is there: from here on a failure is one
            chunk = bytes(self._buffer[self._start : self._end])
            n = chunk.find(b"\n") + 1
            self._start += n or len(chunk)
            left -= n or len(chunk)
            if left < 0:
                raise self._failed("its head or its trailers are longer than %d bytes" % MAX_HEAD)
            line += (chunk[:n] or chunk)[: MAX_LINE - len(line)]
            if n:
                return (line.rstrip(b"\r\n") if line[-1:] == b"\n" else line), left

    def readinto(self, view):
        """At least one byte of the answer into view. Returns the count, 0 when the server has closed."""
        if self._start == self._end:
            return (yield from self._attempt(_receive, view, select.POLLIN))
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
        self._stream = self._raw = self._wire = None
        if wire:
            wire.check()

    def _attempt(self, transfer, view, events):
        """Transfers some bytes of view, waiting until that is possible. Returns how many."""
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
            except _WANT_READ:
                wanted = select.POLLIN
            except _WANT_WRITE:
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
            if self._wire:
                self._poller.modify(self._raw, self._wire.wanted | _BROKEN)
            else:
                self._poller.modify(self._stream, wanted | _BROKEN)
            yield self._poller

    def _failed(self, reason):
        """The exception to raise, for another one or for a sentence."""
        if self._reused:
            return Closed()
        why = reason
        if self._trust and isinstance(reason, OSError):
            from .refusals import failure

            shown = self._doing == "the TLS handshake" and (self._trust.shown or self.not_after)
            words = failure(reason.errno, getattr(reason, "reason", None) or "", shown)
            unload("refusals")
            why = "%s; %s" % (words, reason) if words else reason
        return TransportError("%s: %s broke off (%s)" % (self.origin[1], self._doing, why))

    def _refused(self, verdict):
        """mbedTLS's or OpenSSL's verdict on a certificate as an exception to raise."""
        from .refusals import verdict as in_words

        dates = self._trust.validity()
        code = getattr(verdict, "verify_code", None)
        text = str(verdict).strip()
        sentence = "%s: its certificate was refused: %s" % (self.origin[1], in_words(text, code))
        unload("refusals")
        early = code == 9 or "starts in the future" in text
        if "\n" in text or not (early or code == 10 or "validity has expired" in text):
            return TransportError(sentence)
        misfit = Misfit(sentence)
        if dates and early:
            misfit.starts = dates[0]
        return misfit


def _make_sure_of(size):
    """Raises MemoryError if ESP-IDF's heap, from which TLS takes its memory, has no piece so large."""
    try:
        from esp32 import HEAP_DATA, idf_heap_info
    except ImportError:
        return
    if max(region[2] for region in idf_heap_info(HEAP_DATA)) < size:
        raise MemoryError
