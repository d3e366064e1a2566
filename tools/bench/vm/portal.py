"""What the set-up page takes of the heap, and how long it stops an asyncio program.

Reads one line of JSON: the ports at which the page and its DNS are served, the page's file, and how many
networks it shows. Serves it until a line comes in, then again. Prints, in bytes and microseconds, the heap
that the import takes over what a board that joins has, the most that the first page takes over that, and the
loop's longest stall in the second. The radio is left out: what it hears is given.
"""

import asyncio
import gc
import json
import select
import sys
from time import ticks_diff, ticks_us

NAP_S = 0.002


def taken(*modules):
    """The heap that an import of these takes."""
    gc.collect()
    before = gc.mem_alloc()
    for module in modules:
        __import__("muster." + module)
    gc.collect()
    return gc.mem_alloc() - before


taken("agent", "heartbeat", "wifi")
imported = taken("portal.home", "portal.web", "portal.dns")


class Point:
    def isconnected(self):
        return True

    def active(self, on):
        pass


class Station:
    def isconnected(self):
        return True


class Agent:
    def __init__(self):
        setup = {"name": "toy", "key": "ABCDE23456", "address": "127.0.0.1", "idle": 3600, "limit": 3600}
        self._config = {"setup": setup}
        self._device_no = "AI-0001"


async def watch():
    """The longest that the loop stood still."""
    global longest
    last = ticks_us()
    while True:
        await asyncio.sleep(NAP_S)
        now = ticks_us()
        longest, last = max(longest, ticks_diff(now, last) - int(NAP_S * 1e6)), now


async def serve(page):
    """Serves the page until a line comes in. Returns the most heap that was in use."""
    most = 0
    line = select.poll()
    line.register(sys.stdin, select.POLLIN)
    turns = page.serve()
    while not line.poll(0):
        wanted = next(turns)
        if measures_heap:
            gc.collect()
            most = max(most, gc.mem_alloc())
        await asyncio.sleep(0 if wanted is False else 0.02)
    sys.stdin.readline()
    turns.close()
    return most


async def main():
    global longest, measures_heap
    watching = asyncio.create_task(watch())
    gc.collect()
    before = gc.mem_alloc()
    measures_heap = True
    heap = await serve(home.Page(Agent(), Station())) - before
    measures_heap, longest = False, 0
    await serve(home.Page(Agent(), Station()))
    watching.cancel()
    return {"import": imported, "heap": heap, "stall": longest}


from muster.portal import dns, home, radio, web  # noqa: E402 - they are there already

measures_heap, longest = False, 0
ports, home.Page.file, count = json.loads(sys.stdin.readline())
bound = web.bound
web.bound = dns.bound = lambda kind, address, port: bound(kind, address, ports[str(port)])
networks = [(b"network %04d" % n, -40 - n, True) for n in range(count)]


def heard(station):
    return networks, 6
    yield


radio.heard = heard
home.Page.local = lambda page, ip: True  # of a peer the Unix port gives no IP
radio.open_point = lambda name, key, address, channel: Point()
print(json.dumps(asyncio.run(main())))
