"""Boards flashed, one or a rack of them at once: a thread looks after each."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import serial
from esptool import FatalError
from muster import config as configuration
from muster.errors import ConfigError, Error

from tools.common import boards, littlefs
from tools.common.rows import Row
from tools.factory import batch, linetest, ports, setaside
from tools.factory.chip import ROM_BAUD, Chip, chip_name
from tools.factory.enrolment import wait_for_enrolment
from tools.factory.ledger import Ledger
from tools.factory.product import STATE, board_files, board_image
from tools.factory.raw_repl import LOOK_S, RawRepl

SCHEDULE = STATE + "schedule."
# How long Ctrl-C waits for chips to be let go of.
END_S = 2


@dataclass(frozen=True)
class Settings:
    """What every board of a rack gets.

    config: the configuration's file. board: what the boards are, or None to ask each chip. firmware: the
    content of a firmware file, or None to keep what is there. wait: seconds for a device to enrol, 0 for not
    waiting. source: .py in place of .mpy. keys: public ones, by which the boards know releases. release: the
    files of one, in place of new ones. check: what a board must pass before it enrols. main: the program that
    becomes main.py, or None for ours.
    """

    config: Path
    roots: Sequence[Path]
    board: boards.BoardType | None = None
    firmware: bytes | None = None
    erase: bool = False
    baud: int = 460800
    wait: int = 0
    source: bool = False
    keys: Sequence[Path] = ()
    release: Mapping[str, bytes] | None = None
    check: linetest.Check | None = None
    main: Path | None = None

    @property
    def product(self) -> dict[str, Any]:
        """What board_files() takes besides the configuration."""
        return {
            "roots": self.roots,
            "source": self.source,
            "keys": self.keys,
            "release": self.release,
            "main": self.main,
        }


@dataclass
class BoardResult:
    """What became of one board. outcome: enrolled, flashed, failed or stopped; said: a sentence.

    identity: what it is known by. check: PASS or FAIL, with what the check said of it, or "" where it has not
    ended. started, written, ended: Unix seconds, None for what was not reached.
    """

    port: str
    board: str = ""
    mac: str = ""
    identity: dict[str, str] = field(default_factory=dict)
    check: str = ""
    outcome: str = "stopped"
    said: str = "stopped: flash it again"
    started: int | None = None
    written: int | None = None
    ended: int | None = None
    seconds: float = 0.0

    @property
    def done(self) -> bool:
        return self.outcome in ("enrolled", "flashed")


# Called with a board's result so far, what it is at, and the bytes done of those in all.
Show = Callable[[BoardResult, str, int, int], None]


class Interrupted(Exception):
    """Somebody pressed Ctrl-C."""


class Rack:
    """Boards on their ports, and what they get.

    config: of read_config(), of which a row of the ledger replaces keys.
    """

    def __init__(
        self, settings: Settings, config: Mapping, places: Sequence[str], ledger: Ledger | None, show: Show
    ) -> None:
        self.settings, self.config, self.ledger, self.show = settings, config, ledger, show
        self.stopped = threading.Event()
        self.port_of: dict[str, str] = {}  # by MAC
        self._places = [Place(self, port) for port in places]

    @property
    def results(self) -> list[BoardResult]:
        return [place.result for place in self._places]

    def flash(self) -> None:
        """Flashes all of them at once. One that fails does not stop the others; Ctrl-C stops all."""
        try:
            for place in self._places:
                place.start()
            # Compiled once, while the chips are looked for. What is wrong with it, each board is told.
            with contextlib.suppress(ValueError, OSError):
                board_files(self.config, **self.settings.product)
            for place in self._places:
                # Not without a timeout: on Windows Ctrl-C would not be heard.
                while not place.over.wait(0.5):
                    pass
        finally:
            self.stopped.set()
            until = time.monotonic() + END_S
            for place in self._places:
                place.over.wait(max(0, until - time.monotonic()))
                place.close()


class Place(threading.Thread):
    """Looks after the board on one port: from its chip over its identity to its enrolment."""

    def __init__(self, rack: Rack, port: str) -> None:
        super().__init__(name=port, daemon=True)
        self.rack, self.result = rack, BoardResult(port)
        # In place of join(): one that Ctrl-C interrupts makes CPython 3.11 take the thread for ended.
        self.over = threading.Event()
        self._begun = time.monotonic()
        self._closing = threading.Lock()

    def run(self) -> None:
        self.result.started = int(time.time())
        outcome, said = "failed", "it came to nothing: flash it again"
        try:
            outcome, said = self._flash()
        except Interrupted:
            outcome, said = "stopped", "stopped: flash it again"
        except (FatalError, OSError) as e:
            reason = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
            said = f"the chip stopped answering: {reason}. Check its cable, and flash it again."
        except (ValueError, RuntimeError, Error) as e:
            said = str(e)
        finally:
            try:
                self.close(outcome, said)
            finally:
                self.over.set()

    def close(self, outcome: str = "stopped", said: str = "stopped: flash it again") -> None:
        """Writes down what became of the board, once."""
        with self._closing:
            if self.result.ended is not None:
                return
            # A board that is flashed and waited for when Ctrl-C comes is flashed.
            if not (self.result.done and outcome == "stopped"):
                self.result.outcome, self.result.said = outcome, said
            self.result.ended = int(time.time())
            self.result.seconds = time.monotonic() - self._begun
            try:
                if self.rack.ledger is not None and self.result.mac:
                    self.rack.ledger.note(self.result.mac, self.result.said, self.result.check)
            except (OSError, ValueError) as e:
                self.result.said += f" (which the journal does not say: {e})"
        self._show(self.result.said, 1, 1)

    def _flash(self) -> tuple[str, str]:
        settings = self.rack.settings
        self._show("looking for the chip")
        with ports.opened(self.result.port, ROM_BAUD) as line:
            self._write(line)
            if settings.check is not None:
                self._run_check(settings.check, line)
            self.result.outcome, self.result.said = "flashed", "flashed, not enrolled yet"
            if not settings.wait:
                return "flashed", "flashed"
            self._show("waiting for it to enrol", 1, 1)
            wait_for_enrolment(line, settings.wait, self._heard, self._check_stopped)
            return "enrolled", "enrolled"

    def _write(self, line: serial.Serial) -> None:
        """Writes all that the board gets, and starts it."""
        settings = self.rack.settings
        chip = Chip(line)
        board = self._board(chip)
        chip.speed_up(settings.baud)
        size = chip.flash_size()
        records = {} if settings.erase else chip.records(size) or setaside.records(chip.mac)
        region = self._region(chip, board, size)
        image = self._image(region, records, chip.mac)
        firmware = [] if settings.firmware is None else boards.firmware_parts(settings.firmware, board.offset)
        with setaside.kept(chip.mac, records):
            chip.write(firmware, region.offset, image, settings.erase, self._writing)
        chip.start()
        self.result.written = int(time.time())

    def _run_check(self, check: linetest.Check, line: serial.Serial) -> None:
        """Starts the product of a board that passes. Raises ValueError for one that does not."""
        self._show("waiting for its prompt", 1, 1)
        linetest.wait_for_prompt(line, self._check_stopped)
        with contextlib.ExitStack() as failed:
            board = RawRepl(line)
            failed.callback(board.close)
            self._show("being checked", 1, 1)
            self.result.check = linetest.verdict(board, check, self._heard, self._check_stopped)
            if not linetest.passed(self.result.check):
                raise ValueError(
                    "it has not enrolled, and keeps its identity: put it right, and flash it again."
                )
            linetest.start(board)
            failed.pop_all()
        line.timeout = LOOK_S

    def _board(self, chip: Chip) -> boards.BoardType:
        settings = self.rack.settings
        board = settings.board or chip.board()
        self.result.board = board.name
        if chip.name != chip_name(board):
            raise ValueError(
                f"the chip is an {chip.name}, and {board.name} has an {chip_name(board)}: "
                "give the right --board, or none."
            )
        if settings.firmware is not None:
            boards.check_firmware(settings.firmware, board)
        return board

    def _region(self, chip: Chip, board: boards.BoardType, size: int) -> boards.Region:
        firmware = self.rack.settings.firmware
        try:
            table = chip.partitions() if firmware is None else boards.table_in(firmware, board.offset)
            return boards.filesystem(table, size)
        except ValueError as e:
            hint = "" if firmware else " Give --firmware to write MicroPython as well."
            raise ValueError(f"the flash: {e}.{hint}") from None

    def _image(self, region: boards.Region, records: Mapping[str, bytes], mac: str) -> bytes:
        """The image with the board's identity, which it has from here on, whatever happens to it."""
        rack = self.rack
        # Without its schedule the device reports at once, and shows whether all that is new does.
        kept = {path: data for path, data in records.items() if not path.startswith(SCHEDULE)}
        blocks = region.size // littlefs.BLOCK
        try:
            config = batch.completed(rack.config, self._claim(mac))
            configuration.check(config)
            # What no row has changed goes as it stands in its file, as `image` and `deploy` send it.
            given = config if config != rack.config else rack.settings.config
            held = linetest.HELD if rack.settings.check is not None else None
            return board_image(given, before=kept, blocks=blocks, renamed=held, **rack.settings.product)
        except OSError as e:
            raise ValueError(str(e)) from None  # of a file, and not of the chip

    def _claim(self, mac: str) -> dict[str, str]:
        self._check_stopped()
        port = self.rack.port_of.setdefault(mac, self.result.port)
        if port != self.result.port:
            raise ValueError(
                f"its MAC is {mac}, as of the board on {port}: they would share an identity. "
                "Nothing was written to it; put one of the two aside."
            )
        self.result.mac = mac
        row = self.rack.ledger.claim(mac) if self.rack.ledger is not None else {}
        config: dict[str, Any] = {**self.rack.config, **row}
        self.result.identity = {name: str(config[name]) for name in batch.NUMBERS if config.get(name)}
        return row

    def _writing(self, done: int, total: int) -> None:
        self._check_stopped()
        self._show("writing", done, total)

    def _heard(self, line: str) -> None:
        self._show(line, 1, 1)

    def _check_stopped(self) -> None:
        if self.rack.stopped.is_set():
            raise Interrupted

    def _show(self, text: str, done: int = 0, total: int = 0) -> None:
        self.rack.show(self.result, text, done, total)


def read_config(path: Path, identities: Path | None, count: int, row: Row | None = None) -> tuple[dict, dict]:
    """The configuration as its file has it, and the first board's, checked: right for so many boards.

    row: the first of identities, if they are not written yet. Raises ConfigError.
    """
    raw, problem = configuration.read(str(path))
    if problem:
        raise ConfigError(problem)
    if row is None:
        row = batch.read(identities)[0] if identities is not None else {}
    if isinstance(raw, dict):
        _check_setup(path, raw, identities, batch.SETUP_KEY in row)
    first = configuration.check(batch.completed(raw, row) if isinstance(raw, dict) else raw)
    # A CSV is for more than one board, of which each may be flashed on its own.
    if count > 1 or identities is not None:
        for name in batch.NUMBERS:
            if name not in row and raw.get(name, "") not in ("", "auto"):
                raise ConfigError(_shared(path, name, f"{name} {raw[name]}", identities))
        if raw.get("setup", {}).get("key") and batch.SETUP_KEY not in row:
            raise ConfigError(_shared(path, batch.SETUP_KEY, batch.SETUP_KEY, identities))
    return raw, first


def _check_setup(path: Path, raw: Mapping, identities: Path | None, keyed: bool) -> None:
    """Whether each board has a key for its access point, where it has one. keyed: the CSV has the column."""
    setup = raw.get("setup", {})
    if keyed and setup == {}:
        raise ConfigError(
            f'{identities} has the column {batch.SETUP_KEY}, and {path} no "setup": add "setup": '
            '{"name": "…"} there, or take the column out.'
        )
    if not keyed and isinstance(setup, dict) and setup and "key" not in setup:
        raise ConfigError(
            f'{path} has "setup", and no key for the access point. {_mend(batch.SETUP_KEY, identities)}, '
            'or write "key" there: for one board 8 to 63 characters, or "" for open access points.'
        )


def _shared(path: Path, column: str, what: str, identities: Path | None) -> str:
    others = {"deviceNo": '"auto"', batch.SETUP_KEY: '"", for open access points,'}
    other = others.get(column, '"", if it cannot be known,')
    return (
        f"all boards would share the {what} of {path}; nothing was written. {_mend(column, identities)}, "
        f"or write {other} there."
    )


def _mend(column: str, identities: Path | None) -> str:
    """What gives each board its own."""
    how = "`identities --setup-keys` makes it" if column == batch.SETUP_KEY else "`identities` makes it"
    if identities is None:
        return f"Give --identities, a CSV with a row for each board ({how})"
    return f"Give {identities} a column {column}" + (f" ({how})" if column == batch.SETUP_KEY else "")
