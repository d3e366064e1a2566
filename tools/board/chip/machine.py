"""The parts of the ESP32's machine module that a reporting device uses.

Source: the library reference, and ports/esp32/{modmachine,machine_rtc,machine_timer,machine_wdt}.c of
MicroPython. I2S and UART are in files of their own.
"""

import time

import _board

try:
    from micropython import schedule
except ImportError:  # CPython

    def schedule(function, arg):
        function(arg)


PWRON_RESET = 1
HARD_RESET = 2
WDT_RESET = 3
DEEPSLEEP_RESET = 4
SOFT_RESET = 5

_FREQUENCIES = (20_000_000, 40_000_000, 80_000_000, 160_000_000, 240_000_000)
_RTC_MEMORY = 2048
# The watchdog's supervisor looks at it some ten times a second; more writes than that are lost on it.
_FEED_MS = 50

_freq = 160_000_000
_fed_ms = None
_timeout_ms = None


def __getattr__(name):
    if name in ("I2S", "UART"):
        return _board.load("_" + name.lower())[name]
    raise AttributeError(name)


def unique_id():
    """The base MAC address, which is the station's too."""
    return bytes.fromhex(_board.setting("mac"))


def reset_cause():
    return int(_board.read("cause") or PWRON_RESET)


def reset():
    _board.die("reset")


def soft_reset():
    raise SystemExit


def freq(hz=None):
    global _freq
    if hz is None:
        return _freq
    if hz not in _FREQUENCIES:
        raise ValueError("frequency must be 20MHz, 40MHz, 80Mhz, 160MHz or 240MHz")
    _freq = hz


def idle():
    pass


def lightsleep(time_ms=0):
    _board.sleep_ms(time_ms)


def deepsleep(time_ms=0):
    """Off until time_ms have passed (0: until the reset button), then a boot with DEEPSLEEP_RESET."""
    _board.die("deepsleep %d" % time_ms)


class Pin:
    """A pin. What is put on one from outside, the board's folder says; without that its pull decides."""

    IN = 1
    OUT = 3
    PULL_DOWN = 1
    PULL_UP = 2

    def __init__(self, id, mode=None, pull=None, value=0):
        self._name = "pin%d" % id
        self._pull = pull
        self._driven = value if mode == self.OUT else None

    def value(self, x=None):
        if x is not None:
            self._driven = int(bool(x))
        elif self._driven is not None:
            return self._driven
        else:
            return int(_board.read(self._name) or self._pull == self.PULL_UP)

    __call__ = value


class RTC:
    """The clock that mbedTLS sees too; it runs on through every reset, and forgets when the power goes."""

    def datetime(self, datetimetuple=None):
        """(year, month, day, weekday, hours, minutes, seconds, microseconds), UTC; weekday 0 is Monday."""
        if datetimetuple is None:
            now = _board.now_ns()
            t = time.gmtime(now // 1_000_000_000)
            return (t[0], t[1], t[2], t[6], t[3], t[4], t[5], now // 1000 % 1_000_000)
        year, month, day, _, hour, minute, second, us = datetimetuple
        seconds = _board.unix_seconds(year, month, day, hour, minute, second)
        _board.set_now_ns(seconds * 1_000_000_000 + us * 1000)

    init = datetime

    def memory(self, data=None):
        """At most 2,048 bytes that survive every reset and deep sleep, not a power cut."""
        if data is None:
            return _board.read("rtc") or b""
        data = data.encode() if isinstance(data, str) else bytes(data)
        if len(data) > _RTC_MEMORY:
            raise ValueError("buffer too long")
        _board.write("rtc", data)


class WDT:
    """The task watchdog: it cannot be stopped, survives a soft reset, and a second WDT() changes its time."""

    def __init__(self, id=0, timeout=5000):
        global _timeout_ms
        if id != 0:
            raise ValueError
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        _timeout_ms = timeout
        self._feed(_board.ticks_ms())

    def feed(self):
        _board.step_ms(0)
        now = _board.ticks_ms()
        if now - _fed_ms >= _FEED_MS:
            self._feed(now)

    def _feed(self, now):
        global _fed_ms
        _fed_ms = now
        _board.write("wdt", ("%d %d" % (_timeout_ms, now)).encode())


class Timer:
    """A hardware timer, 0 to 3. Two objects with the same id are the same timer. A soft reset ends it.

    The callback gets the Timer, and runs between two bytecodes. Unlike on a chip, it waits for the program to
    sleep, poll, ask for the ticks or feed the watchdog (under CPython: to feed it, or sleep lightly). While
    the queue of callbacks is full, one is lost.
    """

    ONE_SHOT = 0
    PERIODIC = 1

    def __init__(self, id, **settings):
        if not 0 <= id < len(_alarms):
            raise ValueError("invalid Timer number")
        self._id = id
        if settings:
            self.init(**settings)

    def init(self, *, mode=PERIODIC, period=0xFFFFFFFF, freq=None, callback=None, hard=False):
        """period: milliseconds, unless there is a freq, in hertz."""
        if hard:
            raise ValueError("hard Timers are not implemented")
        if freq is not None:
            period = int(1000 / freq)
        now = _board.ticks_ms()
        _alarms[self._id] = _Alarm(self, now, max(1, period), mode, callback)
        _board.timers = _ring

    def deinit(self):
        _alarms[self._id] = None

    def value(self):
        """The milliseconds since it last began to count."""
        alarm = _alarms[self._id]
        if alarm is None:
            raise ValueError("timer not set")
        return _board.ticks_ms() - alarm.began


class _Alarm:
    def __init__(self, timer, began, period, repeats, callback):
        self.timer, self.began, self.period = timer, began, period
        self.repeats, self.callback = repeats, callback
        self.over = False


_alarms = [None] * 4


def _ring():
    now = _board.ticks_ms()
    for alarm in _alarms:
        if alarm is None or alarm.over or now - alarm.began < alarm.period:
            continue
        alarm.began += alarm.period
        alarm.over = not alarm.repeats
        if alarm.callback is not None:
            try:
                schedule(alarm.callback, alarm.timer)
            except RuntimeError:
                pass  # the queue is full
