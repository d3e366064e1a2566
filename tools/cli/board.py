"""python3 -m tools board: a virtual board in the foreground."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from muster import config as configuration

from tools.common import boards
from tools.common.options import SECRET_FILE, keys, main, vm_option
from tools.common.printable import printable

if TYPE_CHECKING:
    from tools.board import Board

LOOK_S = 0.05


@click.command()
@click.option(
    "--data",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the board's flash, kept for the next time. With --setup it may be left out.",
)
@click.option(
    "--config",
    type=SECRET_FILE,
    help="Flashes the product first, with this configuration.",
)
@click.option(
    "--roots",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="CA certificates that the device shall trust: a file, PEM or DER, or a folder; as often as needed.",
)
@keys()
@main
@click.option("--erase", is_flag=True, help="Starts from an erased file system, without the stored secret.")
@click.option(
    "--setup",
    is_flag=True,
    help="Puts the board among several networks, and tells where a browser of this computer finds its "
    "set-up page: that of --config, or of an example.",
)
@click.option("--bare", is_flag=True, help="A new chip, without firmware: it waits for esptool.")
@click.option(
    "--board", "kind", default="ESP32_GENERIC", show_default=True, help="Its name in firmware/boards.toml."
)
@click.option("--heap", type=click.IntRange(192), help="MicroPython's heap in KB.")
@vm_option
def board(
    directory: Path | None,
    config: Path | None,
    roots: tuple[Path, ...],
    keys: tuple[Path, ...],
    main: Path | None,
    erase: bool,
    setup: bool,
    bare: bool,
    kind: str,
    heap: int | None,
    vm: str | None,
) -> None:
    """Runs a virtual board until Ctrl-C; its serial port takes mpremote, ampy and esptool.

    \b
    Examples:
      python3 -m tools board --data /tmp/board --config config.json --roots /tmp/cloud/ca.pem
      python3 -m tools board --setup
    """
    if main is not None and config is None and not setup:
        raise click.UsageError("--main is flashed with the product: give --config as well.")
    how = (bare, kind, heap and heap * 1024, vm, keys, main)
    if setup:
        serve_set_up(directory, config, roots, erase, *how)
    elif directory is None:
        raise click.UsageError("Missing option '--data'.")
    else:
        serve(prepare(directory, config, roots, erase, *how))


def prepare(
    directory: Path,
    config: Path | None = None,
    roots: Sequence[Path] = (),
    erase: bool = False,
    bare: bool = False,
    kind: str = "ESP32_GENERIC",
    heap: int | None = None,
    vm: str | None = None,
    keys: Sequence[Path] = (),
    main: Path | None = None,
) -> Board:
    """The board in directory, with the product on its flash where there is a config. The rest is Board's.

    What the device keeps of its own stays there, unless erase says otherwise. Raises ValueError.
    """
    # Loaded here: it needs a pseudo-terminal, and the list of all commands does not.
    from tools.board import Board
    from tools.common import littlefs
    from tools.factory.product import board_image

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
        product = board_image(config, roots, before, blocks=blocks, source=source, keys=keys, main=main)
        board.flash.write(product)
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


def serve_set_up(
    directory: Path | None, config: Path | None, roots: Sequence[Path], erase: bool, *how: Any
) -> None:
    """Runs a board whose set-up page can be tried in a browser. how: the rest of prepare()'s arguments.

    Without a config it is an example's, on an erased flash: it would know the networks of the time before.
    Raises ValueError for a configuration without "setup".
    """
    from tools.cli import at_home

    if config is not None and not configuration.load(str(config))["setup"]:
        raise ValueError(f'{config} has no "setup", and such a board no set-up page: add it.')
    with contextlib.ExitStack() as around:
        if config is None:
            config, roots = around.enter_context(at_home.example())
            erase = True
        if directory is None:
            directory = Path(around.enter_context(tempfile.TemporaryDirectory(prefix="muster-board-")))
        board = prepare(directory, config, roots, erase, *how)
        board.set_air(at_home.AIR)
        serve(board, at_home.told())


def serve(board: Board, more: str = "") -> None:
    """Runs board until Ctrl-C. Raises BoardError when it cannot run.

    Says where its serial port is, and its set-up page whenever that opens. more: what else is said first.
    """
    from tools.board import BoardError
    from tools.board.relay import Relay

    with board, Relay(board) as page:
        print(
            f"{board.what}\nserial port: {board.port_link}   (.venv/bin/mpremote connect {board.port_link})\n"
            f"which is {board.port} until it stops\n"
            "Ctrl-C stops the board" + (more and "\n" + more),
            flush=True,
        )
        # A shell that starts it in the background makes it ignore SIGINT.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        seen, opened = 0, False
        with contextlib.suppress(KeyboardInterrupt):
            running = True
            while running:
                # Asked first: what it printed last is shown as well.
                running, output = board.running, board.output
                print(printable(output[seen:]), end="", flush=True)
                seen = len(output)
                if opened != (board.portal is not None):
                    opened = not opened
                    print(f"set-up page: {page.url if opened else 'closed'}", flush=True)
                time.sleep(LOOK_S)
            raise BoardError("the board cannot run; what it printed last says why.")
