"""Imports a module, makes one thing with it, and prints that, the times in us and the bytes of the import.

Reads one line of JSON: module; before, the modules that it is imported after; given, names for the two
expressions: ready, what is made once, and call, what is timed count times.
"""

import gc
import json
import sys
from time import ticks_diff, ticks_us

request = {"before": [], "given": {}, "ready": "None", "call": "None", "count": 0}
request.update(json.loads(sys.stdin.readline()))
# Any program of this kind has these already.
for name in ["binascii", "hashlib", "os"] + request["before"]:
    __import__(name)
gc.collect()
start = gc.mem_alloc()
__import__(request["module"])
gc.collect()
size = gc.mem_alloc() - start

names = {name: __import__(name) for name in request["before"]}
names.update(request["given"])
names["module"] = sys.modules[request["module"]]
names["ready"] = eval(request["ready"], names)
found = eval(request["call"], names)
times = []
for _ in range(request["count"]):
    gc.collect()
    begin = ticks_us()
    eval(request["call"], names)
    times.append(ticks_diff(ticks_us(), begin))
print(json.dumps({"found": found.hex() if isinstance(found, bytes) else found, "times": times, "size": size}))
