"""A board in RAM, and a platform for it: all that an agent is given."""

import json

from muster.agent import Agent
from recorded import Answer

NOW = 1795305600
HOUR = 3600
CONFIG = {
    "productId": "p1",
    "productKey": "k3y",
    "deviceNo": "n1",
    "firmwareVersion": "1.0",
    "cmei": "111234560000018",
}
SECRET = {"deviceId": "d1", "deviceNo": "n1", "productId": "p1", "deviceSecret": "s3cret"}


class Clock:
    def __init__(self, now=NOW, trusted=True):
        self.time = now
        self.is_trusted = trusted
        self.syncs = 0

    def now(self):
        return self.time

    def trusted(self):
        return self.is_trusted

    def sync(self):
        self.syncs += 1
        return False


class Hardware:
    joins = 0
    rejoins = 0
    online = True

    def mac(self):
        return "50-5A-65-51-82-13"

    def addresses(self):
        return ["10.0.0.7"]

    def net_type(self):
        return "wifi"

    def serial_number(self):
        return "505A65518213"

    def connected(self):
        return self.online

    def join(self, networks, hostname="", wait_ms=0, anew=False):
        self.joins += 1
        self.rejoins += anew
        yield None
        if self.online is not None:
            self.online = True
            return networks[0]["ssid"]

    def feed(self):
        pass


class Store:
    """A store in memory; full makes it fail as a full flash does."""

    def __init__(self):
        self.record = None
        self.full = False
        self.saves = 0
        self.others = {}

    def load(self):
        return json.loads(self.record) if self.record else None

    def save(self, record):
        if self.full:
            raise OSError(28)
        self.saves += 1
        self.record = json.dumps(record)

    def erase(self):
        self.record = None

    def beside(self, name):
        return self.others.setdefault(name, Store())


class Platform:
    """A session whose platform answers as it should, until fault is set to something else."""

    def __init__(self):
        self.calls = []
        self.bodies = []
        self.fault = None
        self.lies = {}
        self.secrets = 0
        self.tail = ""

    def request(self, method, url, data=None, headers=None):
        call = url[url.rindex("/") + 1 :]
        self.calls.append(call)
        if isinstance(self.fault, Exception):
            raise self.fault
        if self.fault is not None:
            return Answer(*self.fault)
        if method == "HEAD":
            return Answer("", 404)
        body = json.loads(data)
        self.bodies.append(body)
        if call == "info":
            self.secrets += 1
            asked = {name: body[name] for name in ("deviceNo", "productId")}
            data = dict(SECRET, deviceSecret="s3cret%d%s" % (self.secrets, self.tail), **asked)
        else:
            data = {"deviceId": "d1", "protocolTypeTime": "t"}
        data.update(self.lies)
        return Answer(json.dumps({"code": "200", "success": True, "data": data}), 200)


class World:
    """A board's parts; agent() is its power switch."""

    def __init__(self, **config):
        self.config = dict(CONFIG, **config)
        self.clock, self.hardware, self.store, self.platform = Clock(), Hardware(), Store(), Platform()

    def agent(self):
        return Agent(self.config, self.platform, self.store, self.clock, self.hardware)


def started(**config):
    """A world, and an agent in it."""
    world = World(**config)
    return world, world.agent()
