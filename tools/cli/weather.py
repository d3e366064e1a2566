"""What `storm` shows: boards and clouds under random faults, with a verdict at the end."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import random
import secrets
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from tools.board import Board
from tools.cli.story import REPORT
from tools.cloud import Cloud, Device
from tools.common.records import newest
from tools.factory.product import board_image

# Twelve hours are long to watch. The deadline keeps the next try after a failure near.
PERIOD_S, JITTER_S, DEADLINE_S = 4, 1, 30

# A board counts in whole seconds, and learns them from a Date that was under way.
COARSE_S = 2
LOOK_S = 0.1
ENROL_S = 30
# What a person would wait for before pulling the plug.
PATIENCE_S = 45
DAY_S = 86400

CLOUD_FAULTS: dict[str, dict[str, Any]] = {
    "answers 500": {"status": 500},
    "answers 503 in HTML": {"status": 503, "body": "<html>"},
    "refuses": {"code": "500"},
    "answers broken JSON": {"body": '{"code": "200"'},
    "answers slowly": {"delay": 2},
    "does not answer": {"delay": 60},
    "closes connections": {"connection": "close"},
    "resets connections": {"connection": "reset"},
    "resets in mid-answer": {"connection": "reset", "after": 20},
    "truncates answers": {"connection": "truncate"},
    "shows an expired certificate": {"certificate": "expired"},
    "shows a foreign certificate": {"certificate": "foreign"},
    "shows another name's certificate": {"certificate": "misnamed"},
    "shows tomorrow's certificate": {"certificate": "not-yet-valid"},
}
DOWN = "is down"
BOARD_FAULTS = POWER, TORN, NETWORK, CLOCK, FLICKER = (
    "no power",
    "power cut at flash",
    "no network",
    "wrong clock",
    "flicker",
)
# Where a clock may stand when the power comes, in days from today; None for 2000.
CLOCKS = (None, -400, -2, 2, 30)


class Station:
    """One board, and what is known of it."""

    def __init__(self, folder: Path, device: Device, image: bytes, wifi: dict[str, Any]) -> None:
        self.name = device.device_no
        mac = bytes.fromhex("240ac4") + secrets.token_bytes(3)
        self.board = Board(folder, image, air=[{**wifi, "join_s": 0.05}], mac=mac)
        self.fault = ""
        self.until = 0.0
        self.faults = 0
        self.secret: str | None = None
        # When the platform accepted its heartbeats, Unix times.
        self.answered: list[float] = []
        # (Unix time, T_next on flash): from then on the device knows no more than its flash.
        self.forgot: list[tuple[float, int]] = []
        self.wrong: list[str] = []
        self.losses = 0

    def begin(self, fault: str, rng: random.Random, seconds: float) -> None:
        self.fault, self.until = fault, time.monotonic() + seconds
        self.faults += 1
        if fault == NETWORK:
            self.board.cut_network()
            return
        self.off()
        if fault == TORN:
            self.board.cut_at, self.board.torn = rng.randint(1, 6), rng.random()
            self.on()
        elif fault == CLOCK:
            days = rng.choice(CLOCKS)
            self.board.rtc = None if days is None else int(time.time()) + days * DAY_S
            self.on()
        elif fault == FLICKER:
            for _ in range(rng.randint(2, 4)):
                self.on()
                time.sleep(rng.uniform(0, 0.4))
                self.off()
            self.on()

    def end(self) -> None:
        if self.fault == NETWORK:
            self.board.restore_network()
        elif self.fault in (POWER, TORN):
            self.off()
            self.board.cut_at = None
            self.on()
        self.board.rtc = None
        self.fault = ""

    def off(self) -> None:
        self.board.cut_power()
        found = self.stored
        if found != self.secret:
            self.losses += 1
            self.wrong.append(f"after a power cut its secret is {'another' if found else 'lost'}")

    def on(self) -> None:
        self.forgot.append((time.time(), newest(self.board.files(), "schedule").get("next", 0)))
        self.board.start()

    @property
    def stored(self) -> str | None:
        """The secret on its flash."""
        return newest(self.board.files(), "credentials").get("deviceSecret")

    @property
    def last_words(self) -> str:
        said = [line for line in self.board.output.splitlines() if line.startswith("muster: ")]
        return said[-1][8:] if said else ""

    def judge(self, fetched: int, enrolling: bool, secrets: list[str]) -> None:
        """Looks at what it has and has said in the end.

        fetched: how often its secret was.  enrolling: it may have none yet.  secrets: the product's.
        """
        self.board.cut_power()
        said = self.board.output
        lost = self.secret is None or self.stored != self.secret
        self.losses += lost and not enrolling
        faults = {
            f"its secret was fetched {fetched} times": fetched != 1 and not enrolling,
            "its secret is not on its flash in the end": lost and not enrolling,
            "a secret stands in its output": any(s in said for s in (*secrets, self.secret) if s),
            "its output has a traceback": "Traceback" in said,
            "its watchdog had to reset it": "watchdog got triggered" in said,
        }
        self.wrong += [what for what, so in faults.items() if so]
        self.wrong += early(self.answered, self.forgot)


@dataclass
class Storm:
    """Boards and clouds that things happen to, and what came of it.

    seconds: how long.  cloud: the clouds, which fail all at once.  look: called at every turn.
    failures: a sentence each.  losses: secrets that were lost.  note: what a reader of these should know.
    """

    boards: int
    seconds: float
    seed: int
    look: Callable[[Storm], None]
    stations: list[Station] = field(default_factory=list)
    cloud_fault: str = ""
    cloud_faults: int = 0
    ends: float = 0.0
    state: str = "the boards enrol"
    interrupted: bool = False
    failures: list[str] = field(default_factory=list)
    losses: int = 0
    note: str = ""

    @property
    def tried(self) -> int:
        """The faults so far."""
        return self.cloud_faults + sum(station.faults for station in self.stations)

    def rage(self) -> None:
        """The whole story: calm, storm, calm. Ctrl-C ends it with what was seen so far."""
        random.seed(self.seed)  # the box draws from here
        self._rng = random.Random(self.seed)
        with contextlib.ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-storm-")))
            self._cloud_stack = stack.enter_context(contextlib.ExitStack())
            self._make(stack)
            stack.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, self._interrupt))
            try:
                self._wait(ENROL_S, lambda station: bool(station.answered))
                for station in self.stations:
                    station.secret = station.stored
                self._storm()
                self._calm()
            except KeyboardInterrupt:
                self.note = "interrupted; "
                if self.cloud_fault:
                    self._cloud_behaves()
            self._judge()

    def _interrupt(self, *_: object) -> None:
        """Ends it at the next turn: within a power cut nobody knows what a board should have."""
        self.interrupted = True

    def _make(self, stack: contextlib.ExitStack) -> None:
        product, key = "1234567890123", secrets.token_hex(8)
        self._devices = [Device(product, key, "SN", f"STORM-{n + 1}") for n in range(self.boards)]
        wifi = {"ssid": "storm", "key": secrets.token_hex(8)}
        self._secrets = [key, wifi["key"]]
        self._start_cloud(0)
        often = {"period": PERIOD_S, "jitter": JITTER_S, "spread": 0, "deadline": DEADLINE_S}
        for device in self._devices:
            config = device.config(self._cloud.url, wifi=[wifi], **often)
            image = board_image(config, [self._cloud.ca_pem])
            station = Station(self._folder / device.device_no, device, image, wifi)
            self.stations.append(station)
            stack.enter_context(station.board)

    def _start_cloud(self, port: int) -> None:
        cloud = Cloud(self._devices, data=self._folder / "cloud", port=port, on_call=self._hear)
        give_up = time.monotonic() + 10
        while True:
            try:
                self._cloud = self._cloud_stack.enter_context(cloud)
                return
            except OSError:
                # For a moment somebody's outgoing connection may have the port.
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.1)

    def _hear(self, call: dict[str, Any]) -> None:
        for station in self.stations:
            if (call["path"], call["device"], call["code"]) == (REPORT, station.name, "200"):
                bisect.insort(station.answered, call["time"])

    # What happens

    def _storm(self) -> None:
        self.state, self.ends = "storm", time.monotonic() + self.seconds
        rng = self._rng
        strikes = time.monotonic() + rng.uniform(0, 1)
        turns = time.monotonic() + rng.uniform(1, 2)
        while time.monotonic() < self.ends:
            now = time.monotonic()
            for station in self.stations:
                if station.fault and now >= station.until:
                    station.end()
            healthy = [station for station in self.stations if not station.fault]
            if now >= strikes and healthy:
                fault = rng.choice(BOARD_FAULTS)
                rng.choice(healthy).begin(fault, rng, rng.uniform(0.5, 5))
                strikes = now + rng.uniform(0, 8 / len(self.stations))
            if now >= turns:
                # Between two faults everybody gets a chance.
                turns = now + (rng.uniform(3, 6) if self.cloud_fault else rng.uniform(2, 5))
                self._cloud_behaves() if self.cloud_fault else self._cloud_fails()
            self._turn()

    def _cloud_fails(self) -> None:
        self.cloud_fault = self._rng.choice((DOWN, *CLOUD_FAULTS))
        self.cloud_faults += 1
        if self.cloud_fault == DOWN:
            self._port = int(self._cloud.url.rpartition(":")[2])
            self._cloud_stack.close()
            # What it had answered may not have left.
            for station in self.stations:
                station.forgot.append((time.time(), 0))
        else:
            self._cloud.misbehave(**CLOUD_FAULTS[self.cloud_fault])

    def _cloud_behaves(self) -> None:
        if self.cloud_fault == DOWN:
            self._start_cloud(self._port)
        self._cloud.behave()
        self.cloud_fault = ""

    def _calm(self) -> None:
        self.state = "calm: every board has to report again"
        for station in self.stations:
            if station.fault:
                station.end()
        if self.cloud_fault:
            self._cloud_behaves()
        before = {station.name: len(station.answered) for station in self.stations}

        def back(station: Station) -> bool:
            return len(station.answered) > before[station.name]

        silent = self._wait(PATIENCE_S, back)
        # After the deadline a device may pause for an hour at most. Whoever watches pulls the plug instead.
        pausing = [station for station in silent if "; next try in " in station.last_words]
        for station in pausing:
            station.off()
            station.on()
        if pausing:
            names = ", ".join(station.name for station in pausing)
            self.note = (
                f"{names} paused longer than {PATIENCE_S} s after failures and was switched off and on; "
            )
            silent = self._wait(PATIENCE_S, back)
        for station in silent:
            station.wrong.append(
                f"it did not report again within {PATIENCE_S} s; its last: {station.last_words}"
            )

    def _wait(self, seconds: float, done: Callable[[Station], bool]) -> list[Station]:
        """Those that were not done in time."""
        until = time.monotonic() + seconds
        waiting = self.stations
        while waiting and time.monotonic() < until:
            self._turn()
            waiting = [station for station in waiting if not done(station)]
        return waiting

    def _turn(self) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.look(self)
        time.sleep(LOOK_S)

    def _judge(self) -> None:
        fetched = {device["deviceNo"]: device["secretCount"] for device in self._cloud.state()["devices"]}
        for station in self.stations:
            enrolling = self.interrupted and station.secret is None
            station.judge(fetched[station.name], enrolling, self._secrets)
            self.failures += [f"{station.name}: {wrong}" for wrong in station.wrong]
            self.losses += station.losses
        heartbeats = number(sum(len(station.answered) for station in self.stations), "heartbeat")
        self.note += f"faults of {number(self.boards, 'board')} and their clouds; {heartbeats}"


def number(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def early(answered: list[float], forgot: list[tuple[float, int]]) -> list[str]:
    """Heartbeats that came before they were due, by what the device could know.

    answered: Unix times of its accepted heartbeats. forgot: (Unix time, T_next) whenever it was switched on
    and knew no more than the T_next on its flash.
    """
    wrong = []
    for last, this in itertools.pairwise(answered):
        due = last + PERIOD_S - JITTER_S
        for at, on_flash in forgot:
            if last - COARSE_S < at <= this:
                due = on_flash
        if this < due - COARSE_S:
            wrong.append(f"it reported {due - this:.1f} s early, {this - last:.1f} s after the last time")
    return wrong


def watch(boards: int, minutes: float, seed: int, console: Console) -> Storm:
    """A storm that is over, and was shown as a table that lives."""
    console.print(
        f"{number(boards, 'board')} and the clouds in a box for {minutes:g} min, seed {seed}. Ctrl-C ends it."
    )
    with Live(console=console, auto_refresh=False) as live:
        storm = Storm(boards, minutes * 60, seed, lambda storm: live.update(picture(storm), refresh=True))
        storm.rage()
    if not console.is_terminal:
        console.line()  # which Live leaves out there
    return storm


def picture(storm: Storm) -> Table:
    left = f", {max(0, storm.ends - time.monotonic()):.0f} s left" if storm.state == "storm" else ""
    cloud = f"[red]{storm.cloud_fault}[/]" if storm.cloud_fault else "[green]well[/]"
    table = Table(title=f"{storm.state}{left}   clouds: {cloud}", title_justify="left", expand=True)
    # Wide enough for all that may come, so that nothing jumps.
    for heading, width in (("board", 8), ("now", 18), ("heartbeats", 10), ("last", 9), ("faults", 6)):
        table.add_column(heading, min_width=width, no_wrap=True)
    table.add_column("says", no_wrap=True, ratio=1)
    for station in storm.stations:
        table.add_row(
            station.name,
            f"[red]{station.fault}[/]" if station.fault else "[green]on[/]",
            str(len(station.answered)),
            f"{time.time() - station.answered[-1]:.0f} s ago" if station.answered else "",
            str(station.faults),
            escape(station.last_words),
        )
    return table
