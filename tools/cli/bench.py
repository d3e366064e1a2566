"""python3 -m tools bench."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import time

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.bench.figure import Figure
from tools.common.extras import need
from tools.common.options import as_json
from tools.common.progress import steps

# Each a module of tools.bench with measure(tell), which returns its figures.
TOPICS = (
    *("tokens", "wire", "chat", "loop", "toy", "start"),
    *("size", "memory", "native", "board", "update", "portal", "fleet"),
)

VERDICTS = {True: "[green]reached[/]", False: "[red]missed[/]", None: ""}


@click.command()
@click.option(
    "--only", "only", type=click.Choice(TOPICS), multiple=True, help="Only this topic, as often as needed."
)
@as_json
def bench(only: tuple[str, ...], as_json: bool) -> None:
    """Measures speed and size in one run, beside what a person would otherwise take.

    What the board would do, the real MicroPython VM does here. Ratios are what count, both sides of each
    measured in the same run. Exit status 1 if a topic could not be measured, 130 after Ctrl-C; a missed
    target is a result. What it takes from PyPI is left out where that is out of reach.

    \b
    Example:
      python3 -m tools bench --only memory --only size
    """
    need("test")
    figures, failures, interrupted = measure([topic for topic in TOPICS if not only or topic in only])
    if as_json:
        click.echo(
            json.dumps([dataclasses.asdict(figure) for figure in figures], indent=2, ensure_ascii=False)
        )
    else:
        show(figures)
    for failure in failures:
        click.secho(failure, fg="red", err=True)
    sys.exit(130 if interrupted else 1 if failures else 0)


def measure(topics: list[str]) -> tuple[list[Figure], list[str], bool]:
    """The figures of these topics, a sentence for each that could not be measured, and if it was Ctrl-C."""
    figures: list[Figure] = []
    failures = []
    interrupted = False
    with steps(Console(stderr=True, highlight=False), len(topics)) as (tell, done):
        for topic in topics:
            tell(topic)
            started = time.monotonic()
            try:
                figures += importlib.import_module(f"tools.bench.{topic}").measure(tell)
            except KeyboardInterrupt:
                failures.append(f"{topic} was interrupted")
                interrupted = True
                break
            except Exception as e:
                failures.append(f"{topic} could not be measured: {type(e).__name__}: {e}")
            tell(f"{topic}: {time.monotonic() - started:.0f} s")
            done()
    return figures, failures, interrupted


def show(figures: list[Figure]) -> None:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "beside", "target", "found", ""):
        table.add_column(heading, overflow="fold")
    for figure in figures:
        words = (figure.what, figure.beside, figure.target, figure.found)
        table.add_row(*map(escape, words), VERDICTS[figure.met])
    console.print(table)
    for figure in figures:
        if figure.note:
            console.print(f"{escape(figure.what)}: {escape(figure.note)}")
