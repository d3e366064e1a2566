"""python3 -m tools storm."""

from __future__ import annotations

import json
import sys

import click
from rich.console import Console
from rich.markup import escape

from tools.common.options import NumberRange, as_json
from tools.common.vm import find_micropython

BOARDS, MINUTES = 4, 1.0


@click.command()
@click.option(
    "--boards", type=click.IntRange(1, 50), default=BOARDS, show_default=True, help="How many boards."
)
@click.option(
    "--minutes", type=NumberRange(0.1, 1440), default=MINUTES, show_default=True, help="How long it lasts."
)
@click.option(
    "--seed",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Of the random faults: the same seed gives the same ones.",
)
@as_json
def storm(boards: int, minutes: float, seed: int, as_json: bool) -> None:
    """Lets random faults happen to virtual boards and their clouds, to watch.

    The power, the flash, the network, the clocks and the clouds fail. Then all is calm, and every board has
    to report again. Exit status 1 if one did not, 130 after Ctrl-C.

    \b
    Example:
      python3 -m tools storm --boards 8 --minutes 5
    """
    # Loaded here: it needs a pseudo-terminal, and the list of all commands does not.
    from tools.cli.weather import watch

    if find_micropython() is None:
        raise click.ClickException(
            "a storm needs MicroPython, and there is none for this computer: install one with VfsLfs2 as "
            "`micropython` on PATH; on Windows, use WSL."
        )
    console = Console(highlight=False, soft_wrap=True, stderr=as_json)
    storm = watch(boards, minutes, seed, console)
    console.print(
        f"storm: {storm.tried:,} tried, {len(storm.failures)} failures, {storm.losses} losses; "
        f"{escape(storm.note)}"
    )
    for failure in storm.failures:
        console.print(f"[red]{escape(failure)}[/]")
    if as_json:
        results = ("tried", "failures", "losses", "note", "interrupted")
        told = {"boards": boards, "minutes": minutes, "seed": seed}
        click.echo(json.dumps(told | {name: getattr(storm, name) for name in results}))
    sys.exit(130 if storm.interrupted else 1 if storm.failures or storm.losses else 0)
