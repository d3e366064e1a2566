"""What stands in the flash of a virtual board where MicroPython's firmware stands in a real one's.

The VM runs in its place. The headers and the partition table are real: esptool reads them, and so do we.
"""

from __future__ import annotations

import functools
import hashlib
import struct
import tempfile
from pathlib import Path

from tools.common.boards import IMAGE_MAGIC, BoardType

TABLE = 0x8000
APP = 0x10000
APP_ROOM = 0x1F0000
# name, type, subtype, offset, size: MicroPython 1.26 and later on 4 MB or more. The file system has no row.
PARTITIONS = (
    ("nvs", 1, 2, 0x9000, 0x6000),
    ("phy_init", 1, 1, 0xF000, 0x1000),
    ("factory", 0, 0, APP, APP_ROOM),
)


def firmware(
    board: BoardType, app: bytes = b"the VM of the laptop runs in its place", table: bytes = b""
) -> bytes:
    """A firmware file for a board, to be written at board.offset. app: what stands for the program."""
    image = _bootloader(board.chip).ljust(TABLE - board.offset, b"\xff")
    image += (table or partition_table(PARTITIONS)).ljust(APP - TABLE, b"\xff")
    return image + app


def partition_table(rows: tuple[tuple[str, int, int, int, int], ...]) -> bytes:
    """The rows as ESP-IDF writes them, with their MD5."""
    data = b"".join(
        struct.pack("<2sBBII16sI", b"\xaa\x50", kind, subtype, offset, size, name.encode(), 0)
        for name, kind, subtype, offset, size in rows
    )
    return data + b"\xeb\xeb".ljust(16, b"\xff") + hashlib.md5(data).digest()


def bootable(flash: bytes, board: BoardType) -> bool:
    """Whether the chip's ROM finds a bootloader where it looks for one."""
    return flash[board.offset] == IMAGE_MAGIC


@functools.cache
def _bootloader(chip: str) -> bytes:
    from esptool.bin_image import ELFSection
    from esptool.targets import CHIP_DEFS

    image = CHIP_DEFS[chip].BOOTLOADER_IMAGE()
    image.segments.append(ELFSection(b"none", 0, bytes(16), 0))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bootloader.bin"
        image.save(str(path))
        return path.read_bytes()
