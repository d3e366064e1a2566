"""python3 -m tools image: the product as an image of a board's file system."""

from __future__ import annotations

import json
from pathlib import Path

import click
from cryptography import x509

from tools.common import boards, files, littlefs, options
from tools.factory.keys import key_files
from tools.factory.product import board_files, built
from tools.factory.release import product
from tools.factory.roots import ends_soon


@click.command()
@options.config()
@options.roots()
@options.keys()
@options.release
@options.main
@click.option(
    "--mpy/--source", default=True, show_default=True, help="The library as compiled files (.mpy), or as .py."
)
@options.board("Without it the image is for 4 MB of flash with MicroPython 1.26 or later.")
@click.option("--flash-size", type=click.IntRange(2, 32), help="MB of flash; by default what it mostly has.")
@click.option(
    "--firmware",
    type=options.FILE,
    help="MicroPython's firmware for the board; its partition table says where the file system begins.",
)
@click.option("-o", "--output", type=options.SECRET_OUTPUT, default="muster.img", show_default=True)
@options.as_json
def image(
    config: Path,
    roots: tuple[Path, ...],
    keys: tuple[Path, ...],
    release: Path | None,
    main: Path | None,
    mpy: bool,
    board: boards.BoardType | None,
    flash_size: int | None,
    firmware: Path | None,
    output: Path,
    as_json: bool,
) -> None:
    """Makes the LittleFS image of the whole product.

    It is to be written where the board's file system lies; `flash` makes and writes one by itself.

    Example: python3 -m tools image --board ESP32_GENERIC_S3 --config config.json
    """
    from muster import config as configuration

    settings = configuration.load(str(config))
    taken = None
    if release is not None:
        options.refuse_beside("--release", "roots", "main", "mpy")
        taken = product(release, key_files(keys), settings)
    if board is None and (flash_size or firmware):
        raise click.UsageError("--flash-size and --firmware are of a board: give --board as well.")
    megabytes = flash_size or (board.flash[0] // boards.MB if board else 4)
    partitions = boards.read_firmware(firmware, board)[1] if board and firmware else boards.STOCK
    region = boards.filesystem(partitions, megabytes * boards.MB)
    contents = board_files(config, roots, source=not mpy, keys=keys, release=taken, main=main)
    made = littlefs.build(contents, region.size // littlefs.BLOCK, built())
    # Before anything is told: whoever listens may hang up.
    files.write(output, made)
    used = sum(len(data) for _, data in littlefs.used(made))
    found = [data for path, data in sorted(contents.items()) if path.startswith("/roots/")]
    warnings = list(filter(None, map(ends_soon, map(x509.load_der_x509_certificate, found))))
    if as_json:
        report = {
            "output": str(output),
            "board": board.name if board else None,
            "flashMB": megabytes,
            "offset": region.offset,
            "bytes": len(made),
            "used": used,
            "warnings": warnings,
            "files": {path: len(data) for path, data in sorted(contents.items())},
        }
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
        return
    if board is not None:
        click.echo(f"{board.name} with {megabytes} MB of flash")
    for path, data in sorted(contents.items()):
        click.echo(f"{len(data):8}  {path}")
    total, left = sum(map(len, contents.values())), len(made) - used
    click.echo(
        f"{total:8}  bytes in {len(contents)} files, {used // 1024} KB on flash, {left // 1024} KB left"
    )
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(f"{output}: {len(made)} bytes, for the flash from {region.offset:#x} on")
