"""HTTP/1.1 with urequests' API, and what that one lacks.

TLS always verifies the chain, the name and the dates. A timeout bounds a whole
exchange, from the connection to the last byte of the answer, whatever the
server drips. A Session keeps its connections.

    from muster import http
    print(http.get("https://example.com/").text)
"""

from . import clock, wait
from .connection import Closed, Connection, Deadline, Misfit, Trust
from .errors import TransportError
from .response import Response

try:
    from micropython import const
except ImportError:
    const = int

_MAX_REDIRECTS = const(5)
_MAX_KEPT = const(2)
# Up to here a head and its body leave in one write: one TLS record.
_ONE_WRITE = const(4096)


class Session:
    """Requests over kept connections, with one set of trusted roots.

    ca        CA certificates: DER or PEM bytes, the path of a file or of a directory
              of files, or a list of these. By default /roots on a board, and on a
              laptop what its system trusts.
    timeout   seconds for a whole exchange; for a streamed answer, seconds to its head
              and then for each read
    max_body  bytes of the largest body that is read into memory

    The attribute idle is called several times a second while a request waits: the
    place to feed a watchdog.
    """

    def __init__(self, ca=None, timeout=10, max_body=65536):
        self.timeout = timeout
        self.max_body = max_body
        self.idle = None
        self._ca = ca
        self._trust = None
        self._kept = {}

    def request(
        self, method, url, data=None, json=None, headers=None, stream=False,
        auth=None, timeout=None, parse_headers=True, repeatable=False,
    ):  # fmt: skip
        """Sends one request and returns its Response.

        data           str or bytes; or an open binary file or an iterator of bytes, sent in chunks
                       unless a Content-Length is among the headers
        json           an object to send as JSON instead
        stream         True leaves the body to be read piece by piece
        auth           (user, password) for Basic
        timeout        seconds, instead of the session's
        parse_headers  False drops the answer's headers; a function(line, headers) fills them in
        repeatable     True says that a server may execute this request twice. It is sent again
                       when a kept connection ends before its answer, as GET, HEAD, PUT, DELETE,
                       OPTIONS and TRACE always are (RFC 9110, 9.2.2)
        Raises TransportError, and ValueError or TypeError for what cannot be sent.
        """
        return wait.run(
            self.exchange(method, url, data, json, headers, stream, auth, timeout, parse_headers, repeatable),
            self.idle,
        )

    def exchange(
        self, method, url, data=None, json=None, headers=None, stream=False,
        auth=None, timeout=None, parse_headers=True, repeatable=False,
    ):  # fmt: skip
        """request() as a generator for the drivers of muster.wait."""
        headers = dict(headers or {})
        if json is not None:
            from .jsontext import dumps

            data = dumps(json)
            if _given(headers, "content-type") is None:
                headers["Content-Type"] = "application/json"
        if auth is not None:
            from binascii import b2a_base64

            headers = {name: headers[name] for name in headers if name.lower() != "authorization"}
            pair = b2a_base64(("%s:%s" % tuple(auth)).encode())
            headers["Authorization"] = "Basic " + pair.decode().strip()
        if isinstance(data, str):
            data = data.encode()
        deadline = Deadline(timeout or self.timeout)
        target = _split(url)
        for _ in range(_MAX_REDIRECTS + 1):
            response = yield from self._send(
                method, target, data, headers, deadline, parse_headers, repeatable
            )
            if not response.location:
                break
            response.close()
            status = response.status_code
            method, target, data, headers = _redirect(
                status, response.location, method, target, data, headers
            )
        else:
            raise TransportError("%s redirects more than %d times" % (target[1], _MAX_REDIRECTS))
        if not stream:
            yield from response.read_all()
        return response

    def get(self, url, **kw):
        return self.request("GET", url, **kw)

    def post(self, url, **kw):
        return self.request("POST", url, **kw)

    def put(self, url, **kw):
        return self.request("PUT", url, **kw)

    def delete(self, url, **kw):
        return self.request("DELETE", url, **kw)

    def patch(self, url, **kw):
        return self.request("PATCH", url, **kw)

    def head(self, url, **kw):
        return self.request("HEAD", url, **kw)

    def close(self):
        """Closes the kept connections; the session can be used again."""
        while self._kept:
            self._kept.popitem()[1].close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _send(self, method, target, data, headers, deadline, parse_headers, repeatable):
        """One request up to the head of its answer, on a kept connection or a new one."""
        origin = target[:3]
        length = _length(data, headers)
        head = _head(method, target, length, headers)
        whole = data is None or _is_bytes(data)
        if not whole:
            data = _framed(iter(_pieces(data) if hasattr(data, "read") else data), length)
            if length == 0:
                data = b"".join(data)  # now, since the head alone would be complete
        kept = self._kept.pop(origin, None)
        if kept:
            # What is read from a file or an iterator cannot be sent twice, so it never goes out on trial.
            if whole and kept.reuse(deadline):
                try:
                    return (yield from self._converse(kept, method, head, data, parse_headers))
                except Closed:
                    if not repeatable and method not in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"):
                        raise TransportError(
                            "%s: the connection ended before the answer; "
                            "the server may have executed the request" % origin[1]
                        )
            kept.close()
        if origin[0] == "https" and not self._trust:
            self._trust = Trust(self._ca)
        moved = False
        while True:
            connection = Connection(origin, self._trust if origin[0] == "https" else None, deadline)
            try:
                yield from connection.open()
                return (yield from self._converse(connection, method, head, data, parse_headers))
            except Misfit as e:
                # A CA signed that time for this very name, so it has passed and the clock was behind.
                if moved or not e.starts or not clock.at_least(e.starts):
                    raise
                moved = True
            except BaseException:
                connection.close()
                raise

    def _converse(self, connection, method, head, data, parse_headers):
        try:
            yield from _write(connection, head, data)
            response = Response(self, connection)
            yield from response.read_head(method, parse_headers)
            return response
        except BaseException as e:
            connection.close()
            if isinstance(e, MemoryError):
                raise TransportError("%s: there is no memory for the exchange" % connection.origin[1])
            raise

    def keep(self, connection):
        """Takes back a connection whose answer has been read to its end."""
        spare = self._kept.pop(connection.origin, None)
        if not spare and len(self._kept) >= _MAX_KEPT:
            spare = self._kept.popitem()[1]
        if spare:
            spare.close()
        self._kept[connection.origin] = connection


class _Once(Session):
    """A session for a single exchange."""

    def keep(self, connection):
        connection.close()


def request(method, url, *args, ca=None, **kw):
    """One exchange over a connection of its own; the arguments are Session's and Session.request's."""
    return _Once(ca).request(method, url, *args, **kw)


def get(url, **kw):
    return request("GET", url, **kw)


def post(url, **kw):
    return request("POST", url, **kw)


def put(url, **kw):
    return request("PUT", url, **kw)


def delete(url, **kw):
    return request("DELETE", url, **kw)


def patch(url, **kw):
    return request("PATCH", url, **kw)


def head(url, **kw):
    return request("HEAD", url, **kw)


def _write(connection, head, data):
    """The request: in one write if it fits."""
    if data is None:
        yield from connection.write(head)
    elif _is_bytes(data):
        if len(head) + len(data) <= _ONE_WRITE:
            yield from connection.write(head + bytes(data))
        else:
            yield from connection.write(head)
            yield from connection.write(data)
    else:
        yield from connection.write(head)
        for piece in data:
            yield from connection.write(piece)


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
        if not _is_bytes(piece):
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


def _given(headers, name):
    """What the caller's headers say under name; None if nothing."""
    for other in headers:
        if other.lower() == name:
            return headers[other]
    return None


def _is_bytes(data):
    # Not a view of an array: its length is no count of bytes.
    return isinstance(data, (bytes, bytearray)) or (isinstance(data, memoryview) and len(bytes(data[:1])) < 2)


def _length(data, headers):
    """How many bytes data has; None if it comes in pieces and no Content-Length says it."""
    given = _given(headers, "content-length")
    if data is None or _is_bytes(data):
        length = len(data or b"")
    # None of these has an __iter__ on MicroPython.
    elif isinstance(data, (dict, list, tuple, set, memoryview)) or not (
        hasattr(data, "read") or hasattr(data, "__iter__") or hasattr(data, "__next__")
    ):
        raise TypeError(
            "data is str, bytes, an open file or an iterator of bytes, not %s; "
            "json= sends an object as JSON" % type(data).__name__
        )
    elif given is None:
        return None
    else:
        length = int(given) if str(given).encode().isdigit() else 0
    if given is not None and str(given) != "%d" % length:
        # Not what was given: it may be a secret in the wrong place.
        raise ValueError("the Content-Length is not the number of bytes in data")
    return length


def _head(method, target, length, headers):
    """The request line and the headers, as bytes; ValueError for what cannot stand there.

    length   of the body; None if it goes out in chunks
    """
    lines = ["%s %s HTTP/1.1" % (method, target[3])]
    seen = ["transfer-encoding"]  # which is not the caller's to say
    for name, value in headers.items():
        if name.lower() in seen:
            raise ValueError("%r: this header is sent already" % name)
        if not name or " " in name or ":" in name or not isinstance(value, (str, int, float)):
            raise ValueError("%r: a header is a name without spaces and colons, and text" % name)
        lines.append("%s: %s" % (name, value))
        seen.append(name.lower())
    if "host" not in seen:
        lines.insert(1, "Host: " + target[4])
    if length is None:
        lines.append("Transfer-Encoding: chunked")
    elif "content-length" not in seen and (length or method in ("POST", "PUT", "PATCH")):
        lines.append("Content-Length: %d" % length)
    for line in lines:
        for c in line:
            if not " " <= c <= "~":
                # Not the line itself: it may be a secret.
                name = line.partition(":")[0]
                raise ValueError("%r: only ASCII without line ends may stand in a header" % name)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _split(url):
    """(scheme, host, port, path and query, Host header) of a URL; ValueError names what is wrong."""
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in ("http", "https"):
        raise ValueError("a URL starts with http:// or https://")
    for c in url:
        if not "!" <= c <= "~":
            raise ValueError("a URL is ASCII without spaces and line ends: percent-encode the others")
    rest = rest.partition("#")[0]
    authority = rest.partition("?")[0].partition("/")[0]
    path = rest[len(authority) :]
    if "@" in authority:
        raise ValueError("a URL with a user name is refused: use auth=")
    if authority[:1] == "[":
        host, bracket, port = authority[1:].partition("]")
        if not bracket or port[:1] not in ("", ":"):
            host = ""
        port = port[1:]
    else:
        host, _, port = authority.partition(":")
    port = port or ("443" if scheme == "https" else "80")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("a URL needs a host, and a port between 1 and 65535 if it names one")
    if path[:1] != "/":
        path = "/" + path
    return scheme, host.lower(), int(port), path, authority


def _redirect(status, location, method, target, data, headers):
    """What to send where after a redirect: (method, target, data, headers)."""
    from .redirect import absolute

    scheme, host = target[:2]
    try:
        new = _split(absolute(target, location))
    except ValueError as e:
        raise TransportError("%s redirects to no usable address: %s" % (host, e))
    if new[:3] != target[:3]:
        secret = data is not None or _given(headers, "authorization") is not None
        if secret or (scheme == "https" and new[0] != "https"):
            raise TransportError("%s redirects to %s, where this request must not go" % (host, new[1]))
        headers = {}
    if status == 303 or (status in (301, 302) and method == "POST"):
        headers = {name: headers[name] for name in headers if not name.lower().startswith("content-")}
        return "HEAD" if method == "HEAD" else "GET", new, None, headers
    if data is not None and not _is_bytes(data):
        raise TransportError("%s redirects a body that cannot be sent twice" % host)
    return method, new, data, headers
