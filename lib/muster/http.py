"""HTTP/1.1 with urequests' API, and what that one lacks.

TLS always verifies the chain, the name and the dates. A timeout bounds a whole
exchange, from the connection to the last byte of the answer, whatever the
server drips. A session keeps its connections.

    from muster import http
    print(http.get("https://example.com/").text)
"""

from muster.net.carrier import Carrier


def _verb(method):
    def verb(self, url, **kw):
        return self.request(method, url, **kw)

    return verb


class Session(Carrier):
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

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


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


class _Once(Session):
    """A session for a single exchange."""

    def keep(self, exchange):
        exchange.connection.close()


def __getattr__(name):
    """urequests' functions: a Session's method over a connection of its own; ca is one more argument."""
    if name not in ("request", "get", "post", "put", "delete", "patch", "head"):
        raise AttributeError(name)

    def once(*args, ca=None, **kw):
        return getattr(_Once(ca), name)(*args, **kw)

    return once
