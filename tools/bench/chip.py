"""What a chip that is plugged in can do: its figures are for others to read beside their own."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tools.cloud import Cloud, Device
from tools.common.printable import printable
from tools.common.progress import Tell
from tools.factory.guest import COMES_BACK_S, RAM, Guest
from tools.factory.library import with_lines
from tools.factory.ports import Lost
from tools.factory.raw_repl import Raised
from tools.factory.stopped import ONBOARD, stopped

from .figure import Figure
from .tokens import BITS, CLAIMS, MESSAGE, PUBLIC_EXPONENT, SECRET

PROGRAM = "figures"
SILENT_S = 300  # of a chip that signs, at most
STARTS_S = 60
STARTED = re.compile(rb"muster: (reported|the next report is due)")
DEVICE = Device("1234567890123", "pr0ductk3y", "SN", "AI-0001")
Result = TypeVar("Result")


def measure(port: str, host: str | None, tell: Tell) -> list[Figure]:
    """The figures of the board at this port.

    Raises Lost, and ValueError where it cannot reach this computer.
    """
    tell("the board's own start")
    start = starting(port)
    with Guest(port) as guest:
        chip = guest.ask("chip")
        library = guest.ask("library") or {"version": "none"}
        board = [
            _row("chip", printable(chip["chip"])),
            _row("MicroPython", printable(chip["micropython"])),
            _row("muster", printable(library["version"])),
            _row("free heap", f"{guest.free:,} bytes", "Python's, after boot.py"),
        ]
        tell("signatures")
        tokens = signatures(guest)
        with Cloud([DEVICE], host=guest.place(host)) as cloud:
            tell("an enrolment and a report, to the platform in a box")
            heap = memory(guest, cloud)
            tell("TLS sessions")
            sessions = tls(guest, cloud)
        tell("flash")
        return [*board, *tokens, *heap, *sessions, start, *flash(guest)]


def _row(what: str, found: str, note: str = "") -> Figure:
    return Figure(what, "", "", found, None, note)


def starting(port: str) -> Figure:
    """From a reset to the first heartbeat, or to the word that none is due."""
    what = "reset to the first heartbeat"
    try:
        with stopped(port, reset=False) as board:
            heard = board.start_and_hear(STARTED, STARTS_S)
    except Lost as e:
        time.sleep(COMES_BACK_S)
        return _row(what, f"not heard: {e}")
    if heard is None:
        return _row(what, f"none within {STARTS_S} s", "is the agent its program, and enrolled?")
    found, seconds = heard
    if found[1] == b"reported":
        return _row(what, f"{seconds:.1f} s", "by its own schedule, network included")
    return _row(what, f"{seconds:.1f} s", "to its word that the next report is not due yet: none was made")


def signatures(guest: Guest) -> list[Figure]:
    key = rsa.generate_private_key(PUBLIC_EXPONENT, BITS)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return [
        _asked(guest, "HS256 token", milliseconds, "hs256", {"claims": CLAIMS, "secret": SECRET}),
        _asked(
            guest,
            f"RS256 signature of {BITS} bits",
            milliseconds,
            "rs256",
            {"message": MESSAGE, "key": f"{RAM}key.pem"},
            {"key.pem": pem},
        ),
    ]


def memory(guest: Guest, cloud: Cloud) -> list[Figure]:
    config = DEVICE.config(cloud.url, roots=f"{RAM}ca.der")
    found = _ask(guest, "heap", {"config": config, "state": f"{RAM}credentials"}, {"ca.der": cloud.ca_der})
    names = ("heap held by import muster", "with an Agent", "after an enrolment and a report")
    return [
        _row(name, found if isinstance(found, str) else f"{found[n]:,} bytes") for n, name in enumerate(names)
    ]


def tls(guest: Guest, cloud: Cloud) -> list[Figure]:
    host, _, number = cloud.url.partition("://")[2].rpartition(":")
    arguments = {"host": host, "port": int(number), "ca": f"{RAM}ca.der"}
    found = _ask(guest, "tls", arguments, {"ca.der": cloud.ca_der})
    if isinstance(found, str):
        return [_row("TLS handshake", found)]
    rows = [
        _row("TLS handshake", milliseconds(found["us"]), "one root, the box's chain; this network included")
    ]
    for when, pair in zip(("before", "during", "after"), found["memory"], strict=True):
        text = f"{pair[0]:,} bytes free, {pair[1]:,} in one piece" if pair else "this board does not tell"
        rows.append(_row(f"native memory {when} a TLS session", text, "esp32.idf_heap_info(HEAP_DATA)"))
    return rows


def flash(guest: Guest) -> list[Figure]:
    try:
        found = guest.ask_of_flash("flash_times")
    except Raised as e:
        return [_row("flash", str(e))]

    def words(times: list[int]) -> str:
        return f"{milliseconds(int(statistics.median(times)))}, at most {milliseconds(times[-1])}"

    return [
        _row("flash: a record saved and read back", words(found["record"]), "what a heartbeat writes"),
        _row("flash: a file of 4 KB", words(found["block"])),
    ]


def milliseconds(us: int) -> str:
    digits = 2 if us < 1000 else 1 if us < 100_000 else 0
    return f"{us / 1000:,.{digits}f} ms"


def _asked(
    guest: Guest,
    what: str,
    words: Callable[[Any], str],
    function: str,
    arguments: dict[str, Any],
    files: dict[str, bytes] | None = None,
) -> Figure:
    found = _ask(guest, function, arguments, files or {})
    return _row(what, found if isinstance(found, str) else words(found))


def _ask(guest: Guest, function: str, arguments: dict[str, Any], files: dict[str, bytes]) -> Any:
    """What a function of onboard/figures.py prints, in a clean heap; a str for what it raised."""
    guest.restart()
    program = with_lines((ONBOARD / f"{PROGRAM}.py").read_bytes(), f"{PROGRAM}.py")
    try:
        guest.lay({f"{PROGRAM}.mpy": program, **files})
        return json.loads(guest.call(PROGRAM, function, arguments, SILENT_S).splitlines()[-1])
    except Raised as e:
        return printable(e.traceback.splitlines()[-1])


def markdown(figures: list[Figure]) -> str:
    """A table to paste into an issue."""
    rows = [("what", "found", ""), ("---", "---", "---")]
    rows += [(figure.what, figure.found, figure.note) for figure in figures]
    return "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in rows)
