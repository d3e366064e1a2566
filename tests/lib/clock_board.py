"""A board whose real-time clock the test holds in its hands."""

import sys
import time

from muster import clock

# Milliseconds: an answer comes before, however busy the machine.
LONG = 10000
RELEASED = 1795305600  # 22 November 2026; a board's library has its commit's date instead
EPOCH = 946684800 if time.gmtime(0)[0] == 2000 else 0


def gmtime(seconds):
    """time.gmtime() of Unix seconds."""
    return time.gmtime(seconds - EPOCH)


class ClockBoard:
    """A board with a clock: while in `with`, muster.clock finds machine.RTC, and its time.

    now     Unix time that its clock shows
    epoch   what the port counts from: 0, or 2000 as an ESP32 does
    wait    for how many milliseconds it waits for a time server
    """

    def __init__(self, now, epoch=0, wait=LONG):
        self.now = now
        self.epoch = epoch
        self.wait = wait
        self.set = 0

    def time_ns(self):
        return (self.now - self.epoch) * 1000000000 + 999999999

    def monotonic_ns(self):
        return time.monotonic_ns()

    def gmtime(self, seconds):
        return gmtime(seconds + self.epoch)

    def datetime(self, parts):
        year, month, day, weekday, hour, minute, second, fraction = parts
        self.now = clock.unix((year, month, day, hour, minute, second))
        assert weekday == gmtime(self.now)[6] and fraction == 0
        self.set += 1

    def RTC(self):
        return self

    def __enter__(self):
        self._was = sys.modules.get("machine"), clock.time, clock._EPOCH, clock.NTP_TIMEOUT_MS
        clock.RELEASED = clock._built = RELEASED
        sys.modules["machine"] = clock.time = self
        clock._EPOCH, clock.NTP_TIMEOUT_MS = self.epoch, self.wait
        clock._floor, clock._trusted, clock._misfits = clock.RELEASED, False, 0
        return self

    def __exit__(self, *_):
        machine, clock.time, clock._EPOCH, clock.NTP_TIMEOUT_MS = self._was
        clock._floor, clock._trusted = clock.RELEASED, False
        del sys.modules["machine"]
        if machine:
            sys.modules["machine"] = machine
