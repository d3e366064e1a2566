"""A request's body that is more than bytes: an open file, or an iterator. Loaded only when there is one."""

from .request import checked_length, given


def prepared(data, headers):
    """(how many bytes it has, or None for chunks; bytes or a memoryview, or a generator of what to send)."""
    # Of another view, the length is no count of bytes.
    if isinstance(data, memoryview) and len(bytes(data[:1])) < 2:
        return checked_length(len(data), headers), data
    # None of these has an __iter__ on MicroPython.
    if isinstance(data, (dict, list, tuple, set, memoryview)) or not (
        hasattr(data, "read") or hasattr(data, "__iter__") or hasattr(data, "__next__")
    ):
        raise TypeError(
            "data is str, bytes, an open file or an iterator of bytes, not %s; "
            "json= sends an object as JSON" % type(data).__name__
        )
    length = given(headers, "content-length")
    if length is not None:
        length = checked_length(int(length) if str(length).encode().isdigit() else 0, headers)
    data = _framed(iter(_pieces(data) if hasattr(data, "read") else data), length)
    if length == 0:
        return 0, b"".join(data)  # now, since the head alone would be complete
    return length, data


def _pieces(file):
    while True:
        piece = file.read(1024)
        if not piece:
            break
        yield piece


def _framed(data, length):
    """The bytes to send of a body that comes in pieces: chunks, if length is not known."""
    left = length
    for piece in data:
        if not isinstance(piece, (bytes, bytearray, memoryview)):
            raise TypeError("data is an iterator of bytes, and gave %s" % type(piece).__name__)
        if length is None:
            if len(piece):
                yield b"%x\r\n" % len(piece) + piece + b"\r\n"
            continue
        left -= len(piece)
        # Known before the last piece leaves: what is complete, a server executes.
        if left < 0 or (left == 0 and any(data)):
            raise ValueError("data is longer than its Content-Length, %d" % length)
        yield piece
    if left:
        raise ValueError("data is %d bytes shorter than its Content-Length, %d" % (left, length))
    if length is None:
        yield b"0\r\n\r\n"
