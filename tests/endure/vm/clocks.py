"""The agent and a clock that is in our hands, in MicroPython and in CPython; its task comes as JSON on stdin.

The library is imported on top of a `time` like an ESP32's: its epoch is the task's, its ticks have 30 bits,
time.time() is a float of 32 bits, and only sleep() lets time pass. Prints what went wrong, a JSON list.
"""

import json
import os
import random
import struct
import sys

CONFIG = {
    "productId": "p",
    "productKey": "k",
    "deviceNo": "n",
    "firmwareVersion": "1",
    "cmei": "111234560000018",
    "ntp": [],
}
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
TICKS = 1 << 30
HOUR = 3600
DAY = 86400
PERIOD, JITTER = 12 * HOUR, 900
LATENESS = 3  # seconds that rounding may take
DELAY = 2 * HOUR + 10  # a boot in the second in which a report is due makes it one of a crowd that is overdue


class TimeInHand:
    """Stands for the module. now: true Unix milliseconds; ahead: what the clock is ahead of them."""

    def __init__(self, now, epoch):
        import time

        self.now = now * 1000
        self.ahead = 0
        self.epoch = epoch
        self.booted = self.now
        self._gmtime = time.gmtime

    def time_ns(self):
        return (self.now + self.ahead - self.epoch * 1000) * 1000000

    def time(self):
        return struct.unpack("<f", struct.pack("<f", self.time_ns() // 1000000000))[0]

    def gmtime(self, seconds):
        assert type(seconds) is int
        return self._gmtime(seconds + self.epoch)[:8]

    def sleep(self, seconds):
        self.now += int(seconds * 1000)

    def ticks_ms(self):
        return (self.now - self.booted) % TICKS

    def ticks_add(self, ticks, delta):
        return (ticks + delta) % TICKS

    def ticks_diff(self, end, start):
        return (end - start + TICKS // 2) % TICKS - TICKS // 2


class ChipMachine:
    """Stands for the module, and its RTC."""

    def RTC(self):
        return self

    def datetime(self, parts):
        year, month, day, weekday, hour, minute, second, fraction = parts
        seconds = clock.unix((year, month, day, hour, minute, second))
        assert weekday == (seconds // DAY + 3) % 7 and fraction == 0, parts
        TIME.ahead = seconds * 1000 - TIME.now


class SeededOs:
    """Stands for the module: what the library draws is the seed's."""

    def urandom(self, size):
        return bytes(random.getrandbits(8) for _ in range(size))

    def __getattr__(self, name):
        return getattr(os, name)


task = json.loads(sys.stdin.readline())
random.seed(task["seed"])
TIME = TimeInHand(task["start"], task["epoch"])
sys.modules["os"] = SeededOs()
sys.modules["time"] = TIME
sys.modules["machine"] = ChipMachine()

from muster import agent, clock, errors, flow, jwt, last, log, store  # noqa: E402, F401 - status() wants last


class AnswerAtOnce:
    status_code = 200
    not_after = None

    def __init__(self, data):
        self.data = data
        self.headers = {"date": http_date(TIME.now // 1000)}

    def json(self):
        return {"code": "200", "success": True, "data": self.data}

    def close(self):
        pass


class PlatformAtOnce(flow.Driver):
    """A platform that answers at once, verified and with its Date, or that nobody reaches."""

    verifies = True

    def __init__(self):
        self.reports = []
        self.secrets = 0
        self.up = True

    def leave(self, answer, good):
        pass

    def send(self, request):
        yield False
        TIME.sleep(1)
        if not self.up:
            raise errors.TransportError("nobody is there")
        if request.url.endswith("info"):
            self.secrets += 1
            return AnswerAtOnce({"deviceId": "d", "deviceNo": "n", "productId": "p", "deviceSecret": "s"})
        if request.method != "HEAD":
            self.reports.append(TIME.now // 1000)
        return AnswerAtOnce({"deviceId": "d", "protocolTypeTime": "t"})


class NoHardware:
    def connected(self):
        return True

    def feed(self):
        pass

    def addresses(self):
        return []

    def net_type(self):
        return ""

    def mac(self):
        return ""


def http_date(seconds):
    year, month, day, hour, minute, second, weekday = TIME.gmtime(seconds - TIME.epoch)[:7]
    date = f"{DAYS[weekday]}, {day:02d} {MONTHS[month - 1]} {year}"
    return f"{date} {hour:02d}:{minute:02d}:{second:02d} GMT"


class Life:
    def __init__(self, folder):
        self.store = store.FileStore(folder + "/credentials")
        self.session = PlatformAtOnce()
        self.wrong = []
        self.boot(cold=True)

    def boot(self, cold):
        TIME.booted = TIME.now
        if cold:
            TIME.ahead = 946684800000 - TIME.now
        clock._floor, clock._trusted = clock.RELEASED, False
        self.agent = agent.Agent(CONFIG, self.session, self.store, hardware=NoHardware())

    def live_until(self, seconds, most=DAY):
        """The agent's loop; no sleep of it is longer than most seconds."""
        while TIME.now < seconds * 1000:
            pause = self.agent.step()
            self.look_at_times(pause)
            TIME.sleep(max(1, min(pause, most, seconds - TIME.now // 1000)))

    def look_at_times(self, pause):
        """All are ints, and a clock that was told the time is right."""
        times = self.agent.status()
        times["pause"], times["now"] = pause, clock.now()
        for name in ("last_report", "next_due", "pause", "now"):
            if times[name] is not None and type(times[name]) is not int:
                self.wrong.append(f"{name} is {times[name]!r}")
        ahead = times["now"] - TIME.now // 1000
        if clock.trusted() and abs(ahead) > LATENESS:
            self.wrong.append(f"at {TIME.now // 1000} the clock is {ahead} s ahead")

    def verdict(self, expected, delay=0):
        """Each interval but the first is the schedule's, or longer by a boot's delay, and none is missing."""
        reports = self.session.reports
        for i in range(2, len(reports)):
            before, after = reports[i - 1], reports[i]
            if not -JITTER - LATENESS <= after - before - PERIOD <= JITTER + LATENESS + delay:
                self.wrong.append(f"{after - before} s between the reports at {before} and {after}")
        if not expected - 2 <= len(reports) <= expected + 2:
            self.wrong.append(f"{len(reports)} reports in place of some {expected}")
        if self.session.secrets != 1:
            self.wrong.append(f"{self.session.secrets} secrets")
        return self.wrong


def days(device, start):
    """Forty days without a reboot: the ticks wrap three times."""
    device.live_until(start + 40 * DAY)
    return device.verdict(80)


def reboots(device, start):
    """Thirty days with a boot every few hours, the power gone or not: T_next on flash is what counts."""
    at = start
    while at < start + 30 * DAY:
        at += 5 * HOUR + 1001
        device.live_until(at)
        device.boot(cold=at % 2 == 0)
    return device.verdict(60, delay=DELAY)


def jumps(device, start):
    """The clock is set back and forth, by seconds to ten years, twice a day."""
    for i in range(task["jumps"]):
        device.live_until(start + (i + 1) * 12 * HOUR - 17, most=task["nap"])
        TIME.ahead += (-1 if i % 2 else 1) * 1000 * (3, 70, 4000, 90000, 3000000, 300000000)[i // 2 % 6]
    return device.verdict(task["jumps"])


def silence(device, start):
    """Nobody is reached for five days."""
    device.live_until(start + DAY)
    device.session.up = False
    device.live_until(start + 6 * DAY)
    device.session.up = True
    device.live_until(start + 8 * DAY)
    first = min(at for at in device.session.reports if at >= start + 6 * DAY)
    if first > start + 6 * DAY + HOUR + 60:
        device.wrong.append("nothing is reported in the first hour after five days of silence")
    return device.wrong


def edge(device, start):
    """From a day before a special second to a day after it, with a boot on either side."""
    special = start + DAY
    device.live_until(special - 40)
    device.boot(cold=False)
    device.live_until(special - 3)
    for _ in range(6):
        before = clock.now()
        device.live_until(TIME.now // 1000 + 1)
        if not before < clock.now() <= before + 2:
            device.wrong.append(f"now() is {clock.now()}, a second after {before}")
    device.boot(cold=True)
    device.live_until(special + DAY)
    return device.verdict(4, delay=DELAY) + records(device, special) + tokens(special) + settings(special)


def records(device, special):
    """A schedule's times on either side of it are kept as they are."""
    record = {"last": special - 1, "next": special + 1, "reports": 1}
    device.store.beside("edge").save(record)
    loaded = device.store.beside("edge").load()
    return [] if loaded == record else [f"the record comes back as {loaded}"]


def tokens(special):
    """A JWT that expires at it is good before, and no more from then on."""
    token = jwt.encode({"exp": special, "iat": special - 60}, "a shared secret")
    good = []
    for now in (special - 1, special, special + 1):
        try:
            good.append(jwt.decode(token, "a shared secret", now=now)["exp"] == special)
        except jwt.JWTError:
            good.append(False)
    return [] if good == [True, False, False] else [f"a JWT with exp {special} is taken as {good} around it"]


def settings(special):
    """The clock can be set to it, and reads it in a Date."""
    wrong = []
    if clock.parse_date(http_date(special)) != special:
        wrong.append(f"the Date of {special} is not read")
    clock.distrust()
    clock.set_floor(special + 9 * DAY)
    if clock.now() != special + 9 * DAY:
        wrong.append(f"set to {special + 9 * DAY}, the clock shows {clock.now()}")
    return wrong


log.level = log.WARNING + 1
SCENARIOS = {"days": days, "reboots": reboots, "jumps": jumps, "silence": silence, "edge": edge}
print(json.dumps(SCENARIOS[task["scenario"]](Life(task["folder"]), task["start"])))
