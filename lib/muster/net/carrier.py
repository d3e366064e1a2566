"""Requests over kept connections: what of muster.http.Session drives flows. An agent needs no more."""

import gc

from .. import clock, const
from ..errors import TransportError
from ..flow import Answer, Driver
from ..memory import unload
from . import wait
from .tls import Trust

_MAX_REDIRECTS = const(5)
_MAX_KEPT = const(2)
_ONE_WRITE = const(4096)  # up to here a head and its body leave in one write: one TLS record


class Carrier(Driver):
    """ca, timeout and max_body are muster.http.Session's.

    roots  {(scheme, host, port): the files of ca that verified it last}, where there are others
    With lean = True, code that has done its part leaves the memory, and is read again for the next
    request: for whoever sends few.
    """

    verifies = True
    lean = False

    def __init__(self, ca=None, timeout=10, max_body=65536):
        self.timeout = timeout
        self.max_body = max_body
        self.ca = ca
        self._trust = None
        self._kept = {}
        self.roots = {}

    def send(self, request):
        """A flow's request: a generator, which returns the Answer, or for a stream the Exchange."""
        exchange = yield from self.carry(
            request.method,
            request.url,
            request.data,
            dict(request.headers or {}),
            wait.Deadline(self.timeout),
            request.repeatable,
        )
        if request.stream:
            return exchange
        yield from exchange.load()
        self.leave(exchange, True)
        if self.lean:
            unload("muster.net.exchange", "muster.net.http1")
        return Answer(exchange.status_code, exchange.headers, exchange.content, exchange.not_after)

    def read(self, exchange, wanted):
        """What a flow reads of a streamed answer: a generator."""
        from .stream import read

        exchange.connection.deadline = wait.Deadline(self.timeout)
        return read(exchange, wanted)

    def leave(self, exchange, good):
        """Takes back the connection; good: nobody wants what is unread of the answer."""
        if type(exchange) is Answer:
            return  # read as a whole, it has left its connection
        if (good or exchange.ended()) and exchange.can_be_kept():
            self.keep(exchange)
        else:
            exchange.connection.close()

    def keep(self, exchange):
        """Takes back a connection, of whose last answer only the end may be unread."""
        connection = exchange.connection
        connection.unread = None if exchange.ended() else exchange
        spare = self._kept.pop(connection.origin, None)
        if not spare and len(self._kept) >= _MAX_KEPT:
            spare = self._kept.popitem()[1]
        if spare:
            spare.close()
        self._kept[connection.origin] = connection

    def close(self):
        """Closes the kept connections and lets go of the roots; the session can be used again."""
        while self._kept:
            self._kept.popitem()[1].close()
        self._trust = None

    def carry(self, method, url, data, headers, deadline, repeatable=False, lines=None):
        """A generator: one request, and what redirects make of it. Returns the Exchange, its body unread."""
        target = _split(url)
        for _ in range(_MAX_REDIRECTS + 1):
            exchange = yield from self._send(method, target, data, headers, deadline, repeatable, lines)
            location = exchange.headers.get("location")
            if not location or exchange.status_code not in (301, 302, 303, 307, 308):
                return exchange
            self.leave(exchange, exchange.ended())
            try:
                from .redirect import follow
            except ImportError:
                raise TransportError("%s redirects, and nothing on this board follows" % target[1])
            method, target, data, headers = follow(
                exchange.status_code, location, method, target, data, headers
            )
        raise TransportError("%s redirects more than %d times" % (target[1], _MAX_REDIRECTS))

    def _send(self, method, target, data, headers, deadline, repeatable, lines):
        """One request up to the head of its answer. One of seven things happens:

        - a kept connection takes it
        - the kept connection has ended before: a new one takes it
        - the kept connection ends without an answer: a new one takes it, if the request may be sent twice
        - else TransportError: the server may have executed it
        - the certificate is refused, and other roots fit its chain: those are tried, once
        - it is not valid yet by this clock, which is behind: the clock is set, once
        - whatever else fails closes the connection and is raised
        """
        head, rest = prepared(method, target, data, headers)
        if self.lean:
            unload("muster.net.request", "muster.jsontext")
            gc.collect()
        origin = target[:3]
        trust = None
        if origin[0] == "https":
            # It wants memory in one piece, so it comes before the modules that fill the heap.
            # And no more than one set of roots: a new host is tried with that of the last one.
            wanted = self.roots.get(origin)
            if self._trust and wanted and wanted != self._trust.roots:
                self._trust = None
            trust = self._trust = self._trust or Trust(self.ca, wanted)
        from muster.net.exchange import Exchange

        from .connection import Closed, Connection

        kept = self._kept.pop(origin, None)
        if kept:
            # What is read from a file or an iterator cannot be sent twice, so it never goes out on trial.
            if isinstance(rest, tuple) and kept.reuse(deadline):
                try:
                    exchange = Exchange(kept, self.max_body)
                    yield from exchange.start(method, head, rest, lines)
                    return exchange
                except Closed:
                    if not repeatable and " %s " % method not in " GET HEAD PUT DELETE OPTIONS TRACE ":
                        raise TransportError(
                            "%s: the connection ended before the answer; "
                            "the server may have executed the request" % origin[1]
                        )
            kept.close()
        moved = turned = False
        while True:
            connection = Connection(origin, trust, deadline)
            try:
                yield from connection.open()
                exchange = Exchange(connection, self.max_body)
                yield from exchange.start(method, head, rest, lines)
                if trust and trust.roots and trust.roots != self.roots.get(origin):
                    trust.ask("keep", self.roots, origin)
                return exchange
            except BaseException as e:
                connection.close()
                wanted = not turned and getattr(e, "refused", False) and trust.ask("wanted", self.ca)
                if wanted:
                    connection = exchange = trust = self._trust = None  # makes room
                    trust = self._trust = Trust(self.ca, wanted)
                    turned = True
                    continue
                # A CA signed that time for this very name, so it has passed and the clock was behind.
                starts = not moved and getattr(e, "starts", None)
                if not starts or not clock.set_floor(starts):
                    raise
                moved = True


# Neither is a part of a generator, which would hold the code of net.request for as long as it waits.


def _split(url):
    from muster.net.request import split

    return split(url)


def prepared(method, target, data, headers):
    """The head of a request, and the rest of it in pieces: a tuple, or what can be read only once."""
    from muster.net.request import checked_length, request_head

    if data is None or isinstance(data, (bytes, bytearray)):
        length = checked_length(len(data or b""), headers)
    else:
        from . import upload

        length, data = upload.prepared(data, headers)
    head = request_head(method, target, length, headers)
    if not data:
        return head, ()
    if not isinstance(data, (bytes, bytearray, memoryview)):
        return head, data
    if len(head) + len(data) <= _ONE_WRITE:
        return head + bytes(data), ()
    return head, (data,)
