"""The commands, one short function each: python3 -m tools COMMAND."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path

import click

from tools.common.paths import ROOT
from tools.common.printable import printable

# Commands with a file of their own, which is loaded when one of them is called.
ELSEWHERE = {
    "demo": "tools.cli.demo",
    "board": "tools.cli.board",
    "image": "tools.cli.image",
    "flash": "tools.cli.image",
    "deploy": "tools.factory.deploy",
    "repl": "tools.factory.deploy",
    "roots": "tools.factory.roots",
    "cmei": "tools.factory.identities",
    "identities": "tools.factory.identities",
    "cloud": "tools.cli.cloud",
    "fleet": "tools.cli.fleet",
    "storm": "tools.cli.storm",
    "simulate": "tools.cli.simulate",
    "bench": "tools.cli.bench",
}


class Sentences(click.Group):
    """A fault that a person can cause ends in a sentence, never in a traceback."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *ELSEWHERE])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in ELSEWHERE:
            return getattr(importlib.import_module(ELSEWHERE[name]), name)
        return super().get_command(context, name)

    def invoke(self, context: click.Context) -> object:
        # Not at the top: a process that a command starts may want the library in a world of its own.
        from muster import Error

        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            sys.exit(130)
        except (click.exceptions.Exit, click.ClickException, BrokenPipeError):
            raise
        except (OSError, ValueError, RuntimeError, Error) as e:
            # click makes an Abort of it at a question, CPython 3.11 a RuntimeError while it makes a class.
            if isinstance(e.__context__, KeyboardInterrupt):
                sys.exit(130)
            if isinstance(e, click.Abort):
                raise
            raise click.ClickException(printable(str(e))) from None


@click.group(cls=Sentences, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """muster: devices that enrol once and report for years.

    Everything here runs on a laptop, without a board.
    """
    # Ended politely, it switches its boards and clouds off.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if os.name != "nt":
        # It was made to wait in tools/__main__.py.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


@main.command(context_settings={"ignore_unknown_options": True})
@click.option("--full", is_flag=True, help="Tries all that a device must outlive, with a fresh seed.")
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED)
def test(full: bool, pytest_arguments: tuple[str, ...]) -> None:
    """Runs every test, or those that pytest's own arguments choose."""
    # They mostly wait for each other's clocks and sockets: four at a time keep two cores busy. Neighbours
    # stay together, since they share what a file of tests starts.
    arguments = pytest_arguments or ("-n", "4", "--dist", "worksteal")
    if full:
        arguments = (*arguments, "--full")
    # Without bytecode each of the hundreds of processes that tests start would compile all of it anew.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    os.chdir(ROOT)
    os.execve(sys.executable, [sys.executable, "-m", "pytest", *arguments], environment)
