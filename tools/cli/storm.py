"""Boards and clouds under faults drawn by lot: something to watch, with a verdict at the end."""

from __future__ import annotations

import contextlib
import itertools
import random
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from tools.board import Board
from tools.cli.story import REPORT
from tools.cli.verdict import SEED, Verdict
from tools.cloud import Cloud, Device
from tools.common.options import NumberRange
from tools.common.records import newest
from tools.common.vm import choose_vm
from tools.factory.product import board_image

# Twelve hours are long to watch. The deadline keeps the next try after a failure near.
PERIOD_S, JITTER_S, DEADLINE_S = 4, 1, 30
BOARDS, MINUTES = 4, 1.0

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
        self.device = device
        mac = bytes.fromhex("240ac4") + secrets.token_bytes(3)
        self.board = Board(folder, image, air=[{**wifi, "join_s": 0.05}], mac=mac)
        self.fault = ""
        self.until = 0.0
        self.faults = 0
        self.secret: str | None = None
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


@dataclass
class Storm:
    """Boards and clouds that things happen to.

    cloud: the clouds, which fail all at once;  look: called at every turn.
    """

    boards: int
    seconds: float
    rng: random.Random
    folder: Path
    look: Callable[[Storm], None]
    stations: list[Station] = field(default_factory=list)
    cloud_fault: str = ""
    cloud_faults: int = 0
    began: float = 0.0
    ends: float = 0.0
    state: str = "the boards enrol"
    interrupted: bool = False
    calls: list[dict[str, Any]] = field(default_factory=list)

    def rage(self) -> Verdict:
        """The whole story: calm, storm, calm. Ctrl-C ends it with what was seen so far."""
        verdict = Verdict("storm")
        with contextlib.ExitStack() as stack:
            self._stack = stack.enter_context(contextlib.ExitStack())
            stack.callback(self._switch_off)
            self._make()
            stack.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, self._interrupt))
            try:
                self._wait(ENROL_S, lambda station: self.reports(station) > 0)
                for station in self.stations:
                    station.secret = station.stored
                self._storm()
                self._calm(verdict)
            except KeyboardInterrupt:
                verdict.interrupted, verdict.note = True, "interrupted; "
                if self.cloud_fault:
                    self._cloud_behaves()
            self.calls = self.cloud.calls()
            self._judge(verdict)
        return verdict

    def _interrupt(self, *_: object) -> None:
        """Ends it at the next turn: within a power cut nobody knows what a board should have."""
        self.interrupted = True

    def _make(self) -> None:
        product, key = "1234567890123", secrets.token_hex(8)
        devices = [Device(product, key, "SN", f"STORM-{n + 1}") for n in range(self.boards)]
        wifi = {"ssid": "storm", "key": secrets.token_hex(8)}
        self.secrets = [key, wifi["key"]]
        self._devices = devices
        self._start_cloud(0)
        for device in devices:
            image = board_image(self._config(device, wifi), [self.cloud.ca_pem])
            self.stations.append(Station(self.folder / device.device_no, device, image, wifi))
            self.stations[-1].board.start()

    def _config(self, device: Device, wifi: dict[str, Any]) -> dict[str, Any]:
        often = {"period": PERIOD_S, "jitter": JITTER_S, "spread": 0, "deadline": DEADLINE_S}
        return device.config(self.cloud.url, wifi=[wifi], **often)

    def _start_cloud(self, port: int) -> None:
        cloud = Cloud(self._devices, data=self.folder / "cloud", port=port)
        give_up = time.monotonic() + 10
        while True:
            try:
                self.cloud = self._stack.enter_context(cloud)
                return
            except click.ClickException:
                # For a moment somebody's outgoing connection may have the port.
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.1)

    def _switch_off(self) -> None:
        for station in self.stations:
            station.board.stop()

    # What happens

    def _storm(self) -> None:
        self.state, self.began = "storm", time.monotonic()
        self.ends = self.began + self.seconds
        rng = self.rng
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
        self.cloud_fault = self.rng.choice((DOWN, *CLOUD_FAULTS))
        self.cloud_faults += 1
        if self.cloud_fault == DOWN:
            self._port = int(self.cloud.url.rpartition(":")[2])
            self.calls = self.cloud.calls()
            self._stack.close()
            # What it had answered may not have left.
            for station in self.stations:
                station.forgot.append((time.time(), 0))
        else:
            self.cloud.misbehave(**CLOUD_FAULTS[self.cloud_fault])

    def _cloud_behaves(self) -> None:
        if self.cloud_fault == DOWN:
            self._start_cloud(self._port)
        self.cloud.behave()
        self.cloud_fault = ""

    def _calm(self, verdict: Verdict) -> None:
        self.state = "calm: every board has to report again"
        for station in self.stations:
            if station.fault:
                station.end()
        if self.cloud_fault:
            self._cloud_behaves()
        before = {station.device.device_no: self.reports(station) for station in self.stations}

        def back(station: Station) -> bool:
            return self.reports(station) > before[station.device.device_no]

        silent = self._wait(PATIENCE_S, back)
        # After the deadline a device may pause for an hour at most. Whoever watches pulls the plug instead.
        pausing = [station for station in silent if "; next try in " in station.last_words]
        for station in pausing:
            station.off()
            station.on()
        if pausing:
            names = ", ".join(station.device.device_no for station in pausing)
            verdict.note = (
                f"{names} paused longer than {PATIENCE_S} s after failures and was switched off and on; "
            )
        for station in self._wait(PATIENCE_S, back) if pausing else silent:
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
        if self.cloud_fault != DOWN:
            self.calls = self.cloud.calls()
        self.look(self)
        time.sleep(LOOK_S)

    # What is known

    def answered(self, station: Station) -> list[float]:
        """When the platform accepted its heartbeats, Unix times."""
        no = station.device.device_no
        return [
            call["time"]
            for call in self.calls
            if call["path"] == REPORT and call["device"] == no and call["code"] == "200"
        ]

    def reports(self, station: Station) -> int:
        return len(self.answered(station))

    def _judge(self, verdict: Verdict) -> None:
        known = {device["deviceNo"]: device for device in self.cloud.state()["devices"]}
        for station in self.stations:
            no = station.device.device_no
            fetched = known[no]["secretCount"]
            # Interrupted while it enrolled, it may have no secret yet.
            enrolling = self.interrupted and station.secret is None
            if fetched != 1 and not enrolling:
                station.wrong.append(f"its secret was fetched {fetched} times")
            station.board.cut_power()
            lost = station.secret is None or station.stored != station.secret
            if lost and not enrolling:
                station.losses += 1
                station.wrong.append("its secret is not on its flash in the end")
            hidden = [*self.secrets, station.secret]
            if any(secret and secret in station.board.output for secret in hidden):
                station.wrong.append("a secret stands in its output")
            for text in ("Traceback", "watchdog got triggered"):
                if text in station.board.output:
                    station.wrong.append(f"its output has {text!r}")
            station.wrong += early(self.answered(station), station.forgot)
            verdict.failures += [f"{no}: {wrong}" for wrong in station.wrong]
            verdict.losses += station.losses
        verdict.cases = self.cloud_faults + sum(station.faults for station in self.stations)
        heartbeats = number(sum(self.reports(station) for station in self.stations), "heartbeat")
        verdict.note += f"faults of {number(self.boards, 'board')} and their clouds; {heartbeats}"


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


@click.command()
@click.option("--boards", type=click.IntRange(1, 50), default=BOARDS, show_default=True)
@click.option(
    "--minutes", type=NumberRange(0.1, 1440), default=MINUTES, show_default=True, help="How long it lasts."
)
@click.option(
    "--seed",
    type=click.IntRange(1),
    default=SEED,
    show_default=True,
    help="The same draws the same faults.",
)
def storm(boards: int, minutes: float, seed: int) -> None:
    """Lets faults loose on virtual boards and their clouds, to watch.

    The power, the flash, the network, the clocks and the clouds fail at random; then all is calm, and every
    board has to report again. Exit status 1 if one did not, 130 after Ctrl-C.
    """
    console = Console(highlight=False, soft_wrap=True)
    verdict = watch(boards, minutes, seed, console)
    console.print(
        f"storm: {verdict.cases:,} tried, {len(verdict.failures)} failures, {verdict.losses} losses; "
        f"{escape(verdict.note)}"
    )
    for failure in verdict.failures:
        console.print(f"[red]{escape(failure)}[/]")
    sys.exit(130 if verdict.interrupted else 1 if verdict.failures or verdict.losses else 0)


def watch(boards: int, minutes: float, seed: int, console: Console) -> Verdict:
    """The same as a table that lives."""
    console.print(
        f"{number(boards, 'board')} and the clouds in a box for {minutes:g} min, seed {seed}. Ctrl-C ends it."
    )
    with Live(console=console, auto_refresh=False) as live:
        verdict = weather(boards, minutes * 60, seed, lambda storm: live.update(picture(storm), refresh=True))
    if not console.is_terminal:
        console.line()  # which Live leaves out there
    return verdict


def weather(boards: int, seconds: float, seed: int, look: Callable[[Storm], None]) -> Verdict:
    if choose_vm() == "cpython":
        return Verdict("storm", note="not tried: there is no MicroPython for this computer")
    random.seed(seed)  # the box draws from here
    with tempfile.TemporaryDirectory(prefix="muster-storm-") as folder:
        verdict = Storm(boards, seconds, random.Random(seed), Path(folder), look).rage()
    verdict.note = f"seed {seed}; {verdict.note}"
    return verdict


def picture(storm: Storm) -> Table:
    left = f", {max(0, storm.ends - time.monotonic()):.0f} s left" if storm.state == "storm" else ""
    cloud = f"[red]{storm.cloud_fault}[/]" if storm.cloud_fault else "[green]well[/]"
    table = Table(title=f"{storm.state}{left}   clouds: {cloud}", title_justify="left", expand=True)
    # Wide enough for all that may come, so that nothing jumps.
    for heading, width in (("board", 8), ("now", 18), ("heartbeats", 10), ("last", 9), ("faults", 6)):
        table.add_column(heading, min_width=width, no_wrap=True)
    table.add_column("says", no_wrap=True, ratio=1)
    for station in storm.stations:
        answered = storm.answered(station)
        table.add_row(
            station.device.device_no,
            f"[red]{station.fault}[/]" if station.fault else "[green]on[/]",
            str(len(answered)),
            f"{time.time() - answered[-1]:.0f} s ago" if answered else "",
            str(station.faults),
            escape(station.last_words),
        )
    return table
