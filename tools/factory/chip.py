"""One chip on one serial port, by esptool: what it is, what is in its flash, and what is written there.

Every wait for a chip ends by esptool's own timeouts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import esptool.cmds
import serial
from esp_pylib.logger import EspLogBase
from esptool import FatalError
from esptool.loader import ESPLoader
from esptool.logger import log
from esptool.targets import CHIP_DEFS

from tools.common import boards, littlefs
from tools.factory.ports import opened
from tools.factory.product import STATE

ROM_BAUD = ESPLoader.ESP_ROM_BAUD
# LittleFS looks at little of most blocks, and a serial line is slow.
PIECE = 512
# Without its first pair of blocks nothing of a file system is to be found.
ANCHOR = 2 * littlefs.BLOCK

# Called with how much of how much of a part is written, in the thread that writes.
_progress: ContextVar[Callable[[int, int], None]] = ContextVar("progress", default=lambda done, total: None)


class Chip:
    """A chip whose bootloader answers on an open line.

    name: esptool's, as ESP32-S3. mac: its base MAC. Methods raise FatalError and OSError when it stops
    answering. Raises ValueError when it does not answer at all.
    """

    def __init__(self, line: serial.Serial) -> None:
        self._line, self._resets = line, _has_reset_lines(line)
        mode = "default-reset" if self._resets else "no-reset"
        try:
            try:
                self._esp = esptool.cmds.detect_chip(line, connect_mode=mode)  # type: ignore[arg-type]
            except FatalError:
                if not line.is_open:
                    raise  # nothing has answered
                # It takes an answer that comes late for that to its next question, and is lost from there on.
                self._esp = esptool.cmds.detect_chip(line, connect_mode=mode)  # type: ignore[arg-type]
        except FatalError:
            raise ValueError(
                f"no chip answers on {line.port}: hold BOOT, press RESET, let go of BOOT, and try again."
            ) from None
        self.name: str = self._esp.CHIP_NAME
        self.mac = ":".join(f"{byte:02x}" for byte in self._esp.read_mac())

    def board(self) -> boards.BoardType:
        """The only board of boards.toml that has this chip. Raises ValueError naming those that have."""
        fitting = [board for board in boards.board_types().values() if chip_name(board) == self.name]
        if len(fitting) == 1:
            return fitting[0]
        names = " and ".join(board.name for board in fitting) or "none"
        raise ValueError(f"the boards with an {self.name} are {names}: give --board.")

    def speed_up(self, baud: int) -> None:
        """Loads esptool's flasher, which is fast, and sets so many bits a second. Raises ValueError."""
        self._esp = esptool.cmds.run_stub(self._esp)
        try:
            self._esp.change_baud(baud)
        except ValueError:
            raise ValueError(
                f"the port {self._line.port} cannot do {baud} bits a second: give another --baud."
            ) from None
        esptool.cmds.attach_flash(self._esp)

    def flash_size(self) -> int:
        """Bytes. Raises ValueError."""
        size = esptool.cmds.detect_flash_size(self._esp)
        if not size:
            raise ValueError(
                "the chip does not tell the size of its flash, which decides where the files lie."
            )
        return int(size.removesuffix("MB")) * boards.MB if size.endswith("MB") else 0

    def partitions(self) -> list[boards.Partition]:
        """Its partition table; raises ValueError without one. What lies behind it is not worth the time."""
        for address in boards.TABLES:
            found = boards.parse_table(self._esp.read_flash(address, boards.TABLE_BYTES))
            if found:
                return found
        raise ValueError("there is no partition table in it")

    def records(self, flash: int) -> dict[str, bytes]:
        """What the device wrote, above all its secret: it is fetched once, and outlives what is flashed.

        It lies where the firmware has its file system that wrote it, not the one that is to be written.
        """
        try:
            region = boards.filesystem(self.partitions(), flash)

            def fetch(piece: int) -> bytes:
                return self._esp.read_flash(region.offset + piece * PIECE, PIECE)

            return littlefs.read_blocks(littlefs.Blocks(fetch, PIECE), region.size // littlefs.BLOCK, STATE)
        except ValueError:
            return {}

    def write(
        self,
        firmware: list[tuple[int, bytes]],
        start: int,
        image: bytes,
        erase: bool,
        told: Callable[[int, int], None],
    ) -> None:
        """Writes firmware (address, content) and a file system from start on; compares all that was written.

        erase: the whole chip first. told: called with the bytes written, and those in all.
        """
        (_, first), *rest = littlefs.used(image)
        # The anchor is erased first and written last: where a file system is found, all of it was written.
        parts = [
            *firmware,
            (start + ANCHOR, first[ANCHOR:]),
            *((start + offset, data) for offset, data in rest),
            (start, first[:ANCHOR]),
        ]
        _progress.set(_Sum(sum(len(data) for _, data in parts), told))
        if not erase:
            self._esp.erase_region(start, ANCHOR)
        # Each part is compared with the flash by its MD5: before, so as not to write it twice, and after.
        esptool.cmds.write_flash(self._esp, parts, erase_all=erase, skip_flashed=not erase)

    def start(self) -> None:
        """Starts what is in its flash."""
        if self._esp.IS_STUB:
            # Its answer is not waited for: esptool would read the first lines of the device's log with it.
            self._esp.command(self._esp.ESP_CMDS["FLASH_END"], bytes(4), wait_response=False)
        self._line.baudrate, self._line.timeout = ROM_BAUD, 0.2
        if self._resets:
            self._esp.hard_reset()  # more thorough than the flasher
        elif not self._esp.IS_STUB:
            self._esp.soft_reset(False)


def identify(port: str) -> tuple[str, str]:
    """The name and the MAC of the chip on a port, which starts anew by this. Raises Lost and ValueError."""
    try:
        with opened(port, ROM_BAUD) as line:
            chip = Chip(line)
            chip.start()
            return chip.name, chip.mac
    except (FatalError, OSError) as e:
        raise ValueError(f"the chip on {port} stopped answering: {e}") from None


def chip_name(board: boards.BoardType) -> str:
    """What esptool calls the chip of a board."""
    return CHIP_DEFS[board.chip].CHIP_NAME


def _has_reset_lines(line: serial.Serial) -> bool:
    """A virtual board's port has none."""
    try:
        line.cts  # noqa: B018
        return True
    except OSError:
        return False


class _Sum:
    """Adds up what esptool tells of one part after the other."""

    def __init__(self, total: int, told: Callable[[int, int], None]) -> None:
        self._total, self._told = total, told
        self._before = self._now = self._part = 0

    def __call__(self, done: int, part: int) -> None:
        if done < self._now or part != self._part:
            self._before += self._part
        self._now, self._part = done, part
        self._told(self._before + done, self._total)


class _Quiet(EspLogBase):
    """Of all that esptool says, only its progress is heard."""

    def progress_bar(
        self, cur_iter: int, total_iters: int, prefix: str = "", suffix: str = "", bar_length: int = 30
    ) -> None:
        _progress.get()(cur_iter, total_iters)

    def _say_nothing(self, *args: Any, **kwargs: Any) -> None:
        pass

    print = err = error = warn = warning = note = hint = debug = set_verbosity = _say_nothing


# Its logger is the process's, and can be given once.
log.set_logger(_Quiet())
