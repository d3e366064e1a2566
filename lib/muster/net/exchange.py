"""One request and its answer over a connection. What waits in it is a generator for net.wait."""

from ..errors import TransportError

try:
    from micropython import const
except ImportError:
    const = int

# Up to here a head and its body leave in one write: one TLS record.
_ONE_WRITE = const(4096)
_DRAINED = const(1024)  # bytes of an answer that nobody reads, and its connection is not worth more
_BUFFER = const(256)


class Exchange:
    """Gives a flow its answer: status_code, headers, content once it is loaded, json(), not_after.

    After a failure the connection is closed.

    max_body   bytes of the largest body, or of a line of it, that is read into memory
    """

    def __init__(self, connection, max_body):
        self.connection = connection
        self.answer = None
        self.content = None  # the body, or what was left of it, once it is loaded
        self._max_body = max_body
        self._begun = b""  # of a line

    def start(self, method, head, data, lines):
        """Sends the request, and reads the head of the answer."""
        connection = self.connection
        try:
            if data is None or isinstance(data, (bytes, bytearray, memoryview)):
                data = data or b""
                if len(head) + len(data) <= _ONE_WRITE:
                    head, data = head + bytes(data), b""
                data = (data,)
            yield from connection.write(head)
            for piece in data:
                yield from connection.write(piece)
            from muster.net.http1 import Answer

            self.answer = Answer(method, lines)
            while self.answer.in_head():
                yield from self._line()
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

    @property
    def status_code(self):
        return self.answer.status

    @property
    def headers(self):
        return self.answer.headers

    @property
    def not_after(self):
        return self.connection.not_after

    def json(self):
        """The body, which is loaded, as JSON; ValueError if it is none."""
        from ..jsontext import loads

        return loads(self.content)

    def load(self):
        """Reads all that is left of the body into content."""
        try:
            # One allocation when the length is known, else by doubling: kind to a heap in pieces.
            size = 0 if self.answer.wants_line() else self.answer.room or 0
            if size > self._max_body:
                self._too_long()
            content = bytearray(size or _BUFFER)
            done = 0
            while not self.answer.ended():
                if done == len(content):
                    content.extend(bytes(max(1, min(done, self._max_body + 1 - done))))
                done += yield from self.readinto(memoryview(content)[done:])
                if done > self._max_body:
                    self._too_long()
            self.content = bytes(memoryview(content)[:done])
        except (MemoryError, OverflowError):
            self.connection.close()
            raise TransportError("there is no memory for the answer's body")

    def line(self):
        """Returns the next line of the body without its end, None behind the last."""
        try:
            while True:
                line, found, rest = self._begun.partition(b"\n")
                if found:
                    self._begun = rest
                    return line.rstrip(b"\r")
                if len(line) > self._max_body:
                    self._too_long()
                buffer = memoryview(bytearray(_BUFFER))
                n = yield from self.readinto(buffer)
                self._begun += bytes(buffer[:n])
                if not n:
                    self._begun = b""
                    return line.rstrip(b"\r") if line else None
        except MemoryError:
            self.connection.close()
            raise TransportError("there is no memory for a line of the answer")

    def piece(self, size):
        """Returns at most size bytes of the body as they come, b"" behind the last."""
        piece = memoryview(bytearray(size))
        return bytes(piece[: (yield from self.readinto(piece))])

    def ended(self):
        """Whether all of the body has been taken."""
        return self.answer.ended() and not self._begun

    def can_be_kept(self):
        """Whether the connection may carry another exchange; the end of this answer may still come."""
        return self.answer.keep and not (self.answer.ended() and not self.connection.is_empty())

    def reuse(self, deadline):
        """Whether the connection can carry another exchange; no generator, since it waits for nothing.

        What a stream left unread is read if it has come: mostly the end, which says nothing.
        """
        connection = self.connection
        connection.deadline = deadline
        scratch = memoryview(bytearray(_BUFFER))
        left = _DRAINED
        try:
            while not self.answer.ended():
                for _ in self.readinto(scratch):
                    return False
                left -= len(scratch)
                if left < 0:
                    return False
        except Exception:
            return False
        return connection.reuse(deadline)

    def _line(self):
        line, size = yield from self.connection.line(self.answer.left)
        self.answer.line(line, size)

    def _too_long(self):
        self.connection.close()
        raise TransportError("the answer is longer than %d bytes" % self._max_body)
