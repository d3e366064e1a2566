"""python3 -m tools bench."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.bench.figure import Figure
from tools.common.progress import steps

# Each a module of this package with measure(tell), which returns its figures.
TOPICS = ("tokens", "wire", "chat", "loop", "toy", "start", "size", "memory", "native", "board", "fleet")

VERDICTS = {True: "[green]reached[/]", False: "[red]missed[/]", None: ""}


@click.command()
@click.option(
    "--only", "only", type=click.Choice(TOPICS), multiple=True, help="Only this topic, as often as needed."
)
@click.option(
    "--json",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also writes the table to this file.",
)
def bench(only: tuple[str, ...], file: Path | None) -> None:
    """Measures speed and size in one run, beside what a person would otherwise take.

    What the board would do, the real MicroPython VM does here. Ratios are what count, both sides of each
    measured in the same run. Exit status 1 if a topic could not be measured, 130 after Ctrl-C; a missed
    target is a result. What it takes from PyPI is left out where that is out of reach.
    """
    console = Console(highlight=False)
    if file and not file.parent.is_dir():
        raise click.BadParameter(f"the folder of {file} is not there.", param_hint="--json")
    topics = [topic for topic in TOPICS if not only or topic in only]
    figures, failures, interrupted = measure(topics, console)
    show(figures, console)
    for failure in failures:
        console.print(f"[red]{escape(failure)}[/]")
    if file:
        found = [dataclasses.asdict(figure) for figure in figures]
        file.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    sys.exit(130 if interrupted else 1 if failures else 0)


def measure(topics: list[str], console: Console) -> tuple[list[Figure], list[str], bool]:
    """The figures of these topics, a sentence for each that could not be measured, and if it was Ctrl-C."""
    figures: list[Figure] = []
    failures = []
    interrupted = False
    with steps(console, len(topics)) as (tell, done):
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


def show(figures: list[Figure], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "beside", "target", "found", ""):
        table.add_column(heading, overflow="fold")
    for figure in figures:
        table.add_row(
            escape(figure.what),
            escape(figure.beside),
            escape(figure.target),
            escape(figure.found),
            VERDICTS[figure.met],
        )
    console.print(table)
    for figure in figures:
        if figure.note:
            console.print(f"{escape(figure.what)}: {escape(figure.note)}")
