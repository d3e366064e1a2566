"""What happened last: the cause of the last reset, crashes since the last heartbeat, the last exception.

Never raises for what flash holds or fails; without a board it does nothing. On flash, in 100 bytes:

    n       crashes since the last accepted heartbeat
    e       type and place of the exception that ended the program last
    asked   a reset of our own, which the port does not tell from a panic: 1 when it may come, 2 after it

Names are those that a board knows already: a new one stays in its memory for ever.
"""

import io
import sys

from .store import FileStore

STATE = "/state/last"


def start():
    """To be called once after a reset. Returns the number of crashes since the last accepted heartbeat.

    A crash is a panic, or a watchdog that bit.
    """
    try:
        cause, record = _read()
        n = record["n"] + 0  # a number, whoever wrote it
        if cause != 5:  # after a soft reset, whoever is at the prompt may still reset the board
            crash = cause in (2, 3)
            own = crash and record["asked"] == 1
            n += crash and not own
            _note(asked=2 * own, n=n)
        return n
    except Exception:
        return 0


def ended(e):
    """Keeps what ended the program: the exception's type and place, never its words.

    The place is the innermost: file, line (1 in a .mpy, which has no lines) and function.
    """
    try:
        text = io.BytesIO()
        sys.print_exception(e, text)
        for line in text.getvalue().split(b"\n")[1:]:
            if line[:1] != b" ":
                break  # its words, which may look like anything
            place = line[6:].replace(b'"', b"").decode()
        _note(e=(type(e).__name__ + place)[:60])
    except Exception:
        pass


def success():
    """The platform has accepted a heartbeat."""
    _note(n=0)


def asked():
    """The reset that follows is no crash."""
    _note(asked=1)


def read():
    """What status() tells, {} without a board.

    last_reset      power, crash, watchdog, sleep, soft, reset (one of our own), or other
    crashes         since the last accepted heartbeat
    last_exception  "OSError main.py, line 12, in ask", or None
    """
    try:
        cause, record = _read()
        words = "other power crash watchdog sleep soft reset".split()  # noqa: SIM905 - fewer bytes
        if record["asked"] and cause == 2:
            cause = 6
        return {
            "last_reset": words[cause],
            "crashes": record["n"],
            "last_exception": record.get("e"),
        }
    except Exception:
        return {}


def _read():
    from machine import reset_cause

    return reset_cause(), FileStore(STATE).load() or {"asked": 0, "n": 0}


def _note(**new):
    try:
        record = _read()[1]
        before = str(record)
        record.update(new)
        if str(record) != before:
            FileStore(STATE).save(record)
    except Exception:
        pass
