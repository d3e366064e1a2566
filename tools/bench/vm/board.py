"""In the MicroPython VM: what a heartbeat writes, on a LittleFS whose flash operations are counted.

Reads one line of JSON: image, a LittleFS image of the product; config; secret, what the platform would
answer; heartbeats, how many. Prints, as its last line, {way: [[programs, erases, bytes programmed] of each
heartbeat]} as JSON:

agent    what the shipped agent does
rewrite  the same record by json.dump() into one file, opened "w" each time
rename   the same into another file, renamed over it
"""

import json
import os
import sys

import vfs
from flash_in_memory import FlashInMemory
from muster import Agent
from muster.store import FileStore

PERIOD_S = 43200


class SetClock:
    seconds = 1795305600

    def now(self):
        return self.seconds

    def trusted(self):
        return True


class CannedAnswer:
    status_code = 200

    def __init__(self, data):
        self.headers = {}
        self.content = json.dumps({"code": 200, "message": "ok", "data": data}).encode()

    def json(self):
        return json.loads(self.content)

    def close(self):
        pass


class CannedPlatform:
    """A session that answers as China Mobile does."""

    def __init__(self, secret):
        self.secret = secret

    def request(self, method, url, data=None, headers=None):
        if "secret" in url:
            return CannedAnswer(self.secret)
        return CannedAnswer({"deviceId": self.secret["deviceId"], "protocolTypeTime": 0})


def rewrite(path, record):
    with open(path, "w") as f:
        json.dump(record, f)


def rename(path, record):
    rewrite(path + ".new", record)
    os.rename(path + ".new", path)


def counted(flash, what, *arguments):
    before = flash.counts[:]
    what(*arguments)
    return [flash.counts[i] - before[i] for i in range(3)]


def main():
    how = json.loads(sys.stdin.readline())
    with open(how["image"], "rb") as f:
        image = f.read()
    flashes = {}
    for way in ("agent", "rewrite", "rename"):
        flashes[way] = FlashInMemory(bytearray(image))
        vfs.mount(vfs.VfsLfs2(flashes[way]), "/" + way)
    clock = SetClock()
    agent = Agent(how["config"], CannedPlatform(how["secret"]), FileStore("/agent/state/credentials"), clock)
    credentials = agent.enrol()
    for way in ("rewrite", "rename"):
        # The same neighbours in the same directory.
        FileStore(f"/{way}/state/credentials").save({key: credentials[key] for key in credentials})

    told = {way: [] for way in flashes}
    for _ in range(how["heartbeats"]):
        clock.seconds += PERIOD_S
        told["agent"].append(counted(flashes["agent"], agent.report))
        record = FileStore("/agent/state/schedule").load().plain()
        for way, save in (("rewrite", rewrite), ("rename", rename)):
            path = f"/{way}/state/schedule.json"
            told[way].append(counted(flashes[way], save, path, record))
            with open(path) as f:
                if json.load(f) != record:
                    raise ValueError(way + " did not keep the record")
        if record["last"] != clock.seconds:
            raise ValueError("the agent did not keep the record")
    print(json.dumps(told))


main()
