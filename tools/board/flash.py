"""The flash of a virtual board: the whole chip's in one file, or a folder for a board under CPython."""

from __future__ import annotations

import shutil
from pathlib import Path

from tools.board.firmware import bootable, firmware
from tools.board.folder import put
from tools.common import boards, littlefs


class Flash:
    """A chip's flash, kept in a file.

    size: of a new chip, in bytes. bare: a new chip is erased; otherwise it has a firmware.
    Raises ValueError when the file that is there is no such chip's flash.
    """

    def __init__(self, path: Path, board: boards.BoardType, size: int, bare: bool = False) -> None:
        self.path, self.board = path, board
        if not path.exists():
            content = b"" if bare else board.offset * b"\xff" + firmware(board)
            put(path, content.ljust(size, b"\xff"))
        elif not path.is_file():
            raise ValueError(f"{path} is no file, and so not the flash of a board: move it away.")
        elif (found := path.stat().st_size) not in (size, *board.flash):
            sizes = ", ".join(str(size // boards.MB) for size in board.flash)
            raise ValueError(
                f"{path} is damaged: it has {found:,} bytes, expected one of {sizes} MB. "
                "Delete it, and the board gets a new one."
            )

    @property
    def bootable(self) -> bool:
        """Whether the chip finds a bootloader where it looks for one, and that its partition table."""
        try:
            return bool(self.region) and bootable(self._head(), self.board)
        except ValueError:
            return False

    @property
    def region(self) -> boards.Region:
        """Where the firmware in it has its file system. Raises ValueError without a firmware."""
        try:
            return boards.filesystem(boards.table_in(self._head()), self.path.stat().st_size)
        except ValueError as error:
            raise ValueError(
                f"{self.path} has no firmware that could hold files ({error}): "
                "flash one, or delete it, and the board gets a new one."
            ) from None

    def write(self, image: bytes) -> None:
        """Replaces the file system."""
        region = self.region
        with self.path.open("r+b") as f:
            f.seek(region.offset)
            f.write(image.ljust(region.size, b"\xff"))

    def image(self) -> bytes:
        """The file system's part."""
        region = self.region
        with self.path.open("rb") as f:
            f.seek(region.offset)
            return f.read(region.size)

    def files(self) -> dict[str, bytes]:
        """The files in it: path -> content. Raises ValueError when there is no file system."""
        return littlefs.read(self.image())

    def _head(self) -> bytes:
        with self.path.open("rb") as f:
            return f.read(boards.TABLES.stop + boards.TABLE_BYTES)


class FlashFolder:
    """What a board under CPython has in place of flash."""

    bootable = True
    region = boards.filesystem(boards.STOCK, 4 * boards.MB)

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700, exist_ok=True)

    def write(self, image: bytes) -> None:
        """Replaces the files by those of an image."""
        shutil.rmtree(self.path)
        self.path.mkdir(mode=0o700)
        for name, content in littlefs.read(image).items():
            path = self.path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def image(self) -> bytes:
        """The files, packed as they would lie on flash."""
        return littlefs.build(self.files(), self.region.size // littlefs.BLOCK, 0)

    def files(self) -> dict[str, bytes]:
        """The files: path -> content."""
        files = sorted(path for path in self.path.rglob("*") if path.is_file())
        return {f"/{path.relative_to(self.path)}": path.read_bytes() for path in files}
