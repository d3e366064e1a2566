"""A session that never leaves the machine: the answers it was made with, and what it was asked."""

import json

from muster.errors import TransportError


class Answer:
    """One with a body of bytes or text, or of what is dumped as JSON."""

    def __init__(self, body, status=200, headers=None):
        self.status_code = status
        self.headers = headers or {}
        if not isinstance(body, bytes):
            body = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.content = body
        self.closed = False

    def json(self):
        return json.loads(self.content)

    def iter_lines(self):
        return iter(self.content.split(b"\n"))

    def close(self):
        self.closed = True


class Nested:
    """A code and a message that are nested more deeply than a board can print."""

    status_code = 200
    headers = {}

    def json(self):
        value = []
        for _ in range(2000):
            value = [value]
        return {"code": value, "message": value, "data": value, "error_code": value, "msg": value}

    def close(self):
        pass


class Recorder:
    """A session that gives the answers it was made with, the last one again and again; without any, none."""

    def __init__(self, *answers):
        self.answers = [a if hasattr(a, "status_code") else Answer(a) for a in answers]
        self.asked = []

    def request(self, method, url, data=None, headers=None, stream=False):
        self.asked.append((method, url, data, headers))
        if not self.answers:
            raise TransportError("nobody answers")
        return self.answers[min(len(self.asked), len(self.answers)) - 1]
