"""TLS that never blocks, the same on both machines.

send(), receive() and receive_line() return how many bytes they transferred. Where they would
block, MicroPython's give None, and CPython's raise WANT_READ or WANT_WRITE.
"""

import gc
import select

from .. import const
from ..clock import ticks_add, ticks_diff, ticks_ms
from ..errors import TransportError
from ..memory import MICROPYTHON, call

_TURN_MS = const(20)
# Of each certificate that a server shows this much is kept for a moment: its issuer stands in it.
_HEAD = const(512)

if MICROPYTHON:
    import io

    # Not `ssl`: the wrapper of that name verifies nothing until it is told to.
    from tls import PROTOCOL_TLS_CLIENT, SSLContext

    class Wire(io.IOBase):
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

        def ioctl(self, request, data):
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

    WANT_READ = WANT_WRITE = ()

    def send(stream, view):
        return stream.write(view)

    def receive(stream, view):
        return stream.readinto(view)

    def receive_line(stream, view):
        # readinto() goes on after the head's last byte, and if the connection breaks there, all is lost.
        data = stream.readline(len(view))
        if data is None:
            return None
        view[: len(data)] = data
        return len(data)

else:
    from .openssl import (  # noqa: F401
        PROTOCOL_TLS_CLIENT,
        WANT_READ,
        WANT_WRITE,
        SSLContext,
        receive,
        send,
    )

    receive_line = receive


class Trust:
    """A TLS context with the roots that it verifies by, and what the last peer showed.

    ca      as http.Session takes it
    wanted  of its files those to verify by; without any, one of them
    roots   the files that it verifies by, None if there are no others
    shown   DER of the peer's certificate, None if it is known already or not to be had
    certificates   the first bytes of each of its chain, the root's before all, if there is a choice
    """

    def __init__(self, ca, wanted=None):
        self.shown = None
        self.certificates = b""
        gc.collect()  # it wants a piece of memory as a whole
        self.context = context = SSLContext(PROTOCOL_TLS_CLIENT)
        if MICROPYTHON:
            context.verify_callback = self._see  # type: ignore[attr-defined]
        try:
            self.roots = call(_load, context, ca, wanted)
        except MemoryError:
            raise TransportError("there is no memory for the CA certificates")

    def _see(self, der, depth):
        # mbedTLS shows each certificate of the chain; the verdict stays its own. What left here would
        # lose what it has allocated. A Ctrl-C cannot: MicroPython looks for one only at a branch.
        try:
            self.shown = bytes(der[: len(der) * (depth == 0)])
            self.certificates += der[: _HEAD * bool(self.roots)]
            return 0
        except:  # noqa: E722
            self.shown = None
            return 0

    def validity(self):
        """(notBefore, notAfter) of the peer's certificate, None if it is not known; to be asked once."""
        der, self.shown = self.shown, None
        return der and call(_validity, der)

    def ask(self, name, *args):
        """What a function of net.trust makes of what was seen."""
        shown, self.certificates = self.certificates, b""
        return shown and call(_ask, name, shown, self.roots, *args)


def _load(context, ca, wanted):
    from .roots import load

    return load(context, ca, wanted)


def _ask(name, *args):
    from . import trust

    return getattr(trust, name)(*args)


def _validity(der):
    from ..asn1 import validity

    try:
        return validity(der)
    except ValueError:
        return None
