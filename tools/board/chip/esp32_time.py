"""The ESP32's time module: seconds are integers, and they count from 2000.

Only the virtual board puts it in sys.modules["time"]; under this name it hides nobody's time.
"""
# ruff: noqa: F401

from time import gmtime as _gmtime
from time import sleep_us, ticks_add, ticks_cpu, ticks_diff, ticks_us

import _board
from _board import sleep_ms

_EPOCH = _board.SECONDS_1970_TO_2000


def sleep(seconds):
    sleep_ms(int(seconds * 1000))


def ticks_ms():
    _board.step_ms(0)
    return _board.ticks_ms()


def time():
    return _board.now_ns() // 1_000_000_000 - _EPOCH


def time_ns():
    return _board.now_ns() - _EPOCH * 1_000_000_000


def gmtime(secs=None):
    """(year, month, mday, hour, minute, second, weekday, yearday)"""
    return _gmtime((time() if secs is None else int(secs)) + _EPOCH)[:8]


localtime = gmtime


def mktime(t):
    return _board.unix_seconds(t[0], t[1], t[2], t[3], t[4], t[5]) - _EPOCH
