"""One chip on one serial port, by esptool. Runs in a process of its own: esptool's log belongs to a process.

work() tells what happens through a pipe, as tuples of a word and its values:

    found, Found            the chip answers; the other end sends the image, or hangs up
    writing, done, total    bytes
    written                 all of it is in flash, compared with what was sent, and the chip was reset
    said, line              of the device's own log, as it came
    enrolled                the device says so
    failed, sentence        the last word, if it comes
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import esptool.cmds
import serial
from esptool import FatalError
from esptool.loader import ESPLoader
from esptool.logger import TemplateLogger, log
from esptool.reset import ResetStrategy
from esptool.targets import CHIP_DEFS

from tools.common import boards, littlefs
from tools.common import files as private
from tools.common.paths import state_folder
from tools.factory.product import STATE

# Whole lines of the device's log: what a cloud says stands further inside of one.
ENROLLED = re.compile(r"muster: (?:enrolled as|reported;|the next report is due in) ")
REFUSED = re.compile(r"muster: (?:warning: put this right|this board is not set up): ")
LONGEST = 4096
REOPEN_S = 5
# LittleFS looks at little of most blocks, and a serial line is slow.
PIECE = 512
# Without its first pair of blocks nothing of a file system is to be found.
ANCHOR = 2 * littlefs.BLOCK


@dataclass(frozen=True)
class Job:
    """What to do with the chip on a port.

    firmware: the content of a firmware file, or None to keep what is there. wait: seconds for the device to
    enrol, 0 for not waiting.
    """

    port: str
    board: boards.BoardType
    firmware: bytes | None = None
    erase: bool = False
    baud: int = 460800
    wait: int = 0


@dataclass(frozen=True)
class Found:
    """A chip: its MAC, where its new file system is to lie, and what the device wrote into its old one."""

    mac: str
    region: boards.Region
    state: dict[str, bytes]


class Failed(Exception):
    """The chip cannot be written; the text is a sentence for whoever stands before it."""


def work(pipe: Connection, job: Job) -> None:
    """Does the job. Ctrl-C reaches this process as well, and is its parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    said = _Progress()
    log.set_logger(said)  # type: ignore[arg-type]
    try:
        with _opened(job) as line:
            chip = _connect(line, job)
            found = _find(chip, job)
            pipe.send(("found", found))
            image: bytes = pipe.recv()
            _write(chip, job, found, image, pipe, said)
            pipe.send(("written",))
            if job.wait:
                _watch(line, job, pipe)
    except Failed as e:
        pipe.send(("failed", str(e)))
    except (EOFError, BrokenPipeError):
        pass  # the parent has given up
    except (FatalError, serial.SerialException, OSError) as e:
        reason = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        pipe.send(("failed", f"the chip stopped answering: {reason}. Check its cable, and flash it again."))


@contextlib.contextmanager
def _opened(job: Job) -> Iterator[serial.Serial]:
    if not re.match(r"\w+://", job.port) and not os.path.exists(job.port):
        raise Failed(f"there is no port {job.port}: is the board plugged in? `--all` finds the ports.")
    try:
        line = serial.serial_for_url(job.port, ESPLoader.ESP_ROM_BAUD, exclusive=True)
    except (serial.SerialException, OSError, ValueError) as e:
        busy = "lock" in str(e) or "busy" in str(e)
        reason = "is in use by another program: close that first" if busy else f"cannot be opened: {e}"
        raise Failed(f"the port {job.port} {reason}.") from None
    with line:
        yield line


def _connect(line: serial.Serial, job: Job) -> ESPLoader:
    # A port without reset lines, such as a virtual board's, warns past the logger.
    ResetStrategy.print_once.already_printed = True
    try:
        try:
            chip = esptool.cmds.detect_chip(line)  # type: ignore[arg-type]
        except FatalError:
            if not line.is_open:
                raise  # nothing has answered
            # It takes an answer that comes late for that to its next question, and is lost from there on.
            chip = esptool.cmds.detect_chip(line)  # type: ignore[arg-type]
    except FatalError:
        raise Failed(
            f"no chip answers on {job.port}: hold BOOT, press RESET, let go of BOOT, and try again."
        ) from None
    expected = CHIP_DEFS[job.board.chip].CHIP_NAME
    if expected != chip.CHIP_NAME:
        raise Failed(
            f"the chip is an {chip.CHIP_NAME}, and {job.board.name} has an {expected}: "
            "give the right --board."
        )
    chip = esptool.cmds.run_stub(chip)
    try:
        chip.change_baud(job.baud)
    except ValueError:
        raise Failed(
            f"the port {job.port} cannot do {job.baud} bits a second: give another --baud."
        ) from None
    return chip


def _find(chip: ESPLoader, job: Job) -> Found:
    esptool.cmds.attach_flash(chip)
    size = esptool.cmds.detect_flash_size(chip)
    if not size:
        raise Failed("the chip does not tell the size of its flash, which decides where the files lie.")
    flash = int(size.removesuffix("MB")) * boards.MB if size.endswith("MB") else 0
    mac = ":".join(f"{byte:02x}" for byte in chip.read_mac())
    state = {} if job.erase else _state(chip, flash) or _put_aside(mac)
    try:
        partitions = _table(chip) if job.firmware is None else boards.table_in(job.firmware, job.board.offset)
        return Found(mac, boards.filesystem(partitions, flash), state)
    except ValueError as e:
        hint = "" if job.firmware else " Give --firmware to write MicroPython as well."
        raise Failed(f"the flash: {e}.{hint}") from None


def _table(chip: ESPLoader) -> list[boards.Partition]:
    """Its partition table; raises ValueError without one. What lies behind it is not worth the time."""
    for address in boards.TABLES:
        found = boards.parse_table(chip.read_flash(address, boards.TABLE_BYTES))
        if found:
            return found
    raise ValueError("there is no partition table in it")


def _state(chip: ESPLoader, flash: int) -> dict[str, bytes]:
    """The records of the device, above all its secret: it is fetched once, and outlives what is flashed.

    They lie where the firmware has its file system that wrote them, not the one that is to be written.
    """
    try:
        region = boards.filesystem(_table(chip), flash)

        def fetch(piece: int) -> bytes:
            return chip.read_flash(region.offset + piece * PIECE, PIECE)

        return littlefs.read_blocks(littlefs.Blocks(fetch, PIECE), region.size // littlefs.BLOCK, STATE)
    except ValueError:
        return {}


def _put_aside(mac: str) -> dict[str, bytes]:
    """The records that an earlier flashing had read, and did not bring back to the chip."""
    path = _aside(mac)
    try:
        return {name: bytes.fromhex(record) for name, record in json.loads(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as e:
        raise Failed(
            f"{path}, which keeps the device's secret since it was last flashed, cannot be read: {e}. "
            "Mend it, or remove it to have the device fetch its secret anew."
        ) from None


def _aside(mac: str) -> Path:
    return state_folder() / f"{mac.replace(':', '-')}.json"


@contextlib.contextmanager
def _aside_while_written(found: Found) -> Iterator[None]:
    """Keeps the device's records on disk until its flash has them again."""
    path = _aside(found.mac)
    try:
        if found.state:
            path.parent.mkdir(parents=True, exist_ok=True)
            private.write(path, json.dumps({name: data.hex() for name, data in found.state.items()}).encode())
        else:
            path.unlink(missing_ok=True)
    except OSError as e:
        raise Failed(
            f"nothing was written, since what the device keeps could not be put aside for it: {e}"
        ) from None
    yield
    path.unlink(missing_ok=True)


def _write(chip: ESPLoader, job: Job, found: Found, image: bytes, pipe: Connection, said: _Progress) -> None:
    start = found.region.offset
    (_, first), *rest = littlefs.used(image)
    firmware = boards.firmware_parts(job.firmware, job.board.offset) if job.firmware is not None else []
    # The anchor is erased first and written last: where a file system is found, all of it was written.
    parts = [
        *firmware,
        (start + ANCHOR, first[ANCHOR:]),
        *((start + offset, data) for offset, data in rest),
        (start, first[:ANCHOR]),
    ]
    total = sum(len(data) for _, data in parts)
    said.wrote = lambda done: pipe.send(("writing", done, total))
    with _aside_while_written(found):
        if not job.erase:
            chip.erase_region(start, ANCHOR)
        # Each part is compared with the flash by its MD5: before, so as not to write it twice, and after.
        esptool.cmds.write_flash(chip, parts, erase_all=job.erase, skip_flashed=not job.erase)
    # The stub starts the program; reset lines do so more thoroughly where there are any. Its answer is not
    # waited for: esptool would read the first lines of the device's log along with it.
    chip.command(chip.ESP_CMDS["FLASH_END"], bytes(4), wait_response=False)
    chip._port.baudrate, chip._port.timeout = ESPLoader.ESP_ROM_BAUD, 0.2
    chip.hard_reset()


def _watch(line: serial.Serial, job: Job, pipe: Connection) -> None:
    """Reads the device's log until it says that it is enrolled, or what only a person can put right."""
    until = time.monotonic() + job.wait
    heard, last = b"", ""
    while time.monotonic() < until:
        try:
            # As far as it came in time; what follows belongs to the same line.
            heard = heard[:LONGEST] + line.readline()
        except (serial.SerialException, OSError):
            _reopen(line)
            heard = b"?"  # it may go on in the midst of a line
            continue
        if not heard.endswith(b"\n"):
            continue
        said, heard = heard.decode(errors="replace").rstrip(), b""
        if said.startswith("muster: "):
            last = said
            pipe.send(("said", said))
        if ENROLLED.match(said):
            pipe.send(("enrolled",))
            return
        if REFUSED.match(said):
            raise Failed(f"it is written, and cannot enrol or report. It said: {said}")
    what = f"The last it said: {last}" if last else "It said nothing."
    raise Failed(f"it is written, and did not enrol within {job.wait} s. {what}")


def _reopen(line: serial.Serial) -> None:
    """A port that the chip's own USB makes is gone for a moment in a reset."""
    line.close()
    for _ in range(REOPEN_S * 10):
        time.sleep(0.1)
        with contextlib.suppress(serial.SerialException, OSError):
            line.open()
            return
    raise serial.SerialException("its port has not come back")


class _Progress(TemplateLogger):
    """Of all that esptool says, how many bytes it has written."""

    def __init__(self) -> None:
        self.wrote: Callable[[int], None] = lambda _: None
        self.before = self.now = self.part = 0

    def progress_bar(
        self, cur_iter: int, total_iters: int, prefix: str = "", suffix: str = "", bar_length: int = 30
    ) -> None:
        if cur_iter < self.now or total_iters != self.part:
            self.before += self.part
        self.now, self.part = cur_iter, total_iters
        self.wrote(self.before + self.now)

    def print(self, *args: Any, **kwargs: Any) -> None:
        pass

    def note(self, message: str) -> None:
        pass

    warning = error = set_verbosity = note

    def stage(self, finish: bool = False) -> None:
        pass
