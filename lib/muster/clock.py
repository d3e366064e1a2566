"""Unix time on a board that wakes up in the year 2000.

In order of trust: NTP, or the Date of a verified HTTPS answer; else a floor, a
time that has certainly passed. Nothing vouches for NTP: where a certificate's
dates do not fit its time, other servers are asked, and in the end none. mbedTLS
reads the system's clock when it checks a certificate, so what is learned here
goes into machine.RTC. Where there is no such clock to set (a laptop), the
system's time is taken as it is.

Seconds are integers everywhere: a 32-bit float counts Unix time in steps of 128.
"""

import sys
import time

from . import const
from .memory import unload

try:
    from time import ticks_add, ticks_diff, ticks_ms
except ImportError:  # CPython

    def ticks_ms():
        return time.monotonic_ns() // 1000000  # type: ignore[attr-defined]

    def ticks_add(ticks, ms):
        return ticks + ms

    def ticks_diff(end, start):
        return end - start


# The first two are in China and answer there when the pool does not.
SERVERS = ("ntp.aliyun.com", "ntp.ntsc.ac.cn", "cn.pool.ntp.org", "pool.ntp.org")

RELEASED = 1795305600  # 22 November 2026: no muster ran before; an image has its commit's date here
NTP_TIMEOUT_MS = 1500
TOLERANCE_S = 30  # a Date is a second coarse and as old as its answer is slow
_JUMP_MS = const(2000)  # less than this is rounding, not somebody setting the clock

_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
_EPOCH = 946684800 if time.gmtime(0)[0] == 2000 else 0

_floor = _built = RELEASED
_trusted = False
_misfits = 0  # how often in a row NTP's time did not fit a certificate, and no server was left to ask
_sets = 0  # how often this module has set the clock: what moved it otherwise was somebody else


def _rtc():
    try:
        from machine import RTC
    except ImportError:
        return None
    return RTC()


def now():
    """Unix time in seconds, an int."""
    return time.time_ns() // 1000000000 + _EPOCH


def trusted():
    """True once NTP or a verified answer has told the time; always on a laptop."""
    return _trusted or _rtc() is None


def set_floor(seconds):
    """Tells the clock a Unix time that has certainly passed: it never runs behind one.

    Returns True if that moved the clock. One that has been told the time knows more than a record
    from when it may have been wrong, or than a certificate for tomorrow.
    """
    global _floor
    if trusted():
        return False
    _floor = max(_floor, seconds)
    return set_from_guess(_floor)


def set_from_guess(seconds):
    """Tells the clock a Unix time that has probably passed, unless it has been told better. It is no floor.

    Returns True if that moved the clock.
    """
    return not trusted() and now() < seconds and _set(seconds)


def set_from_file(path):
    """Tells the clock that a file was once written: the image's build time, for one.

    NTP may know better: who wrote it may have had a wrong clock.
    """
    import os

    global _built
    try:
        _built = os.stat(path)[8] + _EPOCH
    except OSError:
        return False
    return set_from_guess(_built)


def set_from_date(date, latest=None):
    """Takes the time from the Date header of a verified answer, even if that is behind the floor.

    latest   Unix time after which that server's certificate has ended: a Date
             beyond it is the server's mistake, and would lock the device out
    Returns True if the clock is now known to be right.
    """
    global _trusted, _floor
    seconds = parse_date(date)
    if seconds is None or seconds < RELEASED or (latest and seconds > latest):
        return False
    if not trusted() or abs(seconds - now()) > TOLERANCE_S:
        _set(seconds)
    _floor = seconds
    _trusted = True
    return True


def is_verified():
    """True if a verified Date has told the time that the clock shows, and not NTP alone."""
    return now() - _floor <= 2 * TOLERANCE_S


def distrust(misfit=False):
    """Forgets that the clock was trusted, so that the next step asks again.

    misfit   a certificate's dates were what did not fit: the next NTP server is asked first,
             and after the last of them none, for all of them may be wrong
    """
    global _trusted, _misfits
    _trusted = False
    _misfits += misfit


def sync(servers=SERVERS):
    """Asks the NTP servers in turn, "host" or "host:port". Returns True if one set the clock."""
    from .net import wait

    return wait.run(synchronise(servers))


def synchronise(servers=SERVERS):
    """sync() as a generator for muster.net.wait."""
    global _trusted, _misfits
    if not servers:
        return False
    first = _misfits % (len(servers) + 1)
    if first == len(servers):
        # An attacker gains nothing: NTP can be forged down to the floor as it is.
        _misfits = 0
        _set(max(_floor, _built))
        return False
    from . import ntp

    try:
        # Before the floor it is wrong, whoever says so.
        seconds = yield from ntp.ask(servers[first:] + servers[:first], _floor, NTP_TIMEOUT_MS)
    finally:
        unload("muster.ntp")
    if seconds is None:
        return False
    _set(seconds)
    _trusted = True
    return True


class Watch:
    """Notices when somebody sets the clock, by what the ticks say has passed.

    clock   this module, or an object with now(), and with ticks_ms() if it is to be watched
    """

    def __init__(self, clock):
        self._clock = clock
        self._ticks = getattr(clock, "ticks_ms", None)
        self._seen = None  # (Unix time, ticks) of the last look
        self._sets = 0

    def jumped(self):
        """Returns by how many seconds the clock was set since the last call.

        Once this module has been told the time, it alone may set the clock: what somebody else did is undone.
        """
        if not self._ticks:
            return 0
        sets, self._sets = self._sets, _sets
        now, ticks = self._clock.now(), self._ticks()
        jump = 0
        if self._seen:
            seen, then = self._seen
            passed = ticks_diff(ticks, then)
            jump = now - seen - passed // 1000
            # A program may have called nothing while the ticks wrapped, as an ESP32's do every 12.4 days.
            if (1000 * jump + _JUMP_MS) % (1 << 30) <= 2 * _JUMP_MS:
                jump = 0
            elif sets == self._sets and self._clock is sys.modules[__name__] and trusted():
                # A certificate may seem to have expired by it.
                now -= jump
                jump = 0
                _set(now)
                self._sets = _sets
            # Anchored anew each time, since ticks wrap after days; the odd milliseconds stay.
            ticks = ticks_add(ticks, -(passed % 1000))
        self._seen = now, ticks
        return jump


def parse_date(text):
    """Unix seconds of an HTTP date, "Sun, 22 Nov 2026 04:41:21 GMT"; None for anything else."""
    try:
        _, day, month, year, clock, zone = text.split(" ")
        at = _MONTHS.index(month)
        h, m, s = (int(part) for part in clock.split(":"))
        if zone == "GMT" and at % 3 == 0 and len(month) == 3:
            return unix((int(year), at // 3 + 1, int(day), h, m, s))
    except (AttributeError, ValueError):
        pass
    return None


def unix(date):
    """Unix seconds of a UTC date: time.mktime knows local time here and another epoch there.

    date   year, month, day, hour, minute, second; what follows them is left out
    """
    year, month, day, hour, minute, second = date[:6]
    # Years are counted from March, so that the leap day comes last.
    y, m = (year, month - 3) if month > 2 else (year - 1, month + 9)
    days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * m + 2) // 5 + day - 719469
    return ((days * 24 + hour) * 60 + minute) * 60 + second


def _set(seconds):
    rtc = _rtc()
    if rtc is None:
        return False
    year, month, day, hour, minute, second, weekday = time.gmtime(seconds - _EPOCH)[:7]
    rtc.datetime((year, month, day, weekday, hour, minute, second, 0))
    global _sets
    _sets += 1
    return True
