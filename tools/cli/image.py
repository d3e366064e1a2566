"""python3 -m tools image, flash: the commands, one short function each."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tools.common import boards, littlefs
from tools.common import files as private
from tools.common.paths import ROOT
from tools.factory.product import board_files, built

# What a chip without PSRAM has room for without a thought.
MANY_ROOTS = 4

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_config = click.option(
    "--config", type=_file, required=True, help="The device's configuration, which becomes its /config.json."
)
_roots = click.option(
    "--roots",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    default=[ROOT / "firmware" / "roots"],
    show_default="firmware/roots",
    help="CA certificates that the device shall trust: a file, PEM or DER, or a folder; as often as needed.",
)
_source = click.option("--source", is_flag=True, help="The library as .py, not compiled to .mpy.")
_firmware = click.option("--firmware", type=_file, help="MicroPython's firmware for the board.")


def _board(context: click.Context, parameter: click.Parameter, name: str | None) -> boards.BoardType | None:
    types = boards.board_types()
    if name is not None and name not in types:
        raise click.BadParameter(f"{name!r} is not known; expected one of {', '.join(types)}.")
    return types[name] if name is not None else None


@click.command()
@_config
@_roots
@_source
@click.option("--board", callback=_board, help="Its name in firmware/boards.toml.")
@click.option("--flash-size", type=click.IntRange(2, 32), help="MB of flash; by default what it mostly has.")
@_firmware
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default="muster.img", show_default=True
)
def image(
    config: Path,
    roots: tuple[Path, ...],
    source: bool,
    board: boards.BoardType | None,
    flash_size: int | None,
    firmware: Path | None,
    output: Path,
) -> None:
    """Makes the LittleFS image of the whole product, to be written where the board's file system lies.

    Without --board it is for 4 MB of flash with MicroPython 1.26 or later. With --firmware the partition
    table inside that file says where the file system begins.
    """
    from muster import config as configuration

    configuration.load(str(config))
    size = _size(board, flash_size, firmware)
    partitions = _partitions(firmware, board) if board and firmware else boards.STOCK
    region = boards.filesystem(partitions, size)
    files = board_files(config, roots, source=source)
    content = littlefs.build(files, region.size // littlefs.BLOCK, built())
    # Before anything is told: whoever listens may hang up.
    private.write(output, content)
    if board is not None:
        click.echo(f"{board.name} with {size // boards.MB} MB of flash")
    _tell(files, content)
    click.echo(f"{output}: {len(content)} bytes, for the flash from {region.offset:#x} on")


def _size(board: boards.BoardType | None, flash_size: int | None, firmware: Path | None) -> int:
    if board is None:
        if flash_size or firmware:
            raise click.UsageError("--flash-size and --firmware are of a board: give --board as well.")
        return 4 * boards.MB
    return flash_size * boards.MB if flash_size else board.flash[0]


def _partitions(firmware: Path, board: boards.BoardType) -> list[boards.Partition]:
    try:
        return boards.check_firmware(firmware.read_bytes(), board)
    except ValueError as e:
        raise ValueError(f"{firmware}: {e}") from None


def _tell(files: dict[str, bytes], content: bytes) -> None:
    """What goes in, and what is left."""
    for path, data in sorted(files.items()):
        click.echo(f"{len(data):8}  {path}")
    total, used = sum(map(len, files.values())), sum(len(data) for _, data in littlefs.used(content))
    left = len(content) - used
    click.echo(f"{total:8}  bytes in {len(files)} files, {used // 1024} KB on flash, {left // 1024} KB left")
    roots = sum(path.startswith("/roots/") for path in files)
    if roots > MANY_ROOTS:
        click.echo(
            f"{roots} CA roots take about {3 * roots} KB of memory while a session is open: "
            "keep those of your servers (`roots HOST` finds them), and give only these with --roots."
        )


@click.command()
@click.option("--board", callback=_board, required=True, help="Its name in firmware/boards.toml.")
@click.option("--port", "ports", multiple=True, help="Serial port; as often as there are boards.")
@click.option("--all", "everywhere", is_flag=True, help="Every USB serial port.")
@_firmware
@_config
@_roots
@_source
@click.option(
    "--identities", type=_file, help="CSV of identities; each board gets the next free row, and keeps it."
)
@click.option("--erase", is_flag=True, help="Erases the whole chip first, the device's secret with it.")
@click.option(
    "--baud",
    type=click.IntRange(9600, 5_000_000),
    default=460800,
    show_default=True,
    help="Bits a second on the line.",
)
@click.option("--no-wait", is_flag=True, help="Does not wait until the devices have enrolled.")
@click.option(
    "--wait", type=click.IntRange(1), default=60, show_default=True, help="Seconds that enrolling may take."
)
def flash(
    board: boards.BoardType,
    ports: tuple[str, ...],
    everywhere: bool,
    firmware: Path | None,
    config: Path,
    roots: tuple[Path, ...],
    source: bool,
    identities: Path | None,
    erase: bool,
    baud: int,
    no_wait: bool,
    wait: int,
) -> None:
    """Writes firmware and product onto one board or a rack of them, and waits until they have enrolled.

    Without --firmware only the file system is written. The secret that a device keeps on flash outlives
    this, unless --erase says otherwise. Flashed again, it reports at once, which shows whether the platform
    takes its new configuration.
    """
    try:
        from tools.factory import rack

        if erase and firmware is None:
            raise click.UsageError("--erase leaves no firmware on the chip: give --firmware as well.")
        chosen = list(dict.fromkeys([*ports, *(rack.usb_ports() if everywhere else [])]))
        if not chosen:
            found = ", ".join(rack.usb_ports()) or "none; is the board plugged in?"
            raise click.UsageError(f"give --port or --all. USB serial ports here: {found}")
        content = None
        if firmware is not None:
            _partitions(firmware, board)
            content = firmware.read_bytes()
        jobs = [rack.Job(port, board, content, erase, baud, 0 if no_wait else wait) for port in chosen]
        sys.exit(rack.flash(jobs, config, roots, identities, source))
    except KeyboardInterrupt:
        click.echo(
            "stopped: flash the boards that are not done again, from this computer, "
            "which keeps their secrets until then.",
            err=True,
        )
        sys.exit(130)
