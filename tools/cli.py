"""The commands, one short function each: python3 -m tools COMMAND."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import click
import muster

from tools.__main__ import ROOT
from tools.fleet import fleet


class Sentences(click.Group):
    """A fault that a person can cause ends in a sentence, never in a traceback."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except (click.exceptions.Exit, click.Abort, click.ClickException):
            raise
        except (OSError, ValueError, RuntimeError, muster.Error) as e:
            raise click.ClickException(str(e)) from None


@click.group(cls=Sentences, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """muster: devices that enrol once and report for years.

    Everything here runs on a laptop, without a board.
    """
    # Ended politely, it switches its boards and clouds off.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


@main.command()
@click.option(
    "--vm",
    type=click.Choice(["micropython", "cpython"]),
    help="What runs the board's code; MicroPython where it is to be had, else CPython.",
)
def demo(vm: str | None) -> None:
    """The main job: a board enrols with the cloud, reports, loses its power, and carries on."""
    from tools.demo import run

    sys.exit(0 if run(vm) else 1)


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED)
def test(pytest_arguments: tuple[str, ...]) -> None:
    """Runs every test, or those that pytest's own arguments choose."""
    # They mostly wait for each other's clocks and sockets: four at a time keep two cores busy.
    arguments = pytest_arguments or ("-n", "4")
    os.chdir(ROOT)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])


@main.command()
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


@main.command()
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The device's configuration, which becomes its /config.json.",
)
@click.option(
    "--roots",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    required=True,
    help="CA certificate that the device shall trust, PEM or DER; as often as needed.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the board's flash, kept for the next time.",
)
@click.option("--erase", is_flag=True, help="Starts from an erased flash, without the stored secret.")
@click.option("--heap", type=click.IntRange(192), help="MicroPython's heap in KB.")
@click.option("--vm", type=click.Choice(["micropython", "cpython"]), help="What runs the board's code.")
def board(
    config: Path,
    roots: tuple[Path, ...],
    directory: Path,
    erase: bool,
    heap: int | None,
    vm: str | None,
) -> None:
    """Runs a virtual board until Ctrl-C, and prints its serial port."""
    from muster import config as configuration

    from tools.board import Board, files_on, serve
    from tools.factory.image import board_image

    configuration.load(str(config))
    image = board_image(config, roots, {} if erase else files_on(directory))
    serve(Board(directory, image, heap=heap and heap * 1024, vm=vm))


main.add_command(fleet)

if __name__ == "__main__":
    main(prog_name="python3 -m tools")
