"""Boards flashed, one or a rack of them: every chip has a process, and a thread here that looks after it."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from muster import config as configuration
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column, Table
from serial.tools import list_ports

from tools.factory import chip, littlefs
from tools.factory.chip import Job
from tools.factory.ledger import Ledger
from tools.factory.product import board_files, board_image

# The stub flasher and the flash answer within seconds; a chip that is silent for longer is gone.
SILENCE_S = 60
# Not forked from here: a fork of a process with threads may hold their locks for ever. A server to fork from
# loads esptool once for all chips; on macOS the system's own libraries do not bear a fork either.
START = "forkserver" if sys.platform == "linux" else "spawn"
multiprocessing.set_forkserver_preload([chip.__name__])


def flash(
    jobs: Sequence[Job], config: Path, roots: Sequence[Path], identities: Path | None, source: bool
) -> int:
    """Flashes the boards and tells what became of them. Returns the exit status."""
    console = Console(soft_wrap=True)
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(Ledger(identities)) if identities is not None else None
        rack = Rack(jobs, _read(config, ledger), roots, ledger, source, console)
        try:
            rack.flash()
        except KeyboardInterrupt:
            console.print("stopped: flash the boards that are not done again")
            return 130
        finally:
            console.print(_table(rack.outcomes))
    return 0 if all(outcome.done for outcome in rack.outcomes) else 1


def usb_ports() -> list[str]:
    """The serial ports that a USB device makes; others are the computer's own."""
    return sorted(port.device for port in list_ports.comports() if port.vid is not None)


@dataclass
class Outcome:
    """What became of one board."""

    port: str
    mac: str = ""
    device_no: str = ""
    result: str = ""
    done: bool = False
    seconds: float = 0.0


@dataclass
class Rack:
    """Boards on their ports, and what they get.

    config: the configuration, of which a row of the ledger replaces keys. source: .py in place of .mpy.
    """

    jobs: Sequence[Job]
    config: Mapping
    roots: Sequence[Path]
    ledger: Ledger | None = None
    source: bool = False
    console: Console = field(default_factory=Console)
    outcomes: list[Outcome] = field(default_factory=list)

    def flash(self) -> None:
        """Flashes all of them at once. One that fails does not stop the others."""
        columns = (
            TextColumn("{task.fields[port]}", table_column=Column(no_wrap=True, overflow="fold")),
            BarColumn(20),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        )
        with (
            Progress(*columns, console=self.console, expand=True) as progress,
            contextlib.ExitStack() as stack,
        ):
            attendants = []
            for job in self.jobs:
                attendants.append(_Attendant(self, job, progress))
                stack.callback(attendants[-1].end)
                self.outcomes.append(attendants[-1].outcome)
                attendants[-1].start()
            # Compiled once, while the chips are looked for. What is wrong with it, each board is told.
            with contextlib.suppress(ValueError, OSError):
                board_files(self.config, self.roots, source=self.source)
            for attendant in attendants:
                attendant.join()

    def image(self, found: chip.Found, row: Mapping[str, str]) -> bytes:
        blocks = found.region.size // littlefs.BLOCK
        config = {**self.config, **row}
        configuration.check(config)
        return board_image(config, self.roots, found.state, blocks=blocks, source=self.source)


class _Attendant(threading.Thread):
    """Looks after one chip: hands it its identity and its image, and shows how far it is."""

    def __init__(self, rack: Rack, job: chip.Job, progress: Progress) -> None:
        super().__init__(name=job.port, daemon=True)
        self.rack, self.job, self.progress = rack, job, progress
        self.outcome = Outcome(job.port)
        self.task: TaskID = progress.add_task("looking for the chip", port=job.port, total=None)
        context = multiprocessing.get_context(START)
        self.pipe, its = context.Pipe()
        self.process = context.Process(target=chip.work, args=(its, job), daemon=True)
        self.process.start()
        its.close()

    def run(self) -> None:
        started = time.monotonic()
        try:
            while self._hear():
                pass
        except (ValueError, OSError) as e:
            self._end(str(e))
        except EOFError:
            self.process.join()
            self._end(f"it was stopped half-way (status {self.process.exitcode}): flash it again")
        self.outcome.seconds = time.monotonic() - started
        if self.rack.ledger is not None and self.outcome.mac:
            self.rack.ledger.note(self.outcome.mac, self.outcome.result)

    def end(self) -> None:
        """Ends the chip's process, whatever it is at, and waits until that is written down."""
        self.process.terminate()
        self.process.join()
        self.join()

    def _hear(self) -> bool:
        if not self.pipe.poll(SILENCE_S + self.job.wait):
            raise ValueError(f"nothing was heard of it for {SILENCE_S} s: check its cable, and try again.")
        word, *values = self.pipe.recv()
        if word == "found":
            self._allot(*values)
        elif word == "writing":
            self._show("writing", *values)
        elif word == "written":
            self._end("flashed", done=True)
            self._show("waiting for it to enrol" if self.job.wait else "flashed", 1, 1)
            return bool(self.job.wait)
        elif word == "said":
            self._show(values[0])
        elif word == "enrolled":
            self._end("enrolled", done=True)
            return False
        elif word == "failed":
            self._end(values[0])
            return False
        return True

    def _allot(self, found: chip.Found) -> None:
        """From here on the board has its identity, whatever happens to it."""
        self.outcome.mac = found.mac
        row = self.rack.ledger.claim(found.mac) if self.rack.ledger is not None else {}
        self.outcome.device_no = row.get("deviceNo", str(self.rack.config.get("deviceNo", "")))
        self.pipe.send(self.rack.image(found, row))

    def _end(self, result: str, done: bool = False) -> None:
        self.outcome.result, self.outcome.done = result, done
        self._show(result)

    def _show(self, text: str, done: int | None = None, total: int | None = None) -> None:
        self.progress.update(self.task, description=text, completed=done, total=total)


def _table(outcomes: Sequence[Outcome]) -> Table:
    """What became of each board, for people."""
    shown = Table()
    for column in ("port", "MAC", "deviceNo"):
        shown.add_column(column, no_wrap=True)
    shown.add_column("result", overflow="fold")
    shown.add_column("s", justify="right")
    for one in outcomes:
        result = f"[green]{one.result}[/]" if one.done else f"[red]{one.result}[/]"
        shown.add_row(one.port, one.mac, one.device_no, result, f"{one.seconds:.1f}")
    return shown


def _read(path: Path, ledger: Ledger | None) -> dict:
    """The configuration as its file has it, without defaults. Raises ConfigError."""
    if ledger is None:
        configuration.load(str(path))
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except ValueError as e:
        raise ValueError(f"{path} is not JSON: {e}") from None
