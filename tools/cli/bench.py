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
from tools.common.options import as_json, refuse_beside
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
@click.option("--port", help="Measures the board at this serial port instead, and prints Markdown.")
@click.option(
    "--host", help="With --port: this computer's address, as the board reaches it, if none is found."
)
@as_json
def bench(only: tuple[str, ...], port: str | None, host: str | None, as_json: bool) -> None:
    """Measures speed and size in one run, beside what a person would otherwise take.

    What the board would do, the real MicroPython VM does here. Ratios are what count, both sides of each
    measured in the same run. Exit status 1 if a topic could not be measured, 130 after Ctrl-C; a missed
    target is a result. What it takes from PyPI is left out where that is out of reach.

    With --port it measures a board that is plugged in, with the library that is there. The board resets
    twice, keeps its files and its clock, and sends nothing of its own but a report that is due anyway.

    \b
    Examples:
      python3 -m tools bench --only memory --only size
      python3 -m tools bench --port /dev/ttyUSB0
    """
    if host and not port:
        raise click.UsageError("--host says nothing without --port: the board's.")
    if port:
        if only:
            refuse_beside("--port", "only")
        return measure_board(port, host, as_json)
    need("test")
    figures, failures, interrupted = measure([topic for topic in TOPICS if not only or topic in only])
    if as_json:
        click.echo(as_text(figures))
    else:
        show(figures)
    for failure in failures:
        click.secho(failure, fg="red", err=True)
    sys.exit(130 if interrupted else 1 if failures else 0)


def measure_board(port: str, host: str | None, as_json: bool) -> None:
    from tools.bench import chip

    console = Console(stderr=True, highlight=False)
    try:
        with console.status("") as status:
            figures = chip.measure(port, host, lambda text: status.update(escape(text)))
    except KeyboardInterrupt:
        click.echo("Stopped: the board is as it was, and its program runs again.", err=True)
        sys.exit(130)
    click.echo(as_text(figures) if as_json else chip.markdown(figures))


def as_text(figures: list[Figure]) -> str:
    return json.dumps([dataclasses.asdict(figure) for figure in figures], indent=2, ensure_ascii=False)


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
