"""An answer of HTTP/1.1 as data (RFC 9112): where it begins and ends."""

from .. import const
from ..errors import TransportError

_MAX_HEAD = const(16384)  # bytes, and of trailers
_MAX_LINE = const(4096)  # net.connection cuts a longer one
_LINE_COSTS = const(64)  # bytes of memory besides its text, so that 5,000 short ones do not fill it

# What an answer waits for.
_STATUS = const(0)
_HEADER = const(1)
_CHUNK_SIZE = const(2)
_CHUNK_END = const(3)
_TRAILER = const(4)
_BODY = const(5)
_NOTHING = const(6)


class Answer:
    """An answer, as far as it has come: strict about everything that says where it ends.

    As long as wants_line() is true, line() takes the next line; then took() is told of bytes of the
    body, of which room says how many may come, until ended().

    headers  a dict of all of them, their names in lower case. Several of one name are joined by ", ";
             where a list makes no sense, the first one stays
    lines    a list that their lines go into as they came; None for none
    keep     the connection may carry another exchange after it
    room     bytes still to come of the body or of its chunk; None: all until the server closes
    """

    def __init__(self, method, lines=None):
        self.status = 0
        self.reason = ""
        self.headers = {}
        self.keep = True
        self.room = 0
        self.left = _MAX_HEAD  # bytes that the lines may still take
        self._lines = lines
        self._method = method
        self._minor = 1
        self._chunked = False
        self._wants = _STATUS

    def in_head(self):
        return self._wants <= _HEADER

    def wants_line(self):
        return self._wants < _BODY

    def ended(self):
        return self._wants == _NOTHING

    def line(self, line, size):
        """Takes a line without its end, which had that size with it."""
        self.left -= size + _LINE_COSTS
        wants = self._wants
        if wants == _STATUS:
            self._minor, self.status, self.reason = _status(line)
            self._wants = _HEADER
            self.headers = {}
            if self._lines:
                self._lines.clear()
        elif wants == _HEADER:
            if line:
                self._header(line)
            elif self.status < 200:  # says only that more is to come
                self._wants = _STATUS
            else:
                self._frame()
        elif wants == _CHUNK_SIZE:
            self.left = _MAX_HEAD
            self.room = _chunk_size(line)
            self._wants = _BODY if self.room else _TRAILER
        elif wants == _CHUNK_END:
            if line:
                raise TransportError("a chunk of the answer is longer than it says")
            self._wants = _CHUNK_SIZE
        elif not line:  # after the last trailer
            self._wants = _NOTHING

    def took(self, n):
        """Takes note of n bytes of the body; 0 says that the server has closed."""
        if self.room is None:
            if not n:
                self._wants = _NOTHING
            return
        if not n:
            raise TransportError("the answer ended %d bytes early" % self.room)
        self.room -= n
        if not self.room:
            self.left = _MAX_HEAD
            self._wants = _CHUNK_END if self._chunked else _NOTHING

    def _header(self, line):
        if len(line) < _MAX_LINE:
            name, colon, value = _text(line).partition(":")
            # A space before the colon or at the start (a folded line) has fooled too many readers.
            if not colon or not name or " " in name or "\t" in name:
                raise TransportError("the answer has a header line that is none")
            name = name.lower()
            if name not in self.headers:
                self.headers[name] = value.strip()
            elif name not in ("content-type", "date", "location", "retry-after"):
                self.headers[name] += ", " + value.strip()
            if self._lines is not None:
                self._lines.append(line)

    def _frame(self):
        """Finds where the body ends, and whether the connection outlives it."""
        headers = self.headers
        if self._minor == 0 or "close" in headers.get("connection", "").lower():
            self.keep = False
        coding = headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length")
        if self._method == "HEAD" or self.status in (204, 304):
            pass
        elif coding == "chunked":
            self._chunked = True
        elif coding not in ("", "identity"):
            raise TransportError(
                "the answer's Transfer-Encoding is %r; only chunked is understood" % coding[:24]
            )
        elif length is not None:
            self.room = _length(length)
        else:
            self.room = None
            self.keep = False
        # Whatever else stands there is no coding: charsets do, for one.
        for coding in headers.get("content-encoding", "").lower().split(","):
            coding = coding.strip()
            packed = " %s " % coding in " gzip x-gzip deflate compress x-compress br zstd "
            if packed and (self._chunked or self.room != 0):
                raise TransportError("the answer is packed with %s, which was not asked for" % coding)
        self._wants = _CHUNK_SIZE if self._chunked else _NOTHING if self.room == 0 else _BODY
        self.left = _MAX_HEAD


def _status(line):
    """(minor version, status, reason) of a status line."""
    minor, code = line[7:8], line[9:12]
    good = line[:7] == b"HTTP/1." and minor.isdigit() and line[8:9] == b" " and line[12:13] in (b"", b" ")
    if good and len(code) == 3 and code.isdigit() and code[:1] != b"0":
        return int(minor), int(code), _text(line[13:])
    raise TransportError("the answer is not HTTP/1: it starts with %r" % line[:24])


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
