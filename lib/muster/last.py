"""What happened last: the cause of the last reset, crashes since the last heartbeat, the last exception.

Never raises for what flash holds or fails; without a board it does nothing. On flash, in 90 bytes:

    n   crashes since the last accepted heartbeat
    e   type and place of the exception that ended the program last
    m   a reset of our own, which the port does not tell from a panic: 1 when it may come, 2 after it
"""

import io
import sys

from .store import FileStore

PATH = "/state/last"


def start(trial=False):
    """To be called once after a reset. Returns the number of crashes since the last accepted heartbeat.

    A crash is a panic or a watchdog that bit. One on trial does not count: the build before is not to blame.
    """
    try:
        cause, record = _now()
        n = record["n"] + 0  # a number, whoever wrote it
        if cause != 5:  # after a soft reset, whoever is at the prompt may still reset the board
            crash = cause in (2, 3)
            own = crash and record["m"] == 1
            n += crash and not own and not trial
            _change(m=2 * own, n=n)
        return n
    except Exception:
        return 0


def ended(e):
    """Keeps what ended the program: the exception's type and place, never its words."""
    try:
        text = io.StringIO()
        sys.print_exception(e, text)
        for line in text.getvalue().split("\n")[1:]:
            if line[:6] != "  File":
                break  # the exception's words may look like anything
            _, place, at = line.split('"')
        if place.endswith(".py"):  # a .mpy has no lines
            place += ":" + at.split(",")[1][6:]
        _change(e=("%s %s" % (type(e).__name__, place))[:60])
    except Exception:
        pass


def heard():
    """The platform has accepted a heartbeat."""
    _change(n=0)


def mark():
    """The reset that follows is no crash."""
    _change(m=1)


def read():
    """{"cause": "watchdog", "n": 2, "e": "OSError main.py:12"}, "e" if there was one; {} without a board.

    cause   power, crash, watchdog, sleep, soft, reset (one of our own) or unknown
    """
    try:
        cause, record = _now()
        own = record.pop("m") and cause == 2
        words = "unknown power crash watchdog sleep soft reset".split()  # noqa: SIM905 - fewer bytes
        record["cause"] = words[6 if own else cause]
        return record
    except Exception:
        return {}


def _now():
    from machine import reset_cause

    return reset_cause(), FileStore(PATH).load() or {"m": 0, "n": 0}


def _change(**new):
    try:
        _, record = _now()
        before = str(record)
        record.update(new)
        if str(record) != before:
            FileStore(PATH).save(record)
    except Exception:
        pass
