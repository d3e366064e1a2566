"""How soon the first piece of each of several streamed chats comes.

Reads one line of JSON: the URL of a Coze, its root, and how many chats. Prints the microseconds of each.
"""

import json
import sys
from time import ticks_diff, ticks_us

from muster import http
from muster.clouds.coze import Coze

url, ca, count = json.loads(sys.stdin.readline())
coze = Coze(http.Session(ca), token="token", base_url=url)
times = []
for _ in range(count):
    start = ticks_us()
    pieces = coze.chat_text("7379462189365198898", "child-1", "今天天气怎么样？")
    first = next(pieces)
    times.append(ticks_diff(ticks_us(), start))
    assert first
    for _ in pieces:
        pass
print(json.dumps(times))
