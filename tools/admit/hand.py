"""A board in hand: what it has on flash, one report made now to its own platform, and a reboot."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from muster.errors import ConfigError

from tools.admit.facts import HIDDEN, REBOOT, Call, Facts, Kept, Start, read_rows, refusals
from tools.factory import ports
from tools.factory.ports import Lost
from tools.factory.raw_repl import BAUD
from tools.factory.stopped import ONBOARD, stopped

PROGRAM = ONBOARD / "admit.py"
REPORTS_S = 120  # without a word: it joins a network, looks up a name, and is answered
SETTLES_S = 40  # of a board that was reset: it joins a network, and looks at its schedule
DUE = re.compile(rb"the next report is due in|next try in|not set up")


def looked_at(
    port: str, identities: Path | None = None, told: Callable[[str], None] = lambda act: None
) -> Facts:
    """What a board in hand shows. identities: the batch that it is of.

    Raises Lost, ConfigError, ValueError for a CSV that is no batch, and RuntimeError for what fails there.
    """
    rows = None if identities is None else read_rows(identities)
    told("The board reports now")
    with stopped(port) as board:
        first = board.ask(PROGRAM, True, REPORTS_S)
    if "config" not in first:
        raise ConfigError(f"the board at {port}: {first['problem']}")
    config, refused = refusals(first["config"])
    if "before" not in first:
        if not refused:
            raise ConfigError(f"the board at {port}: {first['problem']}")
        why = f"The board does not start with its configuration: {first['problem']}."
        return Facts(f"the board at {port}", True, config, str(config["deviceNo"]), refused, rows, unseen=why)
    told("The board was reset, and looks at its schedule")
    settle(port)
    with stopped(port) as board:
        second = board.ask(PROGRAM, False)
    before, after, later = first["before"], first["after"], second["before"]
    events: list[Start | Call | Kept] = [*_kept(before)]
    events += _calls(first)
    if after["reports"] != before["reports"]:
        events += _kept(after)
    events += [Start(time.time(), REBOOT), *_kept(later)]
    return Facts(
        f"the board at {port}, and the platform at {config['baseUrl']}",
        True,
        config,
        after["deviceNo"],
        refused,
        rows,
        identity={"deviceId": str(after["deviceId"]), "deviceSecret": HIDDEN},
        events=tuple(events),
        until=max([event.at for event in events if isinstance(event, Call)], default=0),
        unseen="" if first["code"] == "200" else f"Its report failed: {first['reason']}.",
        had_secret=before["secret"] is not None,
        secret_kept=later["secret"] == after["secret"] if after["secret"] else None,
    )


def settle(port: str) -> None:
    """Waits until a board that was reset has looked at its schedule, as far as it says so."""
    until = time.monotonic() + SETTLES_S
    heard = b""
    while time.monotonic() < until and not DUE.search(heard):
        # A port that the chip's own USB makes goes away with a reset, and comes back.
        with contextlib.suppress(Lost, OSError), ports.opened(port, BAUD) as line:
            line.timeout = 0.2
            while time.monotonic() < until and not DUE.search(heard):
                heard += line.read(256)
            return
        time.sleep(0.1)


def _kept(stored: Mapping[str, Any]) -> list[Kept]:
    """What is on flash, if there is any; it was written with the last report."""
    last = stored["last"]
    return [Kept(last, last, stored["next"], stored["reports"])] if last else []


def _calls(told: Mapping[str, Any]) -> list[Call]:
    """The requests that the board made. All but the last were answered well; what became of that is told."""
    calls = []
    for at, method, url, headers, body in told["calls"]:
        header = {name.lower(): value for name, value in headers.items()}
        kind, ip = header.get("content-type", ""), header.get("x-ai-ip")
        calls.append(Call(at, method, urlsplit(url).path, kind, ip, body, "200"))
    if calls:
        code = None if told["code"] is None else str(told["code"])
        calls[-1] = replace(calls[-1], code=code, reason=told["reason"])
    return calls
