"""What commands ask in common: --config, --roots, --port, --board, --data, --json mean the same everywhere.

An option that a command may be called without says in the command's own words what happens then.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from tools.common import files
from tools.common.paths import ROOT

if TYPE_CHECKING:
    from tools.common.boards import BoardType

Decorator = Callable[[Any], Any]  # of a command


class SecretPath(click.Path):
    """click's, for a file that holds keys: warns if git has it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path: Any = super().convert(value, param, ctx)
        if not (ctx and ctx.resilient_parsing) and files.is_tracked(path):
            click.echo(
                f"Warning: git tracks {path}, which holds keys or identities: whoever has the repository has "
                f"them. Take it out: git rm --cached {path}. Change the keys if it was pushed.",
                err=True,
            )
        return path


FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
OUTPUT = click.Path(dir_okay=False, path_type=Path)
SECRET_FILE = SecretPath(exists=True, dir_okay=False, path_type=Path)
SECRET_OUTPUT = SecretPath(dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


class NumberRange(click.FloatRange):
    """click's, without nan: nothing is less or more than it, so that it would be in every range."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


class BoardName(click.ParamType):
    """A name in firmware/boards.toml; the command gets the BoardType."""

    name = "NAME"

    def convert(
        self, value: str | BoardType, param: click.Parameter | None, ctx: click.Context | None
    ) -> BoardType:
        if not isinstance(value, str):
            return value
        from tools.common.boards import board_types

        types = board_types()
        if value not in types:
            self.fail(f"{value!r} is not known; expected one of {', '.join(types)}.", param, ctx)
        return types[value]

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from tools.common.boards import board_types

        return [CompletionItem(name) for name in board_types() if name.startswith(incomplete)]


class CommandGroup(click.Group):
    """click's, whose help has the first sentence of each command's own help, and cuts none off."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.write_commands("Commands", self.list_commands(ctx), ctx, formatter)

    def write_commands(
        self, title: str, names: Iterable[str], ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        commands = {name: self.get_command(ctx, name) for name in names}
        with formatter.section(title):
            formatter.write_dl(
                [(name, first_sentence(command.help or "")) for name, command in commands.items() if command]
            )


def first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s", " ".join(text.split()), maxsplit=1)[0]


def config(without: str | None = None) -> Decorator:
    """--config FILE: required, unless `without` says what happens otherwise. Path | None."""
    text = f"The device's configuration, which becomes its /config.json. {without or ''}"
    return click.option("--config", type=SECRET_FILE, required=without is None, help=text)


def roots(without: str | None = None) -> Decorator:
    """--roots PATH, as often as needed: firmware/roots, unless `without` says otherwise. tuple[Path, ...]"""
    ours = [ROOT / "firmware" / "roots"] if without is None else []
    return click.option(
        "--roots",
        type=click.Path(exists=True, path_type=Path),
        multiple=True,
        default=ours,
        help="A CA certificate that the device trusts, PEM or DER, or a folder of them. Repeat the option "
        f"to give several. {without or 'By default those in firmware/roots.'}",
    )


def keys(without: str = "") -> Decorator:
    """--keys PATH, as often as needed; `without` says what happens otherwise. tuple[Path, ...]"""
    return click.option(
        "--keys",
        type=click.Path(exists=True, path_type=Path),
        multiple=True,
        help="A public key, PEM, by which the device knows releases, or a folder of them. Repeat the "
        f"option to give several. {without or 'Needed where the configuration has updates, and only there.'}",
    )


def board(without: str) -> Decorator:
    """--board NAME; `without` says what happens otherwise. BoardType | None."""
    return click.option(
        "--board", type=BoardName(), help=f"The board's name in firmware/boards.toml. {without}"
    )


def refuse_beside(option: str, *names: str) -> None:
    """Raises UsageError if one of these parameters was typed as well, which would count for nothing."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            [typed] = [p.opts[0] for p in context.command.params if p.name == name]
            raise click.UsageError(f"{typed} says nothing beside {option}: leave one of them out.")


def data(kept: str, required: bool = False) -> Decorator:
    """--data FOLDER, where a command keeps its state for the next run: `kept` says which. Path | None."""
    return click.option("--data", type=FOLDER, required=required, help=kept)


# Path | None
main = click.option(
    "--main",
    type=FILE,
    help="The program that becomes main.py, such as one in firmware/examples; the library follows what it "
    "imports. By default the main.py of this folder.",
)
# str | None: the only board that is plugged in, if it is left out.
port = click.option(
    "--port",
    help="The board's serial port; a virtual board's is DATA/port. Without it, the only one plugged in.",
)
# Path | None
release = click.option(
    "--release",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder that `release` made: its files, once --keys have verified them, in place of new ones.",
)
# A tuple of str.
ports = click.option("--port", "ports", multiple=True, help="A serial port. Repeat it for several boards.")
# bool
as_json = click.option("--json", "as_json", is_flag=True, help="Prints JSON for programs on stdout.")
vm_option = click.option(
    "--vm",
    type=click.Choice(["micropython", "cpython"]),
    help="What runs the board's code: MicroPython where there is one for this computer, else CPython.",
)
