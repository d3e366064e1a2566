"""The modules `network` and `machine` of an ESP32, as far as the library uses them."""

import sys

from muster import board, log, wifi

MAC = b"\x50\x5a\x65\x51\x82\x13"
HOME = {"ssid": "home", "key": "correct horse"}
WORK = {"ssid": "work", "key": "battery staple"}


class WLAN:
    """The ESP32's station as far as it matters: connect() raises while connecting, and retries for ever."""

    def __init__(self, networks=(), mac=MAC, address="192.168.1.7", takes=3):
        self.networks = networks
        self.mac = mac
        self.address = address
        self.takes = takes
        self.log = []
        self.trying = None
        self.joined = None
        self.lingers = 0
        self.waited = 0
        self.is_active = False

    def active(self, on):
        self.log.append("active")
        self.is_active = on

    PM_NONE, PM_PERFORMANCE, PM_POWERSAVE = 0, 1, 2

    def config(self, name=None, **settings):
        for setting in settings:
            assert self.is_active and self.trying is None  # an ESP32 takes txpower only then
            self.log.append("%s %s" % (setting, settings[setting]))
        return self.mac if name == "mac" else self.joined

    def connect(self, ssid, key):
        if not self.is_active or self.trying:
            raise OSError("Wifi Internal State Error")
        self.log.append("connect " + ssid)
        self.trying = {"ssid": ssid, "key": key}
        self.waited = 0

    def disconnect(self):
        if not self.is_active:
            raise OSError("Wifi Not Started")
        self.log.append("disconnect")
        if self.joined:
            self.lingers = 3
        self.trying = None

    def isconnected(self):
        if self.lingers:
            # The driver's own task has not seen the disconnect() yet.
            self.lingers -= 1
            if not self.lingers:
                self.joined = None
        elif self.trying:
            self.waited += 1
            if self.trying in self.networks and self.waited >= self.takes:
                self.joined = self.trying["ssid"]
                self.trying = None
        return self.joined is not None

    def ifconfig(self):
        return (self.address if self.joined else "0.0.0.0", "255.255.255.0", "192.168.1.1", "192.168.1.1")


class Network:
    STA_IF = 0

    def __init__(self, wlan):
        self.wlan = wlan
        self.name = None

    def WLAN(self, interface):
        assert interface == self.STA_IF
        return self.wlan

    def hostname(self, name):
        assert len(name) <= 32
        self.wlan.log.append("hostname")
        self.name = name


class Watchdog:
    def __init__(self, timeout):
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        Watchdog.log.append(timeout)

    def feed(self):
        Watchdog.log.append("fed")


class Machine:
    WDT = Watchdog

    def __init__(self, unique_id=MAC):
        self.id = unique_id

    def unique_id(self):
        return self.id


lines = []
now = 0


def chip(wlan=None, machine=None):
    sys.modules["network"] = Network(wlan or WLAN())
    sys.modules["machine"] = machine or Machine()
    Watchdog.log = []
    log.write = lambda level, text: lines.append(text)
    return wlan


def no_board():
    for name in ("network", "machine"):
        sys.modules.pop(name, None)
        if sys.implementation.name == "cpython":
            sys.modules[name] = None  # not to be found, whatever is on the path


REPLACED = (
    (log, "write"),
    (board, "lan"),
    (board, "_wdt"),
    (wifi, "ticks_ms"),
    (wifi, "ticks_diff"),
)
ORIGINALS = [(module, name, getattr(module, name)) for module, name in REPLACED]


def teardown_function(_):
    """After each test of a file that has it, on both machines: they share one process."""
    for module, name, original in ORIGINALS:
        setattr(module, name, original)
    sys.modules.pop("network", None)
    sys.modules.pop("machine", None)
    del lines[:]


def run(generator, limit=10000):
    """Drives join() with a clock of 50 ms a turn; returns what it returns and the milliseconds it took."""
    global now
    now = 0
    wifi.ticks_ms = lambda: now
    wifi.ticks_diff = lambda end, start: end - start
    for _ in range(limit):
        try:
            assert next(generator) is None
        except StopIteration as e:
            return e.value, now
        now += 50
    raise AssertionError("join has no end")


# What the ESP32's driver raises: ESP-IDF's own errors, an SSID that is no UTF-8, memory.
FAULTS = (
    OSError("Wifi Internal Error"),
    RuntimeError("Wifi Unknown Error 0x3014"),
    UnicodeError(),
    ValueError("unknown config param"),
    TypeError("can't convert"),
    MemoryError("memory allocation failed"),
)


def broken(fault, method=None, until=None):
    """A driver's method that fails; until a time, if there is one."""

    def either(*args, **kw):
        if until is None or now < until:
            raise fault
        return method(*args)

    return either
