"""Flows over sessions that are not muster's: PyPI's requests.Session(), MicroPython's stock requests.

Such a session has request(method, url, data=…, headers=…), whose answer has status_code,
headers, content, json() and close(); for streams also iter_lines() and raw.
"""

from ..flow import LINE, PIECE, Driver, Run
from ..memory import MICROPYTHON


class Foreign(Driver):
    def __init__(self, session):
        self._session = session
        if MICROPYTHON:
            from .. import log

            log.warn_once(
                "this session verifies no certificate and may block for ever; muster.http does better"
            )

    def start(self, flow):
        return Run(flow, _Carrier(self._session))


class _Carrier:
    """Carries one flow; it never waits as a generator of muster's does."""

    def __init__(self, session):
        self._session = session
        self._lines, self._ended = None, False

    def send(self, request):
        data, headers = request.data, request.headers
        if MICROPYTHON and hasattr(data, "__iter__"):
            # Its stock requests sends that in chunks, and nothing with a length.
            data = iter(data)
            headers = {name: headers[name] for name in headers if name != "Content-Length"}
        more = {"stream": True} if request.stream else {}
        self._lines, self._ended = None, False
        return self._session.request(request.method, request.url, data=data, headers=headers, **more)
        yield

    def read(self, answer, wanted):
        if wanted == LINE:
            if self._lines is None:
                self._lines = iter(answer.iter_lines())
            return next(self._lines, None)
        if wanted == PIECE:
            if self._ended:
                return b""
            piece = answer.raw.read(1024)
            # Asked again after its end, MicroPython's TLS socket waits until the server gives up on it.
            self._ended = MICROPYTHON and len(piece) < 1024
            return piece
        return answer.content
        yield

    def leave(self, answer, good):
        answer.close()
