"""What MicroPython's select and asyncio take for a stream: an object of Python code with ioctl()."""

import errno
import io
import sys

POLL = 3
READABLE = 1
WRITABLE = 4

# They know no other object of Python code than this kind.
Stream = io.IOBase if sys.implementation.name == "micropython" else object


def polled(request, flags, readable, writable):
    """ioctl(request, flags) of a stream of which that can be said."""
    if request != POLL:
        return -errno.EINVAL
    return flags & (READABLE * readable | WRITABLE * writable)
