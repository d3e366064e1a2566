"""LittleFS images of the vfs partition, as the ESP32 port formats and mounts it.

Source: extmod/vfs_lfsx.c and extmod/vfs_lfs.c of MicroPython for the parameters and the time attribute.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from littlefs import LittleFS, LittleFSError
from littlefs.context import UserContext

BLOCK = 4096
# What VfsLfs2 of MicroPython 1.26 and later writes itself.
DISK_VERSION = 0x0002_0001
# The one before it knew no checksum of what follows a directory's log.
WITHOUT_CHECKSUM = 0x0002_0000
# Bytes that LittleFS looks at together, at least.
LOOK = 128
# What VfsLfs2 keeps with each file: nanoseconds since 1970, 64 bits, little-endian.
MTIME = 1


class Memory(UserContext):
    """A file system in memory. The package's own tells a log of every piece, thousands of times an image."""

    def read(self, cfg: Any, block: int, off: int, size: int) -> bytearray:
        start = block * BLOCK + off
        return self.buffer[start : start + size]

    def prog(self, cfg: Any, block: int, off: int, data: bytes) -> int:
        start = block * BLOCK + off
        self.buffer[start : start + len(data)] = data
        return 0

    def erase(self, cfg: Any, block: int) -> int:
        return self.prog(cfg, block, 0, b"\xff" * BLOCK)


class Blocks(UserContext):
    """A file system to read, of which each piece is fetched when it is first looked at.

    fetch: from a piece's number to its content. piece: its size in bytes, by default a block's.
    """

    def __init__(self, fetch: Callable[[int], bytes], piece: int = BLOCK) -> None:
        super().__init__(buffer=bytearray())
        self.seen: set[int] = set()
        self.failure: BaseException | None = None
        self._fetch, self._piece = functools.cache(fetch), piece
        # A block that is fetched whole is looked at whole: each look costs a call from C.
        self.look = BLOCK if piece == BLOCK else LOOK

    def read(self, cfg: Any, block: int, off: int, size: int) -> bytearray:
        self.seen.add(block)
        start = block * BLOCK + off
        first, last = start // self._piece, (start + size - 1) // self._piece
        try:
            content = b"".join(self._fetch(n) for n in range(first, last + 1))
            return bytearray(content[start - first * self._piece :][:size])
        except BaseException as e:
            # LittleFS would not hear of it, and take for read whatever was in its buffer.
            self.failure = e
            return bytearray(size)


def build(files: Mapping[str, bytes], blocks: int, built: int) -> bytes:
    """An image of blocks times 4,096 bytes that holds files.

    files: path -> content; directories are made. built: Unix seconds, the time that every file carries.
    The same arguments give the same bytes. Raises ValueError when the files do not fit.
    """
    context = Memory(buffer=bytearray(b"\xff" * blocks * BLOCK))
    with _ctrl_c_held_back():
        _fill(context, files, blocks, built)
        _compact(context, blocks)
    return bytes(context.buffer)


def _fill(context: UserContext, files: Mapping[str, bytes], blocks: int, built: int) -> None:
    filesystem = _filesystem(context, blocks, WITHOUT_CHECKSUM)
    mtime = (built * 1_000_000_000).to_bytes(8, "little")
    try:
        filesystem.format()
        filesystem.mount()
        for path in sorted(files):
            if "/" in path.strip("/"):
                filesystem.makedirs(path.strip("/").rpartition("/")[0], exist_ok=True)
            with filesystem.open(path, "wb") as f:
                f.write(files[path])
            filesystem.setattr(path, MTIME, mtime)
    except LittleFSError as error:
        if error.code != LittleFSError.Error.LFS_ERR_NOSPC:
            raise
        content = sum(map(len, files.values()))
        raise ValueError(
            f"{len(files)} files of {content} bytes do not fit into {blocks} blocks of {BLOCK} bytes: "
            "leave files out or choose a larger partition."
        ) from None
    filesystem.unmount()


def _compact(context: UserContext, blocks: int) -> None:
    """Writes each directory anew: what was a log of how its files came about is then a list of them.

    A board reads all of a directory's log whenever it looks up a name: this halves what it reads to start.
    """
    filesystem = _filesystem(context, blocks)
    filesystem.mount()
    # A log without the checksum may go on in flash that is not erased, which collecting garbage mends.
    filesystem.fs_gc()
    filesystem.unmount()


def read(image: bytes) -> dict[str, bytes]:
    """The files in an image: path -> content. Raises ValueError when there is no file system in it."""
    return read_blocks(_blocks_of(image), len(image) // BLOCK)


def read_blocks(source: Blocks, blocks: int, folder: str = "/") -> dict[str, bytes]:
    """The files in and below folder; only the blocks that this takes are fetched.

    Raises ValueError when there is no file system, and what fetching has raised.
    """
    filesystem = _filesystem(source, blocks, look=source.look)
    files = {}
    try:
        filesystem.mount()
        for directory, _, names in filesystem.walk(folder):
            for name in names:
                path = f"{directory.rstrip('/')}/{name}"
                with filesystem.open(path, "rb") as f:
                    files[path] = f.read()
    except LittleFSError as error:
        if source.failure is None and error.code != LittleFSError.Error.LFS_ERR_NOENT:
            raise ValueError(f"this is not a LittleFS image of {BLOCK}-byte blocks: {error}") from None
    if source.failure is not None:
        raise source.failure
    return files


def used(image: bytes) -> list[tuple[int, bytes]]:
    """The parts of an image that somebody who mounts it ever looks at: (offset, content), without gaps.

    They are all that has to be written, whatever the flash held before: metadata comes in pairs of blocks,
    and an unwritten one of a pair is looked at as well, so an older one must not be left there.
    """
    source = _blocks_of(image)
    read_blocks(source, len(image) // BLOCK)
    parts: list[tuple[int, bytes]] = []
    for block in sorted(source.seen):
        offset, content = block * BLOCK, image[block * BLOCK : (block + 1) * BLOCK]
        if parts and parts[-1][0] + len(parts[-1][1]) == offset:
            parts[-1] = (parts[-1][0], parts[-1][1] + content)
        else:
            parts.append((offset, content))
    return parts


@contextlib.contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Raised within a callback of LittleFS it would be lost, and with it a piece of the image."""
    if threading.current_thread() is not threading.main_thread():
        yield  # where it is never raised
        return
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        signal.raise_signal(signal.SIGINT)


def _blocks_of(image: bytes) -> Blocks:
    return Blocks(lambda block: image[block * BLOCK : (block + 1) * BLOCK])


def _filesystem(context: UserContext, blocks: int, version: int = DISK_VERSION, look: int = LOOK) -> LittleFS:
    return LittleFS(
        context=context,
        mount=False,
        block_size=BLOCK,
        block_count=blocks,
        read_size=32,
        prog_size=32,
        cache_size=look,
        lookahead_size=32,
        block_cycles=100,
        disk_version=version,
    )
