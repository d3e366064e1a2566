"""python3 -m tools admit: a product beside China Mobile's document, before it is handed in."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape

from tools.common import files, options
from tools.common.printable import printable

if TYPE_CHECKING:
    from tools.admit.report import Point, Report

COLOURS = {"passed": "green", "failed": "red", "not checked": "yellow"}


@click.command()
@options.config("Or give --port.")
@click.option(
    "--identities",
    type=options.SECRET_FILE,
    help="The batch's CSV. Its first row completes --config; a board in hand has one of its rows.",
)
@options.roots()
@options.keys()
@click.option("--port", help="The serial port of a board in hand, in place of --config.")
@click.option("-o", "--output", type=options.OUTPUT, help="HTML to write: the report, to print.")
@options.as_json
def admit(
    config: Path | None,
    identities: Path | None,
    roots: tuple[Path, ...],
    keys: tuple[Path, ...],
    port: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Goes through China Mobile's document point by point, before a product is handed in.

    With --config the product runs on a virtual board, as it ships, for about two days of virtual time: it
    enrols, reports, is rebooted, and loses its power. The platform in a box answers it. With --port a board
    in hand is asked, reports once to the platform that its configuration names, and is reset.

    Each point has passed, has failed, or could not be checked, and why. The exit status is 1 if one failed.
    Nothing public says how the platform itself tests.

    \b
    Examples:
      python3 -m tools admit --config config.json --identities batch.csv -o report.html
      python3 -m tools admit --port /dev/ttyACM0
    """
    from tools.admit import report

    if (config is None) == (port is None):
        raise click.UsageError("give --config for a product, or --port for a board in hand.")
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    with console.status("") as status:

        def told(act: str) -> None:
            status.update(act)

        if port is not None:
            from tools.admit import hand

            options.refuse_beside("--port", "roots", "keys")
            facts = hand.looked_at(port, identities, told)
        else:
            from tools.admit import trial

            assert config is not None
            facts = trial.gathered(config, identities, roots, keys, told)
    made = report.judged(facts)
    # Before anything is told: whoever listens may hang up.
    if output is not None:
        files.write(output, report.as_html(made))
    if as_json:
        click.echo(json.dumps(report.as_json(made), ensure_ascii=False, indent=2))
    else:
        _tell(made, console)
    if output is not None:
        click.echo(f"{output}: the report, for a browser to print", err=True)
    sys.exit(int(made.failed))


def _tell(made: Report, console: Console) -> None:
    from tools.admit.rules import DOCUMENT, SILENT

    console.print(f"[bold]Admission check[/] {made.at:%Y-%m-%d %H:%M %z}, against {DOCUMENT}")
    console.print(escape(printable(made.facts.subject)))
    console.print(escape(printable(", ".join(f"{name} {value}" for name, value in made.product.items()))))
    for difference in made.facts.differences:
        console.print(escape(f"Not as it ships: {difference}"))
    if made.facts.unseen:
        console.print(f"[bold]{escape(printable(made.facts.hide(made.facts.unseen)))}[/]")
    section = None
    for point in made.points:
        if point.rule.section != section:
            section = point.rule.section
            console.print(f"\n[bold]{escape(section)}[/]")
        _tell_point(point, console)
    console.print(f"\n{SILENT}")
    for point in made.failed_points:
        console.print(f"[{COLOURS['failed']}]{point.number:>3}  {escape(point.rule.asks)}[/]")
    console.print(f"[bold {COLOURS['failed' if made.failed else 'passed']}]{made.result}[/]")


def _tell_point(point: Point, console: Console) -> None:
    verdict = point.verdict
    console.print(
        f"{point.number:>3}  [{COLOURS[verdict.mark]}]{verdict.mark:<11}[/]  {escape(point.rule.asks)}"
        f"  [dim]{escape(point.rule.quote)}[/]"
    )
    console.print(f"     {'':<11}  {escape(printable(verdict.found))}")
    if verdict.advice:
        console.print(f"     {'':<11}  [bold]{escape(printable(verdict.advice))}[/]")
