"""The log of a device that was just flashed, read until it has enrolled."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable

import serial

from tools.factory.remedies import remedy

# Whole lines of the device's log: what a cloud says stands further inside of one.
ENROLLED = re.compile(r"muster: (?:enrolled as|reported;|the next report is due in) ")
REFUSED = re.compile(r"muster: (?:warning: put this right|this board is not set up): ")
LONGEST = 4096
REOPEN_S = 5


def wait_for_enrolment(
    line: serial.Serial, seconds: int, told: Callable[[str], None], check: Callable[[], None]
) -> None:
    """Reads until the device says that it is enrolled.

    told: gets each line of the agent's. check: called again and again; what it raises ends the waiting.
    Raises ValueError when it says what only a person can put right, or nothing in time.
    """
    until = time.monotonic() + seconds
    heard, last = b"", ""
    while time.monotonic() < until:
        check()
        try:
            # As far as it came in time; what follows belongs to the same line.
            heard = heard[:LONGEST] + line.readline()
        except (serial.SerialException, OSError):
            reopen(line)
            heard = b"?"  # it may go on in the midst of a line
            continue
        if not heard.endswith(b"\n"):
            continue
        said, heard = heard.decode(errors="replace").rstrip(), b""
        if said.startswith("muster: "):
            last = said
            told(said)
        if ENROLLED.match(said):
            return
        if REFUSED.match(said):
            cure = remedy(said)
            todo = f". What to do: {cure}." if cure else ""
            raise ValueError(f"it is written, and cannot enrol or report. It said: {said}{todo}")
    what = f"The last it said: {last}" if last else "It said nothing."
    raise ValueError(f"it is written, and did not enrol within {seconds} s. {what}")


def reopen(line: serial.Serial) -> None:
    """A port that the chip's own USB makes is gone for a moment in a reset."""
    line.close()
    for _ in range(REOPEN_S * 10):
        time.sleep(0.1)
        with contextlib.suppress(serial.SerialException, OSError):
            line.open()
            return
    raise serial.SerialException("its port has not come back")
