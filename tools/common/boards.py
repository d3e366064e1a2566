"""Boards by name, and where the file system lies in their flash.

Source: MicroPython's ports/esp32, which has named a partition "vfs" up to 1.25; since 1.26 the firmware takes
what lies between its last partition and the end of the flash chip.
"""

from __future__ import annotations

import functools
import hashlib
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tools.common.littlefs import BLOCK
from tools.common.paths import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BOARDS = ROOT / "firmware" / "boards.toml"
MB = 1 << 20
# Where ESP-IDF's builds put the partition table; a larger bootloader moves it.
TABLES = range(0x8000, 0x11000, 0x1000)
TABLE_BYTES = 0xC00
IMAGE_MAGIC = 0xE9
DATA = 1  # the type of a partition that holds no program


@dataclass(frozen=True)
class BoardType:
    """A row of firmware/boards.toml."""

    name: str
    chip: str
    offset: int
    firmware: str
    flash: tuple[int, ...]
    wifi: str = ""


class Partition(NamedTuple):
    """A row of a partition table; offset and size in bytes."""

    name: str
    type: int
    subtype: int
    offset: int
    size: int


# The last partition of the stock firmware.
STOCK = [Partition("factory", 0, 0, 0x1_0000, 0x1F_0000)]


class Region(NamedTuple):
    """A part of the flash, in bytes."""

    offset: int
    size: int


def board_types() -> dict[str, BoardType]:
    """All that firmware/boards.toml names. Raises ValueError for a row that is wrong."""
    try:
        rows = _parsed(BOARDS.read_text())
    except ValueError as e:
        raise ValueError(f"{BOARDS} is not TOML: {e}") from None
    return {name: _board_type(name, row) for name, row in rows.items()}


@functools.cache
def _parsed(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def _board_type(name: str, row: Any) -> BoardType:
    try:
        board = BoardType(name=name, **{**row, "flash": tuple(mb * MB for mb in row["flash"])})
        if board.flash and isinstance(board.offset, int):
            return board
    except (KeyError, TypeError):
        pass
    raise ValueError(
        f"the row {name} of {BOARDS} is wrong: expected chip, offset, firmware, flash as a list of MB, "
        "and wifi if it has none of its own."
    )


def table_in(flash: bytes, start: int = 0) -> list[Partition]:
    """The partition table in the content of a flash that begins at start. Raises ValueError without one."""
    for address in TABLES:
        at = address - start
        if flash[at : at + 2] == b"\xaa\x50":
            return parse_table(flash[at : at + TABLE_BYTES])
    raise ValueError("there is no partition table in it")


def parse_table(data: bytes) -> list[Partition]:
    """The rows of a partition table as ESP-IDF writes it; raises ValueError where its MD5 does not fit."""
    partitions: list[Partition] = []
    for at in range(0, len(data) - 31, 32):
        row = data[at : at + 32]
        if row[:2] == b"\xaa\x50":
            _, kind, subtype, offset, size, label, _ = struct.unpack("<2sBBII16sI", row)
            name = label.split(b"\0")[0].decode("ascii", "replace")
            partitions.append(Partition(name, kind, subtype, offset, size))
        elif row[:2] == b"\xeb\xeb":
            if row[16:] != hashlib.md5(data[:at]).digest():
                raise ValueError("its partition table is damaged: the MD5 does not fit")
        else:
            break
    return partitions


def filesystem(partitions: list[Partition], flash: int) -> Region:
    """Where MicroPython looks for its file system on a chip of so many bytes of flash. Raises ValueError."""
    named = [partition for partition in partitions if partition.name in ("vfs", "ffat")]
    end = max((partition.offset + partition.size for partition in partitions), default=0)
    region = Region(named[0].offset, named[0].size) if named else Region(end, flash - end)
    if not partitions or region.size < 4 * BLOCK or region.offset + region.size > flash:
        raise ValueError(
            f"the firmware's partitions end at {end:#x}, which leaves no room for a file system on "
            f"{flash // MB} MB of flash: take the firmware for this board, or a board with more flash."
        )
    return Region(region.offset, region.size // BLOCK * BLOCK)


def check_firmware(data: bytes, board: BoardType) -> list[Partition]:
    """The partitions of a firmware file that is for this board; raises ValueError saying what is wrong."""
    expected = f"expected {board.firmware}-….bin as downloaded from micropython.org, for {board.name}"
    if len(data) < TABLES.start or data[0] != IMAGE_MAGIC:
        raise ValueError(f"it is no ESP32 firmware; {expected}.")
    from esptool.targets import CHIP_DEFS

    chip_id = int.from_bytes(data[12:14], "little")
    chips = {rom.IMAGE_CHIP_ID: rom.CHIP_NAME for rom in CHIP_DEFS.values() if hasattr(rom, "IMAGE_CHIP_ID")}
    if chip_id != CHIP_DEFS[board.chip].IMAGE_CHIP_ID:
        raise ValueError(f"it is for {chips.get(chip_id, f'the chip {chip_id}')}; {expected}.")
    try:
        return table_in(data, board.offset)
    except ValueError as e:
        raise ValueError(f"{e}; {expected}.") from None


def read_firmware(path: Path, board: BoardType | None) -> tuple[bytes, list[Partition]]:
    """The content of a firmware file and, if the board is known, its partitions. Raises ValueError."""
    data = path.read_bytes()
    try:
        return data, check_firmware(data, board) if board else []
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from None


def firmware_parts(data: bytes, offset: int) -> list[tuple[int, bytes]]:
    """A firmware file as (address, content), without the gaps that its data partitions leave in it.

    What a device keeps there, such as the secret in its NVS, so outlives new firmware.
    """
    parts = [(offset, data)]
    for partition in table_in(data, offset):
        start, end = partition.offset, partition.offset + partition.size
        address, content = parts[-1]
        gap = content[max(start - address, 0) : max(end - address, 0)]
        if partition.type == DATA and gap.strip(b"\xff") == b"" and start >= address:
            parts[-1:] = [(address, content[: start - address]), (end, content[end - address :])]
    return [(address, content) for address, content in parts if content]
