"""How a test tells tools/chaos/servers.py what to answer, and hears what it saw; on both machines.

An answer is a list of steps, which are explained there.
"""

import asyncio
import binascii
import json
import time

from helpers import raises
from muster import http
from muster.clock import ticks_diff, ticks_ms
from muster.errors import TransportError

OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def say(server, *steps):
    """The URL at which the server answers with these steps."""
    return say_in_turn(server, steps)


def say_in_turn(server, *answers):
    """The URL at which the first request gets the first list of steps, and so on; the last one stays."""
    script = json.dumps([list(steps) for steps in answers]).encode()
    return server["url"] + "/" + binascii.hexlify(script).decode()


def answer(body="", *headers, status="200 OK"):
    """The text of an answer with a Content-Length."""
    head = "HTTP/1.1 %s\r\nContent-Length: %d\r\n" % (status, len(body))
    for header in headers:
        head += header + "\r\n"
    return head + "\r\n" + body


def to(server, location, status="302 Found", body=""):
    """The URL of a redirect."""
    return say(server, answer(body, "Location: " + location, status=status))


def seen(server):
    """A dict for each connection: received (a list of str), requests, handshake, client_left, over."""
    return http.get(server["seen"]).json()


def requests(server):
    """How many requests came on each connection."""
    return [connection["requests"] for connection in seen(server)]


def until_left(server):
    """Waits until the server has seen its last client leave."""
    for _ in range(100):
        if all(connection["client_left"] for connection in seen(server)):
            return
        time.sleep(0.02)
    raise AssertionError("a connection was left open")


def refused(url, session=None, method="GET", within=2, **kw):
    """The text of the TransportError that must come within so many seconds."""
    start = ticks_ms()
    error = raises(TransportError, (session or http).request, method, url, **kw)
    took = ticks_diff(ticks_ms(), start)
    assert took < within * 1000, "%d ms: %s" % (took, error)
    return str(error)


async def tick(stalls):
    """Notes how long a loop takes for each turn of 5 ms, in milliseconds."""
    last = ticks_ms()
    while True:
        await asyncio.sleep(0.005)
        now = ticks_ms()
        stalls.append(ticks_diff(now, last))
        last = now
