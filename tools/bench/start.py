"""A board's first start: how long from boot.py's first line to the first accepted heartbeat."""

from __future__ import annotations

import re
import tempfile
import time
from pathlib import Path

from tools.board import Board
from tools.cloud import Cloud, Device
from tools.common.paths import ROOT
from tools.common.progress import Tell
from tools.factory.product import board_image

from .figure import Figure, Turns
from .programs import PROGRAMS

ROUNDS = 40
HEAP = 256 * 1024  # about what a chip without further memory has; what is collected has the size of it
WITHIN = 1.9

DEVICE = Device("1234567890123", "pr0ductk3y", "SN", "AI-0001")


def image(cloud: Cloud, boot: bytes, main: bytes) -> bytes:
    """A device's that has nothing to wait for but the platform: its network and its clock are there."""
    config = DEVICE.config(cloud.url, wifi=[])
    return board_image(config, {"ca": cloud.ca_pem}, more={"/boot.py": boot, "/main.py": main})


def seconds(folder: Path, flash: bytes, what: str) -> float:
    """Switches on a new board, and returns what it tells it took until it says so."""
    # Its clock is right: a board's own begins in 2000, and it would shake hands twice.
    with Board(folder, flash, rtc=int(time.time()), heap=HEAP, vm="micropython") as board:
        return int(board.wait_for(re.compile(rf"(\d+) us: {what}"))[1]) / 1e6


def measure(tell: Tell) -> list[Figure]:
    """The one row of this topic."""
    shipped = {name: (ROOT / name).read_bytes() for name in ("boot.py", "main.py")}
    pairs = []
    with Cloud([DEVICE]) as cloud, tempfile.TemporaryDirectory(prefix="muster-start-") as folder:
        first = image(
            cloud,
            (PROGRAMS / "start_boot.py").read_bytes() + shipped["boot.py"],
            (PROGRAMS / "start_main.py").read_bytes() + shipped["main.py"],
        )
        alone = image(cloud, b"", (PROGRAMS / "start_handshake.py").read_bytes())
        for n in range(ROUNDS):
            tell(f"start: a first start and a handshake alone, {n + 1} of {ROUNDS}")
            handshake = seconds(Path(folder, f"handshake {n}"), alone, "shook hands")
            pairs.append((handshake, seconds(Path(folder, f"first {n}"), first, "reported")))
    turns = Turns(pairs)
    return [
        Figure(
            "boot.py's first line to the first accepted heartbeat, VM",
            "the TLS handshake alone, same VM, server and root",
            f"within {WITHIN} times",
            f"{turns.ratio:.2f} times: {turns.theirs * 1000:.0f} ms, {turns.ours * 1000:.0f} ms",
            turns.ratio <= WITHIN,
            "the first of all starts: imports from flash, secret fetch and report on one connection, both "
            f"records written; {ROUNDS} new boards, in turns with as many that only shake hands; the clocks "
            "are right, and no Wi-Fi is to be joined",
        )
    ]
