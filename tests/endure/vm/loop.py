"""On MicroPython and on CPython: how long an asyncio loop stands still while muster waits for a server.

Reads a line of JSON, [url, kilobytes of the request, ca, seconds, end, tries, limit], and prints one: of each
try the longest stall of the loop and that of a loop without muster just before, in milliseconds, and the
error in which the exchange ended. The first that has "end" in its error and a stall within the limit is the
last. Of a url ntp://host:port it asks the time.
"""

import asyncio
import gc
import json
import sys

from muster import clock, errors, http
from muster.clock import ticks_diff, ticks_ms
from muster.net import aio

NAP_S = 0.002  # short beside what a stall may last, and a processor is left for the servers


async def longest_stall(task):
    """Milliseconds between two turns of a loop with next to nothing else to do, until the task has ended."""
    longest, last = 0, ticks_ms()
    while not task.done():
        await asyncio.sleep(NAP_S)
        now = ticks_ms()
        longest, last = max(longest, ticks_diff(now, last)), now
    return longest


async def nothing(seconds):
    await asyncio.sleep(seconds)


async def exchange(url, kilobytes, ca, seconds):
    session = http.Session(ca, timeout=seconds)
    piece = bytes(1024)
    try:
        await aio.run_async(session.exchange("POST", url, (piece for _ in range(kilobytes))))
    except errors.TransportError as e:
        return str(e)
    finally:
        session.close()
    return "an answer"


async def ask_time(server, seconds):
    clock.NTP_TIMEOUT_MS = int(seconds * 1000)
    return "the time" if await aio.run_async(clock.synchronise([server])) else "no time came"


async def measure(url, kilobytes, ca, seconds, end, tries, limit):
    told = []
    for _ in range(tries):
        gc.collect()
        bare = await longest_stall(asyncio.create_task(nothing(seconds)))
        wanted = ask_time(url[6:], seconds) if url[:6] == "ntp://" else exchange(url, kilobytes, ca, seconds)
        task = asyncio.create_task(wanted)
        stall, error = await longest_stall(task), await task
        told.append((stall, bare, error))
        if end in error and stall <= limit:
            break
    return told


print(json.dumps(asyncio.run(measure(*json.loads(sys.stdin.readline())))))
