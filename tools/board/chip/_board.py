"""What the chip's modules know of the world outside them.

The boot loader names a directory of small files, which a supervisor reads and writes too. A host test that
only puts this folder on sys.path gets the same state in memory, and no board that could be reset.

Runs on MicroPython and on CPython, like everything in this folder.
"""

import json
import os
import time

SECONDS_1970_TO_2000 = 946684800

DEFAULTS = {
    "mac": "240ac4c0ffee",
    "ip": ["192.168.4.7", "255.255.255.0", "192.168.4.1", "192.168.4.1"],
    "air": [{"ssid": "muster-lab", "key": "password", "join_s": 0.05}],
    # Whether the Ethernet cable is plugged in.
    "cable": True,
    # On UART 1, as _modem lists its keys; None without one.
    "modem": None,
    # How many phones are in the access point's network.
    "stations": 0,
    # Whether the host's clock already runs on the board's time (libfaketime reads the file "time").
    "faked": False,
}

directory = None
opener = open
rename = os.rename
remove = os.remove
# An open file: eight bytes, the milliseconds that a supervisor has let pass at once. Read without allocating.
ahead = None
# A function that rings the timers that are due, once there are any.
timers = None
_STEP_MS = 5
_memory = {}
_loaded = {}
_passed = bytearray(8)


def read(name):
    """The bytes that are kept under name, or None."""
    if directory is None:
        return _memory.get(name)
    try:
        f = opener(directory + "/" + name, "rb")
    except OSError:
        return None
    try:
        return f.read()
    finally:
        f.close()


def write(name, data):
    """Keeps data (bytes) under name: a reader sees all of the old or all of the new."""
    if directory is None:
        _memory[name] = bytes(data)
        return
    path = directory + "/" + name
    f = opener(path + "~", "wb")
    try:
        f.write(data)
    finally:
        f.close()
    rename(path + "~", path)


def append(name, data):
    """Adds data (bytes) to what is kept under name."""
    if directory is None:
        _memory[name] = _memory.get(name, b"") + bytes(data)
        return
    f = opener(directory + "/" + name, "ab")
    try:
        f.write(data)
    finally:
        f.close()


def forget(name):
    """Keeps nothing under name."""
    if directory is None:
        _memory.pop(name, None)
        return
    try:
        remove(directory + "/" + name)
    except OSError:
        pass


def load(name):
    """The names of a file of this folder that few programs need: it takes the memory of those alone.

    It is no import, for MicroPython sees the files of the host no more.
    """
    if name not in _loaded:
        path = __file__.rpartition("/")[0] + "/" + name + ".py"
        f = opener(path, "r")
        try:
            source = f.read()
        finally:
            f.close()
        names = {"__name__": name}
        exec(compile(source, path, "exec"), names)
        _loaded[name] = names
    return _loaded[name]


def setting(name):
    stored = read(name)
    return DEFAULTS[name] if stored is None else json.loads(stored)


def flash_operation():
    """Called before anything but the file system programs or erases flash; the boot loader counts them."""


def die(why):
    """Ends the machine at this instruction, as silicon does: nothing is unwound or flushed."""
    if directory is None:
        raise SystemExit(why)
    write("exit", why.encode())
    os.system("kill -9 $PPID")


def step_ms(ms):
    """Runs the timers. Returns how much of a wait of ms may pass before the next call; ms is -1 for ever."""
    if timers is None:
        return ms
    timers()
    return min(ms, _STEP_MS) if ms >= 0 else _STEP_MS


def ticks_ms():
    """A clock that nobody sets; milliseconds."""
    if ahead is None:
        return _host_ms()
    ahead.seek(0)
    ahead.readinto(_passed)
    return _host_ms() + int.from_bytes(_passed, "little")


def _host_ms():
    try:
        return time.ticks_ms()
    except AttributeError:
        return time.monotonic_ns() // 1_000_000


def sleep_ms(ms):
    end = _host_ms() + ms
    while ms > 0:
        _host_sleep_ms(step_ms(ms))
        ms = end - _host_ms()
    step_ms(0)


def _host_sleep_ms(ms):
    try:
        time.sleep_ms(ms)
    except AttributeError:
        time.sleep(ms / 1000)


def offset_ns():
    """How far the board's clock is from the host's."""
    text = (read("time") or b"+0.0").decode()
    whole, fraction = text[1:].split(".")
    ns = int(whole) * 1_000_000_000 + int((fraction + "000000000")[:9])
    return -ns if text[0] == "-" else ns


def now_ns():
    """The board's Unix time in nanoseconds."""
    return time.time_ns() + (0 if setting("faked") else offset_ns())


def set_now_ns(ns):
    offset = offset_ns() + ns - now_ns()
    ahead = abs(offset)
    sign = "-" if offset < 0 else "+"
    write("time", ("%s%d.%09d" % (sign, ahead // 1_000_000_000, ahead % 1_000_000_000)).encode())


def unix_seconds(year, month, day, hour, minute, second):
    """Unix time of a date in UTC. The host's mktime() would bring its time zone along."""
    if month < 3:
        year, month = year - 1, month + 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * month - 457) // 5 + day - 719469
    return ((days * 24 + hour) * 60 + minute) * 60 + second
