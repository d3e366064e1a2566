"""One request and its answer over a connection. What waits in it is a generator for net.wait."""

from .. import const
from ..errors import TransportError
from ..flow import Answer

_BUFFER = const(256)


class Exchange(Answer):
    """An Answer, after start(), whose body is still to be read.

    After a failure the connection is closed.

    answer     the http1.Answer that knows where it ends
    max_body   bytes of the largest body, or of a line of it, that is read into memory
    """

    def __init__(self, connection, max_body):
        self.connection = connection
        self.answer = None
        self.max_body = max_body
        self.begun = b""  # of a line: what net.stream has read of it

    def start(self, method, head, rest, lines):
        """Sends the request, its head and the rest of it in pieces, and reads the head of the answer."""
        connection = self.connection
        try:
            yield from connection.write(head)
            for piece in rest:
                yield from connection.write(piece)
            from . import http1

            answer = self.answer = http1.Answer(method, lines)
            while answer.in_head():
                yield from self._line()
            super().__init__(answer.status, answer.headers, None, connection.not_after)
        except BaseException as e:
            connection.close()
            if isinstance(e, MemoryError):
                raise TransportError("%s: there is no memory for the exchange" % connection.origin[1])
            raise

    def readinto(self, view):
        """Reads what has come of the body, at least a byte. Returns the count, 0 at the end."""
        if not len(view):
            return 0
        answer = self.answer
        try:
            while answer.wants_line():
                yield from self._line()
            if answer.ended():
                return 0
            if answer.room is not None:
                view = view[: min(answer.room, len(view))]  # a 32-bit machine slices by no larger number
            n = yield from self.connection.readinto(view)
            answer.took(n)
            return n
        except BaseException:
            self.connection.close()
            raise

    def load(self):
        """Reads all that is left of the body into content."""
        try:
            # One allocation when the length is known, else by doubling: kind to a heap in pieces.
            size = 0 if self.answer.wants_line() else self.answer.room or 0
            if size > self.max_body:
                self.too_long()
            content = bytearray(size or _BUFFER)
            done = 0
            while not self.answer.ended():
                if done == len(content):
                    content.extend(bytes(max(1, min(done, self.max_body + 1 - done))))
                done += yield from self.readinto(memoryview(content)[done:])
                if done > self.max_body:
                    self.too_long()
            self.content = bytes(memoryview(content)[:done])
        except (MemoryError, OverflowError):
            self.connection.close()
            raise TransportError("there is no memory for the answer's body")

    def ended(self):
        """Whether all of the body has been taken."""
        return self.answer.ended() and not self.begun

    def can_be_kept(self):
        """Whether the connection may carry another exchange; the end of this answer may still come."""
        return self.answer.keep and not (self.answer.ended() and not self.connection.is_empty())

    def _line(self):
        line, size = yield from self.connection.line(self.answer.left)
        self.answer.line(line, size)

    def too_long(self):
        self.connection.close()
        raise TransportError("the answer is longer than %d bytes" % self.max_body)
