"""memory_report.py's first start and report, and then a release that is fetched, twice. Prints the heap held
after the report and after each fetch.

What a program names stays in the heap, so that this is one of its own.
"""

import gc
import json
import os

from memory_report import agent

for name in os.listdir("/update"):
    os.remove("/update/" + name)


def held():
    gc.collect()
    gc.collect()  # what a finaliser let go of
    return gc.mem_alloc()


def look():
    """Looks for a release, and returns the heap held once all of it is fetched."""
    busy.extend([False, True])  # then it is no moment to begin with it
    agent._look = 0  # now
    agent.step()
    if busy:
        raise SystemExit("no release was taken")
    return held()


busy = []
agent.ready = lambda: not busy.pop(0)
print(json.dumps([held(), look(), look()]))
