"""Reading an answer piece by piece: loaded only where one is streamed."""

from .. import const
from ..errors import TransportError
from ..flow import LINE, PIECE

_BUFFER = const(256)
_PIECE = const(1024)
_DRAINED = const(1024)  # bytes of an answer that nobody reads, and its connection is not worth more


def read(exchange, wanted):
    """What a flow reads of an Exchange by yielding LINE, PIECE or BODY: a generator."""
    if wanted == LINE:
        return line(exchange)
    if wanted == PIECE:
        return _piece(exchange)
    return exchange.load()


def line(exchange):
    """A generator: the next line of the body without its end, None behind the last."""
    try:
        while True:
            whole, found, rest = exchange.begun.partition(b"\n")
            if found:
                exchange.begun = rest
                return whole.rstrip(b"\r")
            if len(whole) > exchange.max_body:
                exchange.too_long()
            buffer = memoryview(bytearray(_BUFFER))
            n = yield from exchange.readinto(buffer)
            exchange.begun += bytes(buffer[:n])
            if not n:
                exchange.begun = b""
                return whole.rstrip(b"\r") if whole else None
    except MemoryError:
        exchange.connection.close()
        raise TransportError("there is no memory for a line of the answer")


def _piece(exchange):
    """A generator: some bytes of the body as they come, b"" behind the last."""
    piece = memoryview(bytearray(_PIECE))
    return bytes(piece[: (yield from exchange.readinto(piece))])


def drain(exchange):
    """Reads what was left unread: mostly the end, which says nothing. False if not all of it has come."""
    scratch = memoryview(bytearray(_BUFFER))
    left = _DRAINED
    try:
        while not exchange.answer.ended():
            for _ in exchange.readinto(scratch):
                return False
            left -= len(scratch)
            if left < 0:
                return False
    except Exception:
        return False
    return True
