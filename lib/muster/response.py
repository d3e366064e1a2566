"""An answer of HTTP/1: its head parsed strictly, its body read to exactly where it ends (RFC 9112)."""

from . import wait
from .connection import MAX_HEAD, MAX_LINE, Deadline
from .errors import TransportError
from .jsontext import loads

try:
    from micropython import const
except ImportError:
    const = int

_LINE_COSTS = const(64)  # bytes of memory besides its text, so that 5,000 short ones do not fill it


class Headers:
    """Header names, in any case, and their values.

    Several of one name are joined by ", "; where a list makes no sense, the first one stays.
    """

    def __init__(self):
        self._values = {}

    def add(self, name, value):
        name = name.lower()
        if name not in self._values:
            self._values[name] = value
        elif name not in ("content-type", "date", "location", "retry-after"):
            self._values[name] += ", " + value

    def __getitem__(self, name):
        return self._values[name.lower()]

    def __contains__(self, name):
        return name.lower() in self._values

    def __iter__(self):
        return iter(self._values)

    def __len__(self):
        return len(self._values)

    def get(self, name, default=None):
        return self._values.get(name.lower(), default)

    def items(self):
        return self._values.items()

    def __repr__(self):
        return repr(self._values)


class Response:
    """A server's answer. Close it, or use it in `with`, when it was asked for with stream=True.

    status_code, reason, headers (None if they were dropped), encoding, content as bytes, text, json()
    not_after   Unix time at which the server's verified certificate ends, None if unknown
    """

    def __init__(self, session, connection):
        self.status_code = 0
        self.reason = ""
        self.headers = None
        self.encoding = "utf-8"
        self.location = None
        self.not_after = connection.not_after
        self._session = session
        self._connection = connection
        self._content = None
        self._whole = False  # all of the body has come
        self._rest = b""  # what is unread of a body in memory
        self._keep = True
        self._chunked = False
        self._left = 0  # bytes still to come of the body or the chunk; None: all until the server closes

    @property
    def content(self):
        if self._content is None:
            self._run(self.read_all())
        return self._content

    @property
    def text(self):
        """The body as text: UTF-8, whatever charset the server names. ValueError if it is not."""
        try:
            return str(self.content, "utf-8")
        except UnicodeError:
            raise ValueError("the answer is not UTF-8, and %r is not decoded: read .content" % self.encoding)

    def json(self):
        """The body as JSON; ValueError if it is not."""
        return loads(self.content)

    @property
    def raw(self):
        # urequests hands out the socket; this object reads like one, and knows where the body ends.
        return self

    def readinto(self, buffer):
        """Reads what has come of the body, at least a byte. Returns the count, 0 at the end."""
        return self._run(self._readinto(memoryview(buffer)))

    def read(self, size=-1):
        """Reads size bytes, fewer only at the end of the body."""
        if size < 0:
            content = self.content
            rest, self._rest = self._rest, b""
            return content if len(rest) == len(content) else bytes(rest)
        try:
            view = memoryview(bytearray(size))
        except (MemoryError, OverflowError):
            raise TransportError("there is no memory to read %d bytes at once" % size)
        done = 0
        while done < size:
            n = self.readinto(view[done:])
            if not n:
                break
            done += n
        return bytes(view[:done])

    def iter_lines(self):
        """Yields each line of the body, bytes without its end, as soon as it has come."""
        buffer = bytearray(256)
        rest = b""
        try:
            while True:
                n = self.readinto(buffer)
                if not n:
                    break
                lines = (rest + bytes(memoryview(buffer)[:n])).split(b"\n")
                rest = lines.pop()
                for line in lines:
                    yield line.rstrip(b"\r")
                if len(rest) > self._session.max_body:
                    self._too_long()
            if rest:
                yield rest.rstrip(b"\r")
        except MemoryError:
            self.close()
            raise TransportError("there is no memory for a line of the answer")

    def close(self):
        """Gives up what was not read."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _run(self, generator):
        if self._connection:
            self._connection.deadline = Deadline(self._connection.deadline.seconds)
        return wait.run(generator, self._session.idle)

    def read_head(self, method, parse_headers):
        left = MAX_HEAD
        while self.status_code < 200:  # 1xx says only that more is to come
            line, left = yield from self._connection.line(left)
            minor, self.status_code, self.reason = _status(line)
            headers = Headers()
            self.headers = headers if parse_headers is True else {} if parse_headers else None
            while line:
                line, left = yield from self._connection.line(left - _LINE_COSTS)
                if line and len(line) < MAX_LINE:
                    headers.add(*_header(line))
                    if callable(parse_headers):
                        parse_headers(line, self.headers)
        self._frame(method, minor, headers)
        if self.status_code in (301, 302, 303, 307, 308):
            self.location = headers.get("location")

    def _frame(self, method, minor, headers):
        """Finds where the body ends, and whether the connection outlives it."""
        if minor == 0 or "close" in headers.get("connection", "").lower():
            self._keep = False
        coding = headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length")
        if method == "HEAD" or self.status_code in (204, 304):
            pass
        elif coding == "chunked":
            self._chunked = True
        elif coding not in ("", "identity"):
            raise TransportError(
                "the answer's Transfer-Encoding is %r; only chunked is understood" % coding[:24]
            )
        elif length is not None:
            self._left = _length(length)
        else:
            self._left = None
            self._keep = False
        # Whatever else stands there is no coding: charsets do, for one.
        for coding in headers.get("content-encoding", "").lower().split(","):
            coding = coding.strip()
            packed = coding in ("gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd")
            if packed and (self._chunked or self._left != 0):
                raise TransportError("the answer is packed with %s, which was not asked for" % coding)
        charset = headers.get("content-type", "").lower().partition("charset=")[2]
        if charset:
            self.encoding = charset.split(";")[0].strip(" \"'")
        if self._left == 0 and not self._chunked:
            self._finish()

    def read_all(self):
        """Reads the rest of the body into content."""
        if self._content is not None:
            return
        limit = self._session.max_body
        if (self._left or 0) > limit:
            self._too_long()
        try:
            # One allocation when the length is known, else by doubling: kind to a heap in pieces.
            content = bytearray(self._left or 256)
            done = 0
            while not self._whole:
                if done == len(content):
                    content.extend(bytes(max(1, min(done, limit + 1 - done))))
                done += yield from self._readinto(memoryview(content)[done:])
                if done > limit:
                    self._too_long()
            self._content = bytes(memoryview(content)[:done])
        except (MemoryError, OverflowError):
            self.close()
            raise TransportError("there is no memory for the answer's body")
        self._rest = memoryview(self._content)

    def _too_long(self):
        self.close()
        raise TransportError("the answer is longer than %d bytes" % self._session.max_body)

    def _readinto(self, view):
        if self._whole:
            n = min(len(view), len(self._rest))
            view[:n] = self._rest[:n]
            self._rest = self._rest[n:]
            return n
        if not self._connection:
            raise TransportError("the answer was closed before its end")
        if not len(view):
            return 0
        try:
            return (yield from self._read_body(view))
        except BaseException:
            self.close()
            raise

    def _read_body(self, view):
        connection = self._connection
        if self._chunked and self._left == 0:
            line, _ = yield from connection.line()
            self._left = _chunk_size(line)
            if self._left == 0:
                left = MAX_HEAD
                while line:
                    line, left = yield from connection.line(left)
                self._finish()
                return 0
        if self._left is not None:
            view = view[: min(self._left, len(view))]  # a 32-bit machine slices by no larger number
        n = yield from connection.readinto(view)
        if self._left is None:
            if n == 0:
                self._finish()
            return n
        if n == 0:
            raise TransportError("the answer ended %d bytes early" % self._left)
        self._left -= n
        if self._left == 0:
            if not self._chunked:
                self._finish()
            elif (yield from connection.line())[0]:
                raise TransportError("a chunk of the answer is longer than it says")
        return n

    def _finish(self):
        connection, self._connection = self._connection, None
        self._whole = True
        if self._keep and connection.is_empty():
            self._session.keep(connection)
        else:
            connection.close()


def _status(line):
    """(minor version, status, reason) of a status line."""
    minor, code = line[7:8], line[9:12]
    good = line[:7] == b"HTTP/1." and minor.isdigit() and line[8:9] == b" " and line[12:13] in (b"", b" ")
    if good and len(code) == 3 and code.isdigit() and code[:1] != b"0":
        return int(minor), int(code), _text(line[13:])
    raise TransportError("the answer is not HTTP/1: it starts with %r" % line[:24])


def _header(line):
    name, colon, value = _text(line).partition(":")
    # A space before the colon or at the start (a folded line) has fooled too many readers.
    if not colon or not name or " " in name or "\t" in name:
        raise TransportError("the answer has a header line that is none")
    return name, value.strip()


def _text(line):
    try:
        return line.decode()
    except UnicodeError:
        return "".join(chr(c) for c in line)  # ISO 8859-1, as HTTP once had it


def _length(text):
    values = [value.strip() for value in text.split(",")]
    if values[0].encode().isdigit() and len(values[0]) < 16 and all(value == values[0] for value in values):
        return int(values[0])
    raise TransportError("the answer's Content-Length is %r" % text[:24])


def _chunk_size(line):
    digits = line.partition(b";")[0].strip()
    if 0 < len(digits) <= 8 and all(c in b"0123456789abcdefABCDEF" for c in digits):
        return int(digits, 16)
    raise TransportError("a chunk of the answer has the size %r" % digits[:24])
