"""Unix time on a board that wakes up in the year 2000.

In order of trust: NTP, or the Date of a verified HTTPS answer; else a floor, a
time that has certainly passed. Nothing vouches for NTP: where a certificate's
dates do not fit its time, other servers are asked, and in the end none. mbedTLS
reads the system's clock when it checks a certificate, so what is learned here
goes into machine.RTC. Where there is no such clock to set (a laptop), the
system's time is taken as it is.

Seconds are integers everywhere: a 32-bit float counts Unix time in steps of 128.
"""

import time

try:
    from time import ticks_add, ticks_diff, ticks_ms
except ImportError:  # CPython

    def ticks_ms():
        return time.monotonic_ns() // 1000000  # type: ignore[attr-defined]

    def ticks_add(ticks, delta):
        return ticks + delta

    def ticks_diff(end, start):
        return end - start


# The first two are in China and answer there when the pool does not.
SERVERS = ("ntp.aliyun.com", "ntp.ntsc.ac.cn", "cn.pool.ntp.org", "pool.ntp.org")

RELEASED = 1795305600  # 22 November 2026: no muster ran before; an image has its commit's date here
NTP_TIMEOUT_MS = 1500
TOLERANCE_S = 30  # a Date is a second coarse and as old as its answer is slow

_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
_EPOCH = 946684800 if time.gmtime(0)[0] == 2000 else 0
_NTP_EPOCH = 2208988800  # from 1900 to 1970

_floor = _built = RELEASED
_trusted = False
_misfits = 0  # how often in a row NTP's time did not fit a certificate, and no server was left to ask
sets = 0  # how often this module has set the clock: what moved it otherwise was somebody else


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


def at_least(seconds):
    """Tells the clock a Unix time that has certainly passed: it never runs behind one.

    Returns True if that moved the clock. One that has been told the time knows more than a record
    from when it may have been wrong, or than a certificate for tomorrow.
    """
    global _floor
    if trusted():
        return False
    _floor = max(_floor, seconds)
    return guess(_floor)


def guess(seconds):
    """Tells the clock a Unix time that has probably passed, unless it has been told better. It is no floor.

    Returns True if that moved the clock.
    """
    return not trusted() and now() < seconds and _set(seconds)


def vouched():
    """True if a verified Date has told the time that the clock shows, and not NTP alone."""
    return now() - _floor <= 2 * TOLERANCE_S


def at_least_as_late_as(path):
    """Tells the clock that a file was once written: the image's build time, for one.

    NTP may know better: who wrote it may have had a wrong clock.
    """
    import os

    global _built
    try:
        _built = os.stat(path)[8] + _EPOCH
    except OSError:
        return False
    return guess(_built)


def refine(date, latest=None):
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


def move(seconds):
    """Sets the clock by so many seconds."""
    _set(now() + seconds)


def doubt(misfit=False):
    """Forgets that the clock was trusted, so that the next step asks again.

    misfit   a certificate's dates were what did not fit: the next NTP server is asked first,
             and after the last of them none, for all of them may be wrong
    """
    global _trusted, _misfits
    _trusted = False
    _misfits += misfit


def sync(servers=SERVERS):
    """Asks the NTP servers in turn, "host" or "host:port". Returns True if one set the clock."""
    from . import wait

    return wait.run(synchronise(servers))


def synchronise(servers=SERVERS):
    """sync() as a generator for the drivers of muster.wait."""
    global _trusted, _misfits
    first = _misfits % (len(servers) + 1)
    if servers and first == len(servers):
        # An attacker gains nothing: NTP can be forged down to the floor as it is.
        _misfits = 0
        _set(max(_floor, _built))
        return False
    for server in servers[first:] + servers[:first]:
        yield False
        try:
            seconds = yield from _ask(server)
        except (OSError, ValueError):
            continue
        # Before the floor it is wrong, whoever says so.
        if seconds is not None and seconds >= _floor:
            _set(seconds)
            _trusted = True
            return True
    return False


def parse_date(text):
    """Unix seconds of an HTTP date, "Sun, 22 Nov 2026 04:41:21 GMT"; None for anything else."""
    try:
        _, day, month, year, clock, zone = text.split(" ")
        month = _MONTHS.index(month) + 1
        h, m, s = (int(part) for part in clock.split(":"))
        if zone == "GMT":
            return unix(int(year), month, int(day), h, m, s)
    except (AttributeError, ValueError):
        pass
    return None


def unix(year, month, day, hour, minute, second):
    """Unix seconds of a UTC date: time.mktime knows local time here and another epoch there."""
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
    global sets
    sets += 1
    return True


def _ask(server):
    """Unix seconds by an SNTP server, "host" or "host:port", asked at each of its addresses; or None."""
    import socket

    host, port = server, 123
    if ":" in server and not server.endswith("]"):
        host, _, port = server.rpartition(":")
    addresses = socket.getaddrinfo(host.strip("[]"), int(port), 0, socket.SOCK_DGRAM)
    # What a port has no sockets for has no address in its list.
    addresses = [address for address in addresses if address[-1]]
    deadline = ticks_add(ticks_ms(), NTP_TIMEOUT_MS)
    while addresses:
        share = ticks_diff(deadline, ticks_ms()) // len(addresses)
        try:
            seconds = yield from _ask_at(addresses.pop(0), share)
        except OSError:
            continue
        if seconds is not None:
            return seconds
    return None


def _ask_at(address, ms):
    """One SNTP exchange (RFC 4330); its only guard against a forger is the nonce that must come back."""
    import os
    import select
    import socket
    import struct

    nonce = os.urandom(8)
    s = socket.socket(address[0], socket.SOCK_DGRAM)
    try:
        s.setblocking(False)
        s.connect(address[-1])
        s.send(b"\x23" + bytes(39) + nonce)
        poller = select.poll()
        poller.register(s, select.POLLIN)
        deadline = ticks_add(ticks_ms(), ms)
        while not poller.poll(0):
            if ticks_diff(deadline, ticks_ms()) <= 0:
                return None
            yield poller
        answer = s.recv(48)
    finally:
        s.close()
    if len(answer) < 48 or answer[24:32] != nonce:
        return None
    # Mode 4 is a server's; a leap indicator of 3 or a stratum of 0 or 16 says that it has no time itself.
    if answer[0] & 7 != 4 or answer[0] >> 6 == 3 or not 1 <= answer[1] <= 15:
        return None
    seconds = struct.unpack("!I", answer[40:44])[0]
    if not seconds:
        return None
    if seconds < 0x80000000:  # counted anew since 2036
        seconds += 1 << 32
    return seconds - _NTP_EPOCH
