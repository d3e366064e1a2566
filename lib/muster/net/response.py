"""urequests' view of an exchange: loaded by programs that send requests themselves."""

from ..errors import TransportError
from ..jsontext import dumps

# All that it takes is loaded early, while there is the room to compile large files.
from . import connection, http1  # noqa: F401
from .exchange import Exchange  # noqa: F401
from .request import given
from .wait import Deadline, run


def exchange(
    session, method, url, data=None, json=None, headers=None, stream=False,
    auth=None, timeout=None, parse_headers=True, repeatable=False,
):  # fmt: skip
    """http.Session.request() as a generator for net.wait."""
    headers = dict(headers or {})
    if json is not None:
        data = dumps(json)
        if given(headers, "content-type") is None:
            headers["Content-Type"] = "application/json"
    if auth is not None:
        from binascii import b2a_base64

        headers = {name: headers[name] for name in headers if name.lower() != "authorization"}
        pair = b2a_base64(("%s:%s" % tuple(auth)).encode())
        headers["Authorization"] = "Basic " + pair.decode().strip()
    if isinstance(data, str):
        data = data.encode()
    deadline = Deadline(timeout or session.timeout)
    lines = [] if callable(parse_headers) else None
    found = yield from session.carry(method, url, data, headers, deadline, repeatable, lines)
    shown = Headers(found.headers) if parse_headers is True else None
    if lines is not None:
        shown = {}
        for line in lines:
            parse_headers(line, shown)
    if not stream:
        yield from found.load()
    return Response(session, found, shown)


class Headers:
    """Header names, in any case, and their values.

    Several of one name are joined by ", "; where a list makes no sense, the first one stays.
    """

    def __init__(self, values):
        self._values = values  # their names in lower case

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

    Of an AsyncSession's answer, read(), readinto() and what iter_lines() yields are to be awaited.
    """

    def __init__(self, session, exchange, headers):
        answer = exchange.answer
        self.status_code = answer.status
        self.reason = answer.reason
        self.headers = headers
        self.not_after = exchange.not_after
        charset = answer.headers.get("content-type", "").lower().partition("charset=")[2]
        self.encoding = charset.split(";")[0].strip(" \"'") or "utf-8"
        self._session = session
        self._exchange = exchange
        self._open = True
        self._rest = exchange.content  # what is unread of a body in memory
        self._settle()

    @property
    def content(self):
        if self._exchange.content is None:
            run(self._load(), self._session.idle)
        return self._exchange.content

    @property
    def text(self):
        """The body as text: UTF-8, whatever charset the server names. ValueError if it is not."""
        try:
            return str(self.content, "utf-8")
        except UnicodeError:
            raise ValueError("the answer is not UTF-8, and %r is not decoded: read .content" % self.encoding)

    def json(self):
        """The body as JSON; ValueError if it is not."""
        run(self._load(), self._session.idle)
        return self._exchange.json()

    @property
    def raw(self):
        # urequests hands out the socket; this object reads like one, and knows where the body ends.
        return self

    def readinto(self, buffer):
        """Reads what has come of the body, at least a byte. Returns the count, 0 at the end."""
        return self._session.run(self._readinto(memoryview(buffer)))

    def read(self, size=-1):
        """Reads size bytes, fewer only at the end of the body."""
        return self._session.run(self._read(size))

    def iter_lines(self):
        """Yields each line of the body, bytes without its end, as soon as it has come."""
        return self._session.each(_Lines(self))

    def close(self):
        """Gives up what was not read."""
        if self._open:
            self._open = False
            self._session.leave(self._exchange, False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def line(self):
        """A generator: the next line of the body, None behind the last."""
        if self._rest is None:
            from .stream import line

            return (yield from self._take(line(self._exchange)))
        if not len(self._rest):
            return None
        found, _, self._rest = self._rest.partition(b"\n")
        return found.rstrip(b"\r")

    def _load(self):
        if self._exchange.content is None:
            yield from self._take(self._exchange.load())
            self._rest = self._exchange.content

    def _read(self, size):
        if size < 0:
            yield from self._load()
            rest, self._rest = self._rest, b""
            return rest
        try:
            view = memoryview(bytearray(size))
        except (MemoryError, OverflowError):
            raise TransportError("there is no memory to read %d bytes at once" % size)
        done = 0
        while done < size:
            n = yield from self._readinto(view[done:])
            if not n:
                break
            done += n
        return bytes(view[:done])

    def _readinto(self, view):
        if self._rest is None:
            return (yield from self._take(self._exchange.readinto(view)))
        n = min(len(view), len(self._rest))
        view[:n] = self._rest[:n]
        self._rest = self._rest[n:]
        return n

    def _take(self, reading):
        """Reads of the exchange, with the whole timeout before it."""
        exchange = self._exchange
        if self._open:
            exchange.connection.deadline = Deadline(exchange.connection.deadline.seconds)
        elif not exchange.ended():
            raise TransportError("the answer was closed before its end")
        try:
            found = yield from reading
        except BaseException:
            self._open = False  # the exchange has closed its connection
            raise
        self._settle()
        return found

    def _settle(self):
        """Gives the connection back as soon as the body has come to its end."""
        if self._open and self._exchange.ended():
            self._open = False
            self._session.leave(self._exchange, True)


class _Lines:
    """The lines of an answer, as Driver.each() takes them."""

    over = False

    def __init__(self, response):
        self._response = response

    def advance(self):
        line = yield from self._response.line()
        self.over = line is None
        return line

    def close(self):
        pass
