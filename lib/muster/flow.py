"""Calls to a cloud as flows: generators that know no socket.

A flow yields a Request and is sent the answer. Of an answer that it asked for with
stream=True it then yields LINE, PIECE or BODY, and is sent the next of these. What it
yields otherwise is for whoever drives it, and what it returns is what the call returns.
An exchange that fails is thrown into it. So a token that is renewed, a call that is
repeated and an answer that is refused are plain data here, for blocking programs and
for asyncio alike.
"""

from . import const
from .net import wait

# What a flow yields to be sent more of a streamed answer.
LINE = const(1)  # the next line, bytes without its end; None at the end of the answer
PIECE = const(2)  # at most 1,024 bytes as they come; b"" at the end
BODY = const(3)  # nothing: the rest is in the answer's content then


class Request:
    """One request; the arguments are http.Session.request's."""

    def __init__(self, method, url, data=None, headers=None, stream=False, repeatable=False):
        self.method = method
        self.url = url
        self.data = data
        self.headers = headers
        self.stream = stream
        self.repeatable = repeatable


class Answer:
    """A whole answer; of a streamed one, content is None until BODY was yielded.

    not_after   Unix time at which the server's verified certificate ends, None if unknown
    """

    def __init__(self, status_code, headers, content, not_after):
        self.status_code = status_code
        self.headers = headers
        self.content = content
        self.not_after = not_after

    def json(self):
        """The content as JSON; ValueError if it is none."""
        from .jsontext import loads

        return loads(self.content)


class Run:
    """A flow under way.

    carrier  has generators for net.wait: send(request), which returns the answer, and
             read(answer, wanted); and leave(answer, good), which takes back what is no longer read
    """

    def __init__(self, flow, carrier):
        self._flow = flow
        self._carrier = carrier
        self._answer = None
        self.over = False

    def advance(self):
        """A generator: returns the next thing that the flow yields for its driver, or what it returns."""
        found = fault = None
        while True:
            try:
                wanted = self._flow.throw(fault) if fault else self._flow.send(found)
            except StopIteration as e:
                self.over = True
                return e.value
            found = fault = None
            try:
                if isinstance(wanted, Request):
                    self._leave(True)
                    found = self._answer = yield from self._carrier.send(wanted)
                elif wanted in (LINE, PIECE, BODY):
                    found = yield from self._carrier.read(self._answer, wanted)
                else:
                    return wanted
            except Exception as e:
                fault = e

    def whole(self):
        """A generator for net.wait: the flow to its end, whose own waits are passed on."""
        try:
            while True:
                found = yield from self.advance()
                if self.over:
                    return found
                yield found
        finally:
            self.close()

    def close(self):
        """Ends the flow, wherever it is."""
        self._flow.close()
        self._leave(self.over)

    def _leave(self, good):
        """Lets go of the answer; good says that the flow wants no more of it."""
        answer, self._answer = self._answer, None
        if answer:
            self._carrier.leave(answer, good)


class Driver:
    """What a session offers a cloud."""

    idle = None

    def start(self, flow):
        """The Run of a flow."""
        return Run(flow, self)

    def run(self, generator):
        """Drives a generator for net.wait."""
        return wait.run(generator, self.idle)

    def call(self, flow):
        """Returns what the flow returns."""
        return self.run(self.start(flow).whole())

    def stream(self, flow):
        """Yields what the flow yields."""
        return self.each(self.start(flow))

    def each(self, run):
        """Yields what a Run, or what is like it, comes to by advance(), until it is over."""
        try:
            while True:
                found = self.run(run.advance())
                if run.over:
                    break
                yield found
        finally:
            run.close()


class Plain:
    """Where there is no session: call() and stream() give the flow itself, for `yield from` in another."""

    @staticmethod
    def call(flow):
        return flow

    stream = call


def driver(session):
    """Returns what drives flows over a session: itself, or what a foreign one needs."""
    if session is None:
        return Plain
    if isinstance(session, Driver):
        return session
    from muster.net.foreign import Foreign

    return Foreign(session)
