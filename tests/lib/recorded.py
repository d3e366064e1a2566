"""A session that never leaves the machine: the answers it was made with, and what it was asked."""

import json


class Answer:
    def __init__(self, body, status=200, headers=None):
        self.status_code = status
        self.headers = headers or {}
        self.content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.closed = False

    def json(self):
        return json.loads(self.content)

    def close(self):
        self.closed = True


class Recorder:
    """A session that gives the answers it was made with, the last one again and again."""

    def __init__(self, *answers):
        self.answers = [a if hasattr(a, "status_code") else Answer(a) for a in answers]
        self.asked = []

    def request(self, method, url, data=None, headers=None):
        self.asked.append((method, url, data, headers))
        return self.answers[min(len(self.asked), len(self.answers)) - 1]
