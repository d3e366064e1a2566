"""The command line: python3 -m tools COMMAND. Each command is a file of its name in this folder."""

from __future__ import annotations

import importlib
import signal
import sys

import click

from tools.common.options import CommandGroup
from tools.common.printable import printable

# The commands by task.
TASKS = {
    "Try": ("demo", "cloud", "board", "storm"),
    "One board": ("ports", "roots", "image", "flash", "deploy", "repl", "doctor", "admit"),
    "Factory": ("cmei", "identities", "labels", "release"),
    "Operator": ("fleet",),
    "Measure": ("test", "bench", "simulate"),
    "Set up": ("completion",),
}

# Modules that Windows lacks, and that what plays a board with a serial port needs.
UNIX_ONLY = ("fcntl", "pty", "termios", "tty", "resource", "pwd", "grp")


class Sentences(CommandGroup):
    """A fault that a person can cause ends in a sentence, never in a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        # Not at the top: a process that a command starts may want the library in a world of its own.
        from muster import Error, log

        # What a command prints may be JSON.
        log.write = lambda level, text: click.echo(f"muster: {text}", err=True)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(130)
        except (click.exceptions.Exit, click.ClickException, BrokenPipeError):
            raise
        except ImportError as e:
            if e.name not in UNIX_ONLY:
                raise
            raise click.ClickException(
                f"this command needs the module {e.name}, which Windows does not have: run it in WSL, the "
                "Windows Subsystem for Linux."
            ) from None
        except (OSError, ValueError, RuntimeError, Error) as e:
            # click makes an Abort of it at a question, CPython 3.11 a RuntimeError while it makes a class.
            if isinstance(e.__context__, KeyboardInterrupt):
                sys.exit(130)
            if isinstance(e, click.Abort):
                raise
            raise click.ClickException(printable(_sentence(e))) from None


def _sentence(e: Exception) -> str:
    """The error's own; of the operating system's errors the file and what was wrong with it."""
    if isinstance(e, OSError) and e.filename is not None:
        return f"{e.filename} cannot be used: {e.strerror}. Check the path and its permissions."
    return str(e)


class Commands(Sentences):
    """The commands by task, each loaded when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in TASKS.values() for name in names]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        return getattr(importlib.import_module(f"tools.cli.{cmd_name}"), cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as e:
            # click looks for similar names only among commands that are loaded.
            names = self.list_commands(ctx)
            raise click.NoSuchCommand(e.command_name, possibilities=names, ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for task, names in TASKS.items():
            self.write_commands(task, names, ctx, formatter)


def _version(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if asked:
        import muster

        click.echo(f"muster {muster.__version__}")
        ctx.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="The version."
)
def main() -> None:
    """muster: devices that enrol once and report for years.

    Everything here runs on a laptop, without a board.
    """
    # Ended politely, it switches its boards and clouds off.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if hasattr(signal, "pthread_sigmask"):
        # It was made to wait in tools/__main__.py.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
