"""How a test tells tests/endure/servers.py what to answer, and hears what it saw; on both machines.

An answer is a list of steps, which are explained there.
"""

import binascii
import json
import time

from helpers import raises
from muster import http
from muster.clock import ticks_diff, ticks_ms
from muster.errors import TransportError

# Milliseconds: what ends by its deadline ends before, however busy the machine; what hangs does not.
LONG = 10000

OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def say(server, *steps):
    """The URL at which the server answers with these steps."""
    return say_in_turn(server, steps)


def say_in_turn(server, *answers):
    """The URL at which the first request gets the first list of steps, and so on; the last one stays."""
    script = json.dumps([list(steps) for steps in answers]).encode()
    return server["url"] + "/" + binascii.hexlify(script).decode()


def host_of(url):
    """The host of a URL with a port."""
    return url.split("/")[2].rpartition(":")[0]


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
    """What it saw: a dict for each connection, explained in tests/endure/servers.py."""
    return http.get(server["seen"]).json()


def requests(server):
    """How many requests came on each connection."""
    return [connection["requests"] for connection in seen(server)]


def until_left(server):
    """Waits until the server has seen its last client leave."""
    _until(server, lambda connection: connection["client_left"], "a connection was left open")


def until_said(server):
    """Waits until the server has said all that it has to say."""
    _until(server, lambda c: c["over"] or c["answers"] == c["requests"], "an answer was not taken")


def _until(server, true, otherwise):
    start = ticks_ms()
    while not all(true(connection) for connection in seen(server)):
        assert ticks_diff(ticks_ms(), start) < LONG, otherwise
        time.sleep(0.01)


def refused(url, session=None, method="GET", **kw):
    """The text of the TransportError that must come."""
    start = ticks_ms()
    error = raises(TransportError, (session or http).request, method, url, **kw)
    took = ticks_diff(ticks_ms(), start)
    assert took < LONG, "%d ms: %s" % (took, error)
    return str(error)


def go(server):
    """Ends one ["wait"] of the server's; a later one, if none has begun."""
    http.get(server["seen"] + "/go")


def show(server, kind):
    """From its next connection on it shows this chain of tests/endure/authorities.ManyRoots."""
    http.get(server["seen"] + "/show/" + kind)
