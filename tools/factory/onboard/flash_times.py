# How long flash takes for a record of muster's, and for a block of a file, in microseconds. It removes both.
import json
import os
from time import ticks_diff, ticks_us

from muster.store import FileStore

FOLDER = "/muster-bench"
ROUNDS = 8


def took(function, *arguments):
    began = ticks_us()
    function(*arguments)
    return ticks_diff(ticks_us(), began)


def write():
    with open(FOLDER + "/block", "wb") as f:
        f.write(bytes(4096))


def clear():
    for name in os.listdir(FOLDER):
        os.remove(FOLDER + "/" + name)
    os.rmdir(FOLDER)


if FOLDER[1:] in os.listdir("/"):
    clear()
os.mkdir(FOLDER)
try:
    store = FileStore(FOLDER + "/schedule")
    store.save({"next": 0})
    records = [
        took(store.save, {"first": 0, "last": 1795305600, "next": 1795348800 + n}) for n in range(ROUNDS)
    ]
    blocks = [took(write) for _ in range(ROUNDS)]
finally:
    clear()
print(json.dumps({"record": sorted(records), "block": sorted(blocks)}))
