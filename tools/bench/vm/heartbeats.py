"""In the MicroPython VM: an agent that reports as often as it is told, and what it holds afterwards.

Reads lines of JSON: first the configuration, the path of its records and the seconds that an exchange may
take; then each time how and how often. Answers each of the latter with a line of JSON: the heartbeats, the
tries, {error: how often} and the bytes of the heap that are in use.

"kept"    heartbeats by report(), over a connection that is kept
"anew"    heartbeats by step(), each when it is due, over a connection of its own
"task"    heartbeats by task() in an asyncio program that ends it after each
"cancel"  not heartbeats, but as often a task() that is ended at any moment
"""

import asyncio
import gc
import json
import os
import sys
import time

import muster
from muster import http, log, store

TRIES = 50  # at most for one heartbeat
DAY_S = 86400


class ClockAhead:
    """Unix time that is set on to what is due: half a day takes no time."""

    def __init__(self):
        self.time = time.time_ns() // 1_000_000_000

    def now(self):
        return self.time

    def trusted(self):
        return True


class Soak:
    def __init__(self, config, state, timeout):
        self.clock = ClockAhead()
        self.session = http.Session(config["roots"], timeout=timeout, max_body=4096)
        self.agent = muster.Agent(config, self.session, store.FileStore(state), self.clock)
        self.errors = {}

    def do(self, how, count):
        begun = self.so_far("reports")
        tries = 0
        self.errors = {}
        while (
            tries < TRIES * count and (tries if how == "cancel" else self.so_far("reports") - begun) < count
        ):
            tries += 1
            getattr(self, how)()
        if how != "kept":
            self.session.close()
        told = {"reports": self.so_far("reports") - begun, "tries": tries, "errors": self.errors}
        self.errors = {}
        gc.collect()
        gc.collect()  # what a finaliser let go of
        told["heap"] = gc.mem_alloc()
        return told

    def so_far(self, what):
        return self.agent.status()[what]

    def failed(self, why):
        self.errors[why] = self.errors.get(why, 0) + 1

    def kept(self):
        try:
            self.agent.report()
        except muster.Error as e:
            self.failed(str(e))

    def anew(self):
        before = self.so_far("failures")
        self.clock.time += self.agent.step()
        if self.so_far("failures") > before:
            self.failed(self.so_far("last_error"))

    def task(self):
        asyncio.run(self.until_something_came_of_it())

    def cancel(self):
        asyncio.run(self.for_a_moment())

    async def until_something_came_of_it(self):
        before = self.so_far("reports"), self.so_far("failures")
        task = self.begin()
        while (self.so_far("reports"), self.so_far("failures")) == before:
            await asyncio.sleep_ms(5)
        if self.so_far("reports") == before[0]:
            self.failed(self.so_far("last_error"))
        await end(task)

    async def for_a_moment(self):
        task = self.begin()
        await asyncio.sleep_ms(os.urandom(1)[0] // 4)
        await end(task)

    def begin(self):
        self.clock.time += DAY_S
        return asyncio.create_task(self.agent.task())


async def end(task):
    task.cancel()
    try:  # noqa: SIM105
        await task
    except asyncio.CancelledError:
        pass


log.write = lambda level, text: None
soak = Soak(*json.loads(sys.stdin.readline()))
while True:
    line = sys.stdin.readline()
    if not line:
        break
    print(json.dumps(soak.do(*json.loads(line))))
