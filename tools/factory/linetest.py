"""A maker's own check of a board, which runs on it before anything of the product does.

The board gets the whole product, with boot.py and main.py under other names, so that nothing can enrol. Then
the check runs at the raw REPL, which frames what it prints: no other program on the board can say its PASS.
A board that passes gets the two files' names back, and starts. One that does not, or loses its power before,
stays silent until it is flashed again.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import serial

from tools.common.printable import printable
from tools.factory.enrolment import reopen
from tools.factory.ports import Lost
from tools.factory.raw_repl import END, RawRepl

PASS, FAIL = "PASS", "FAIL"

# The file -> the name that it has until the check has passed.
HELD = {path: f"{path}.held" for path in ("/boot.py", "/main.py")}
LET_GO = f"import os\nfor path, held in {HELD}.items():\n    os.rename(held, path)\n"

PROMPT = b">>> "
# How long MicroPython may take to its prompt, when it starts for the first time.
START_S = 30
# ESP-IDF's own lines, which the radio prints between those of a program.
CHIP_LOG = re.compile(r"[EWIDV] \(\d+\) ")
LONGEST_OUTPUT, LONGEST_VERDICT = 65536, 200


@dataclass(frozen=True)
class Check:
    """A MicroPython program whose last line is PASS or FAIL, each with or without more; and its seconds."""

    program: bytes
    seconds: int


def wait_for_prompt(line: serial.Serial, stopped: Callable[[], None]) -> None:
    """Waits until a board that just started is at its prompt. Raises ValueError.

    stopped: called again and again; what it raises ends the waiting.
    """
    until, heard = time.monotonic() + START_S, b""
    while time.monotonic() < until:
        stopped()
        try:
            line.write(b"\r")  # it may have said its prompt while a USB port of its own was away
            heard = heard[-LONGEST_OUTPUT:] + line.read(line.in_waiting or 1)
        except OSError:
            reopen(line)
        if PROMPT in heard:
            return
    lines = _lines(heard)
    last = f"The last it said: {lines[-1]}" if lines else "It said nothing."
    raise ValueError(f"it is written, and MicroPython did not start within {START_S} s. {last}")


def verdict(board: RawRepl, check: Check, told: Callable[[str], None], stopped: Callable[[], None]) -> str:
    """Runs a check on a board. Returns PASS or FAIL with all that its last line says, or with why it failed.

    It failed when it says so, raises, ends without a verdict, does not end in time, or loses the board.
    told: gets what it prints. stopped: called again and again; what it raises ends the check.
    """
    until, heard, lines = time.monotonic() + check.seconds, b"", []
    try:
        with contextlib.closing(board.output(check.program)) as pieces:
            for piece in pieces:
                stopped()
                heard = (heard + piece)[-LONGEST_OUTPUT:]
                lines = _lines(heard.partition(END)[0])
                if lines:
                    told(lines[-1])
                if time.monotonic() >= until:
                    return _failed(f"it did not end within {check.seconds} s", lines)
    except Lost:
        return _failed("the board stopped answering while it ran", lines)
    if raised := _lines(heard.partition(END)[2].rstrip(END)):
        return f"{FAIL} it raised {raised[-1]}"[:LONGEST_VERDICT]
    if lines and lines[-1].split()[0] in (PASS, FAIL):
        return lines[-1][:LONGEST_VERDICT]
    return _failed(f"its last line is neither {PASS} nor {FAIL}", lines)


def passed(verdict: str) -> bool:
    return verdict.split()[0] == PASS


def start(board: RawRepl) -> None:
    """Starts the product of a board that has passed. Raises ValueError."""
    try:
        board.run(LET_GO)
        board.reset()
    except Lost:
        raise ValueError(
            "it passed, and stopped answering before the product could start: flash it again."
        ) from None


def _failed(why: str, lines: list[str]) -> str:
    last = f"the last it said: {lines[-1]}" if lines else "it said nothing"
    return f"{FAIL} {why}; {last}"[:LONGEST_VERDICT]


def _lines(said: bytes) -> list[str]:
    """The lines of a program's own."""
    lines = (printable(line).strip() for line in said.decode(errors="replace").splitlines())
    return [line for line in lines if line and not CHIP_LOG.match(line)]
