"""Where the commands lie that do not lie in a file of their name yet.

This file goes with the last of them; then get_command in tools/cli/main.py ends in

    return getattr(importlib.import_module(f"tools.cli.{cmd_name}"), cmd_name)
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import click

ELSEWHERE = {
    "flash": "tools.cli.image",
    "deploy": "tools.factory.deploy",
    "repl": "tools.factory.deploy",
    "roots": "tools.factory.roots",
    "cmei": "tools.factory.identities",
    "identities": "tools.factory.identities",
    "demo": "tools.cli.moving",
    "cloud": "tools.cli.moving",
    "board": "tools.cli.moving",
}


def command(name: str) -> click.Command | None:
    try:
        module = importlib.import_module(f"tools.cli.{name}")
    except ModuleNotFoundError as e:
        if e.name != f"tools.cli.{name}":
            raise
    else:
        if isinstance(getattr(module, name, None), click.Command):
            return getattr(module, name)
    return getattr(importlib.import_module(ELSEWHERE[name]), name) if name in ELSEWHERE else None


@click.command()
@click.option(
    "--vm",
    type=click.Choice(["micropython", "cpython"]),
    help="What runs the board's code; MicroPython where it is to be had, else CPython.",
)
def demo(vm: str | None) -> None:
    """The main job: a board enrols with the cloud, reports, loses its power, and carries on."""
    from tools.cli.demo import run

    sys.exit(0 if run(vm) else 1)


@click.command()
@click.option(
    "--devices",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV of the devices that are imported: productId,productKey,deviceNoType,deviceNo[,cellular].",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="TCP port; by default a free one.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the state and the CA, kept for the next time; by default nothing is kept.",
)
def cloud(devices: Path | None, port: int, data: Path | None) -> None:
    """Runs the clouds in a box until Ctrl-C. Its page shows the devices and their heartbeats."""
    from tools.cloud import serve

    serve(devices, port, data)


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the board's flash, kept for the next time.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Flashes the product first, with this configuration.",
)
@click.option(
    "--roots",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="CA certificates that the device shall trust: a file, PEM or DER, or a folder; as often as needed.",
)
@click.option("--erase", is_flag=True, help="Starts from an erased file system, without the stored secret.")
@click.option("--bare", is_flag=True, help="A new chip, without firmware: it waits for esptool.")
@click.option(
    "--board", "kind", default="ESP32_GENERIC", show_default=True, help="Its name in firmware/boards.toml."
)
@click.option("--heap", type=click.IntRange(192), help="MicroPython's heap in KB.")
@click.option("--vm", type=click.Choice(["micropython", "cpython"]), help="What runs the board's code.")
def board(
    directory: Path,
    config: Path | None,
    roots: tuple[Path, ...],
    erase: bool,
    bare: bool,
    kind: str,
    heap: int | None,
    vm: str | None,
) -> None:
    """Runs a virtual board until Ctrl-C; its serial port takes mpremote, ampy and esptool."""
    from tools.cli.board import prepare, serve

    serve(prepare(directory, config, roots, erase, bare, kind, heap and heap * 1024, vm))
