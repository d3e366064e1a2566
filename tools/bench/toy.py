"""The example that blinks, talks and reports: how long its light is left waiting."""

from __future__ import annotations

import json
import re
import secrets
import tempfile
import time

from tools.board import Board
from tools.cloud import Cloud, Device
from tools.common.paths import ROOT
from tools.common.progress import Tell
from tools.factory.product import board_image

from .figure import Figure
from .programs import PROGRAMS

EXAMPLE = ROOT / "firmware" / "examples" / "toy.py"
SILENT_S = 2
TRIES = 2  # a busy computer makes any light wait now and then
HEAP = 2 << 20  # it has PSRAM
BUTTON = 0
SPEAKS_S = 0.5
ANSWERED = re.compile(r"toy: .*散步吧。|(no answer: .*|\w*Error: .*)")


def measure(tell: Tell) -> list[Figure]:
    """The one row of this topic."""
    stalls = []
    for n in range(TRIES):
        tell(f"toy: it blinks, talks and reports, {n + 1} of {TRIES}")
        stalls.append(longest_stall(SILENT_S))
    stall = min(stalls)
    return [
        Figure(
            f"{EXAMPLE.name}: longest wait of a light that blinks every 50 ms",
            "",
            "30 ms more",
            f"{stall} ms more",
            stall <= 30,
            "the example on a virtual board, whose light takes the time: through enrolment, a heartbeat, a "
            f"question of {SPEAKS_S} s and a chat whose answer begins after {SILENT_S} s and is spoken, over "
            "one session. It has a ready token, as no loop turns during an RS256 signature. The least of "
            f"{TRIES} starts.",
        )
    ]


def longest_stall(silent_s: float) -> int:
    """The milliseconds that a blink came late at most, until the toy has reported and has had an answer."""
    token = secrets.token_hex(8)
    device = Device("1234567890123", secrets.token_hex(8), "SN", "TOY-1")
    with Cloud([device]) as cloud, tempfile.TemporaryDirectory(prefix="muster-toy-") as folder:
        cloud.add_coze_token(token)
        cloud.misbehave(path="/v3/chat", delay=silent_s)
        account = {"bot_id": "7379462189365198898", "voice_id": "7426720361733144585"}
        account |= {"token": token, "base_url": cloud.url}
        more = {
            "/boot.py": (PROGRAMS / "toy_boot.py").read_bytes() + (ROOT / "boot.py").read_bytes(),
            "/lib/coze.json": json.dumps(account).encode(),
        }
        config = device.config(cloud.url, wifi=[])
        image = board_image(config, {"ca": cloud.ca_pem}, more=more, main=EXAMPLE)
        # Its clock is right: it would wait for nobody to set it.
        with Board(folder, image, rtc=int(time.time()), heap=HEAP) as board:
            board.wait_for("muster: reported")
            board.set_pin(BUTTON, 0)
            time.sleep(SPEAKS_S)
            board.set_pin(BUTTON, 1)
            if (end := board.wait_for(ANSWERED))[1]:
                raise RuntimeError(end[1])
            told = board.wait_for(re.compile(r"at most (\d+) ms late"))
    return int(told[1])
