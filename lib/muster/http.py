"""HTTP/1.1 with urequests' API, and what that one lacks.

TLS always verifies the chain, the name and the dates. A timeout bounds a whole
exchange, from the connection to the last byte of the answer, whatever the
server drips. A session keeps its connections.

    from muster import http
    print(http.get("https://example.com/").text)
"""

from muster.net.request import checked_length, request_head, split
from muster.net.tls import Trust

from . import clock
from .errors import CertificateDateError, TransportError
from .flow import LINE, PIECE, Driver
from .net import wait

try:
    from micropython import const
except ImportError:
    const = int

_MAX_REDIRECTS = const(5)
_MAX_KEPT = const(2)
_PIECE = const(1024)


def __getattr__(name):
    if name[:1] == "_":  # CPython looks for __path__
        raise AttributeError(name)
    from . import verbs

    return getattr(verbs, name)


def _verb(method):
    def verb(self, url, **kw):
        return self.request(method, url, **kw)

    return verb


class Session(Driver):
    """Requests over kept connections, with one set of trusted roots.

    ca        CA certificates: DER or PEM bytes, the path of a file or of a directory
              of files, or a list of these. By default /roots on a board, and on a
              laptop what its system trusts.
    timeout   seconds for a whole exchange; for a streamed answer, seconds to its head
              and then for each read
    max_body  bytes of the largest body that is read into memory

    get(), post(), put(), delete(), patch() and head() take what request() takes behind its method.
    The attribute idle is called several times a second while a request waits: the
    place to feed a watchdog.
    """

    verifies = True

    def __init__(self, ca=None, timeout=10, max_body=65536):
        self.timeout = timeout
        self.max_body = max_body
        self._ca = ca
        self._trust = None
        self._kept = {}

    def request(self, method, url, *args, **kw):
        """Sends one request and returns its Response.

        data           str or bytes; or an open binary file or an iterator of bytes, sent in chunks
                       unless a Content-Length is among the headers
        json           an object to send as JSON instead
        headers        a dict
        stream         True leaves the body to be read piece by piece
        auth           (user, password) for Basic
        timeout        seconds, instead of the session's
        parse_headers  False drops the answer's headers; a function(line, headers) fills them in
        repeatable     True says that a server may execute this request twice. It is sent again
                       when a kept connection ends before its answer, as GET, HEAD, PUT, DELETE,
                       OPTIONS and TRACE always are (RFC 9110, 9.2.2)
        Raises TransportError, and ValueError or TypeError for what cannot be sent.
        """
        return self.run(self.exchange(method, url, *args, **kw))

    get = _verb("GET")
    post = _verb("POST")
    put = _verb("PUT")
    delete = _verb("DELETE")
    patch = _verb("PATCH")
    head = _verb("HEAD")

    def exchange(self, method, url, *args, **kw):
        """request() as a generator for net.wait."""
        from muster.net.response import exchange

        return exchange(self, method, url, *args, **kw)

    def send(self, request):
        """A flow's request: a generator, which returns the Exchange."""
        deadline = wait.Deadline(self.timeout)
        exchange = yield from self.carry(
            request.method,
            request.url,
            request.data,
            dict(request.headers or {}),
            deadline,
            request.repeatable,
        )
        if not request.stream:
            yield from exchange.load()
        return exchange

    def read(self, exchange, wanted):
        """What a flow reads of a streamed answer: a generator."""
        exchange.connection.deadline = wait.Deadline(self.timeout)
        if wanted == LINE:
            return exchange.line()
        if wanted == PIECE:
            return exchange.piece(_PIECE)
        return exchange.load()

    def leave(self, exchange, good):
        """Takes back the connection; good: nobody wants what is unread of the answer."""
        if (good or exchange.ended()) and exchange.can_be_kept():
            self.keep(exchange)
        else:
            exchange.connection.close()

    def keep(self, exchange):
        """Takes back a connection, of whose last answer only the end may be unread."""
        origin = exchange.connection.origin
        spare = self._kept.pop(origin, None)
        if not spare and len(self._kept) >= _MAX_KEPT:
            spare = self._kept.popitem()[1]
        if spare:
            spare.connection.close()
        self._kept[origin] = exchange

    def close(self):
        """Closes the kept connections and lets go of the roots; the session can be used again."""
        while self._kept:
            self._kept.popitem()[1].connection.close()
        self._trust = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def carry(self, method, url, data, headers, deadline, repeatable=False, lines=None):
        """A generator: one request, and what redirects make of it. Returns the Exchange, its body unread."""
        target = split(url)
        for _ in range(_MAX_REDIRECTS + 1):
            exchange = yield from self._send(method, target, data, headers, deadline, repeatable, lines)
            location = exchange.headers.get("location")
            if not location or exchange.status_code not in (301, 302, 303, 307, 308):
                return exchange
            self.leave(exchange, exchange.ended())
            try:
                from muster.net.redirect import follow
            except ImportError:
                raise TransportError("%s redirects, and nothing on this board follows" % target[1])
            method, target, data, headers = follow(
                exchange.status_code, location, method, target, data, headers
            )
        raise TransportError("%s redirects more than %d times" % (target[1], _MAX_REDIRECTS))

    def _send(self, method, target, data, headers, deadline, repeatable, lines):
        """One request up to the head of its answer. One of six things happens:

        - a kept connection takes it
        - the kept connection has ended before: a new one takes it
        - the kept connection ends without an answer: a new one takes it, if the request may be sent twice
        - else TransportError: the server may have executed it
        - the certificate is not valid yet by this clock, which is behind: the clock is set, once
        - whatever else fails closes the connection and is raised
        """
        if data is None or isinstance(data, (bytes, bytearray)):
            length = checked_length(len(data or b""), headers)
        else:
            from muster.net.upload import prepared

            length, data = prepared(data, headers)
        # What is read from a file or an iterator cannot be sent twice, so it never goes out on trial.
        whole = data is None or isinstance(data, (bytes, bytearray, memoryview))
        request = method, request_head(method, target, length, headers), data, lines
        origin = target[:3]
        trust = None
        if origin[0] == "https":
            # It wants memory in one piece, so it comes before the modules that fill the heap.
            trust = self._trust = self._trust or Trust(self._ca)
        from muster.net.connection import Closed, Connection
        from muster.net.exchange import Exchange

        kept = self._kept.pop(origin, None)
        if kept:
            if whole and kept.reuse(deadline):
                try:
                    exchange = Exchange(kept.connection, self.max_body)
                    yield from exchange.start(*request)
                    return exchange
                except Closed:
                    if not repeatable and method not in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"):
                        raise TransportError(
                            "%s: the connection ended before the answer; "
                            "the server may have executed the request" % origin[1]
                        )
            kept.connection.close()
        moved = False
        while True:
            connection = Connection(origin, trust, deadline)
            try:
                yield from connection.open()
                exchange = Exchange(connection, self.max_body)
                yield from exchange.start(*request)
                return exchange
            except CertificateDateError as e:
                connection.close()
                # A CA signed that time for this very name, so it has passed and the clock was behind.
                if moved or not e.starts or not clock.set_floor(e.starts):
                    raise
                moved = True
            except BaseException:
                connection.close()
                raise


class AsyncSession(Session):
    """Session for asyncio: what its methods return is to be awaited, and a stream is for `async for`.

    Several tasks may use one session at a time.
    """

    def run(self, generator):
        from muster.net.aio import run_async

        return run_async(generator, self.idle)

    def each(self, run):
        from muster.net.aio import Stream

        return Stream(self, run)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.close()
