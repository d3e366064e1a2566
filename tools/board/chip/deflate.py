"""MicroPython's module of that name where there is none, under CPython: as far as it reads.

Source: extmod/moddeflate.c of MicroPython, for what it raises.
"""

import errno
import zlib

AUTO, RAW, ZLIB, GZIP = range(4)


class DeflateIO:
    """stream: what is deflated, to be read. A file that is cut short raises EOFError, another one OSError."""

    def __init__(self, stream, format=AUTO, wbits=0):
        bits = wbits or 15
        self._inflating = zlib.decompressobj(
            {AUTO: bits + 32, RAW: -bits, ZLIB: bits, GZIP: bits + 16}[format]
        )
        self._stream = stream

    def readinto(self, buffer):
        done = 0
        while done < len(buffer) and not self._inflating.eof:
            deflated = self._inflating.unconsumed_tail or self._stream.read(256)
            try:
                data = self._inflating.decompress(deflated, len(buffer) - done)
            except zlib.error:
                raise OSError(errno.EINVAL, "not deflated")
            if not deflated and not data:
                raise EOFError
            buffer[done : done + len(data)] = data
            done += len(data)
        return done

    def read(self, size=-1):
        data = b""
        while size < 0 or len(data) < size:
            piece = bytearray(256 if size < 0 else size - len(data))
            n = self.readinto(piece)
            if not n:
                break
            data += piece[:n]
        return data
