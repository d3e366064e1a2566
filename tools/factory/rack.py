"""Boards flashed, one or a rack of them: every chip has a process, and a thread here that looks after it."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from pathlib import Path

import click
from muster import config as configuration
from muster.errors import ConfigError, Error
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column
from rich.text import Text
from serial.tools import list_ports

from tools.common import littlefs
from tools.common.printable import printable
from tools.factory import chip, ledger
from tools.factory.chip import Job
from tools.factory.ledger import Ledger
from tools.factory.product import STATE, board_files, board_image

SCHEDULE = STATE + "schedule."
# The stub flasher and the flash answer within seconds; a chip that is silent for longer is gone.
SILENCE_S = 60
# Of a port's name, beside how far its board is.
PORT_WIDTH = 24
# Not forked from here: a fork of a process with threads may hold their locks for ever. A server to fork from
# loads esptool once for all chips; on macOS the system's own libraries do not bear a fork either.
START = "forkserver" if sys.platform == "linux" else "spawn"
multiprocessing.set_forkserver_preload([chip.__name__])


def flash(
    jobs: Sequence[Job], config: Path, roots: Sequence[Path], identities: Path | None, source: bool
) -> int:
    """Flashes the boards and tells what became of them. Returns the exit status."""
    console = Console(highlight=False, soft_wrap=True)
    settings = _read(config, identities, len(jobs))
    with contextlib.ExitStack() as stack:
        book = stack.enter_context(Ledger(identities)) if identities is not None else None
        if book is not None and not book.given:
            click.echo(
                f"{identities}: no board has a row of it yet. If boards got some on another computer, stop, "
                f"and bring {identities}.boards and {identities}.last along from there."
            )
        rack = Rack(jobs, config, settings, roots, book, source, console)
        try:
            rack.flash()
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

    file: the configuration's. config: what it says, of which a row of the ledger replaces keys. source: .py
    in place of .mpy.
    """

    jobs: Sequence[Job]
    file: Path
    config: Mapping
    roots: Sequence[Path]
    ledger: Ledger | None = None
    source: bool = False
    console: Console = field(default_factory=Console)
    outcomes: list[Outcome] = field(default_factory=list)
    port_of: dict[str, str] = field(default_factory=dict)  # by MAC

    def flash(self) -> None:
        """Flashes all of them at once. One that fails does not stop the others."""
        columns = (
            TextColumn("{task.fields[port]}", markup=False, table_column=Column(no_wrap=True)),
            BarColumn(None, table_column=Column(ratio=1)),
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=3),
            ),
        )
        with (
            _ctrl_c(held=True),
            Progress(*columns, console=self.console, expand=True) as progress,
            contextlib.ExitStack() as stack,
        ):
            attendants = []
            for job in self.jobs:
                attendants.append(_Attendant(self, job, progress))
                self.outcomes.append(attendants[-1].outcome)
                attendants[-1].start()
                stack.callback(attendants[-1].end)
            # Compiled once, while the chips are looked for. What is wrong with it, each board is told.
            with contextlib.suppress(ValueError, OSError):
                board_files(self.config, self.roots, source=self.source)
            with _ctrl_c(held=False):
                for attendant in attendants:
                    attendant.over.wait()

    def image(self, found: chip.Found, row: Mapping[str, str]) -> bytes:
        blocks = found.region.size // littlefs.BLOCK
        # Without its schedule the device reports at once, and shows whether all that is new does.
        kept = {path: data for path, data in found.state.items() if not path.startswith(SCHEDULE)}
        config = {**self.config, **row}
        configuration.check(config)
        # What no row has changed goes as it stands in its file, as `image` and `deploy` send it.
        content = config if config != self.config else self.file
        return board_image(content, self.roots, kept, blocks=blocks, source=self.source)


@contextlib.contextmanager
def _ctrl_c(held: bool) -> Iterator[None]:
    """Holds Ctrl-C back, or lets through what was held back.

    The threads and processes that are begun meanwhile never hear of it: it is for this thread to end them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # up to Python 3.11 it unblocks the signal when it is started
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK if held else signal.SIG_UNBLOCK, {signal.SIGINT})
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Attendant(threading.Thread):
    """Looks after one chip: hands it its identity and its image, and shows how far it is."""

    def __init__(self, rack: Rack, job: chip.Job, progress: Progress) -> None:
        super().__init__(name=job.port, daemon=True)
        self.rack, self.job, self.progress = rack, job, progress
        self.outcome = Outcome(job.port)
        self.stopped = False
        # In place of join(): one that Ctrl-C interrupts makes CPython 3.11 take the thread for ended.
        self.over = threading.Event()
        # The end of a long name is what tells it from others.
        short = job.port if len(job.port) <= PORT_WIDTH else "…" + job.port[1 - PORT_WIDTH :]
        self.task: TaskID = progress.add_task("looking for the chip", port=short, total=None)
        context = multiprocessing.get_context(START)
        self.pipe, its = context.Pipe()
        self.process = context.Process(target=chip.work, args=(its, job), daemon=True)
        self.process.start()
        its.close()

    def run(self) -> None:
        try:
            self._attend()
        finally:
            self.over.set()

    def _attend(self) -> None:
        started = time.monotonic()
        try:
            while self._hear():
                pass
        except (EOFError, ConnectionError):
            self.process.join()
            if not self.stopped:
                self._end(f"its process ended with status {self.process.exitcode}: flash it again")
            elif not self.outcome.done:
                self._end("stopped: flash it again")
        except (ValueError, OSError, Error) as e:
            self._end(str(e))
        self.outcome.seconds = time.monotonic() - started
        if self.rack.ledger is not None and self.outcome.mac:
            self.rack.ledger.note(self.outcome.mac, self.outcome.result)

    def end(self) -> None:
        """Ends the chip's process, whatever it is at, and waits until that is written down."""
        self.stopped = True
        self.process.terminate()
        self.process.join()
        self.over.wait()

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
        port = self.rack.port_of.setdefault(found.mac, self.job.port)
        if port != self.job.port:
            raise ValueError(
                f"its MAC is {found.mac}, as of the board on {port}: they would share an identity. "
                "Nothing was written to it; put one of the two aside."
            )
        self.outcome.mac = found.mac
        row = self.rack.ledger.claim(found.mac) if self.rack.ledger is not None else {}
        self.outcome.device_no = row.get("deviceNo", str(self.rack.config.get("deviceNo", "")))
        self.pipe.send(self.rack.image(found, row))

    def _end(self, result: str, done: bool = False) -> None:
        self.outcome.result, self.outcome.done = printable(result), done
        self._show(result)

    def _show(self, text: str, done: int | None = None, total: int | None = None) -> None:
        self.progress.update(self.task, description=printable(text), completed=done, total=total)


def _table(outcomes: Sequence[Outcome]) -> Text:
    """What became of each board, for people: a line for each, with its result at the end, however long."""
    rows = [("port", "MAC", "deviceNo", "s")]
    rows += [(one.port, one.mac, one.device_no, f"{one.seconds:.1f}") for one in outcomes]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    shown = Text()
    for row, one in zip(rows, [None, *outcomes], strict=True):
        for cell, width in zip(row, widths, strict=True):
            shown.append(set_cell_size(cell, width) + "  ")
        shown.append(
            one.result if one else "result", "bold" if one is None else "green" if one.done else "red"
        )
        shown.append("\n")
    shown.right_crop()
    return shown


def _read(path: Path, identities: Path | None, boards: int) -> dict:
    """The configuration as its file has it, without defaults, once it is right for so many boards.

    Raises ConfigError.
    """
    raw, problem = configuration.read(str(path))
    if problem:
        raise ConfigError(problem)
    row = ledger.read(identities)[0] if identities is not None else {}
    configuration.check({**raw, **row} if isinstance(raw, dict) else raw)
    # A CSV is for more than one board, of which each may be flashed on its own.
    if boards > 1 or identities is not None:
        for name in ledger.NUMBERS:
            if name not in row and raw.get(name, "") not in ("", "auto"):
                raise ConfigError(_shared(path, name, raw[name], identities))
    return raw


def _shared(path: Path, name: str, number: str, identities: Path | None) -> str:
    if identities is not None:
        mend = f"Give {identities} a column {name}"
    else:
        mend = "Give --identities, a CSV with a row for each board (`identities` makes it)"
    other = '"auto"' if name == "deviceNo" else '"", if it cannot be known,'
    return (
        f"all boards would share the {name} {number} of {path}; nothing was written. {mend}, "
        f"or write {other} there."
    )
