"""A virtual board in the foreground: python3 -m tools board."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from muster import config as configuration

from tools.board.board import LOOK_S, Board, BoardError
from tools.common import boards, littlefs
from tools.common.printable import printable
from tools.factory.product import board_image


def prepare(
    directory: Path,
    config: Path | None = None,
    roots: Sequence[Path] = (),
    erase: bool = False,
    bare: bool = False,
    kind: str = "ESP32_GENERIC",
    heap: int | None = None,
    vm: str | None = None,
) -> Board:
    """The board in directory, with the product on its flash where there is a config. The rest is Board's.

    What the device keeps of its own stays there, unless erase says otherwise. Raises ValueError.
    """
    types = boards.board_types()
    if kind not in types:
        raise ValueError(f"the board {kind!r} is not known; expected one of {', '.join(types)}.")
    if bare and config is not None:
        raise ValueError("a bare chip has no file system for a configuration: leave out --bare or --config.")
    if config is not None:
        configuration.load(str(config))
    size = types[kind].flash[0]
    board = Board(directory, kind=kind, flash=size, bare=bare, heap=heap, vm=vm, mac=_mac(directory))
    if config is not None:
        blocks = board.flash.region.size // littlefs.BLOCK
        before = {} if erase else _files(board)
        source = board.vm == "cpython"
        board.flash.write(board_image(config, roots, before, blocks=blocks, source=source))
    elif erase:
        board.flash.write(b"")
    return board


def _mac(directory: Path) -> bytes:
    """One of Espressif's, and at every start this folder's own."""
    return bytes.fromhex("240ac4") + hashlib.sha256(os.fsencode(directory.resolve())).digest()[:3]


def _files(board: Board) -> dict[str, bytes]:
    with contextlib.suppress(ValueError):
        return board.files()
    return {}


def serve(board: Board) -> None:
    """Runs board until Ctrl-C, and says where its serial port is. Raises BoardError when it cannot run."""
    with board:
        print(
            f"{board.what}\nserial port: {board.port}   (.venv/bin/mpremote connect {board.port})\n"
            "Ctrl-C stops the board",
            flush=True,
        )
        # A shell that starts it in the background makes it ignore SIGINT.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        seen = 0
        with contextlib.suppress(KeyboardInterrupt):
            running = True
            while running:
                # Asked first: what it printed last is shown as well.
                running, output = board.running, board.output
                print(printable(output[seen:]), end="", flush=True)
                seen = len(output)
                time.sleep(LOOK_S)
            raise BoardError("the board cannot run; what it printed last says why.")
