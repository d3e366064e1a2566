"""python3 -m tools labels: a label for each board of a batch, to print."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from tools.common import files, options
from tools.common.rows import Row
from tools.factory.batch import SETUP_KEY
from tools.factory.sheet import Sheet

PAGES = {"A3": (297, 420), "A4": (210, 297), "A5": (148, 210), "Letter": (215.9, 279.4)}
SMALLEST, LARGEST = 15, 500
TOLD_EACH = 500  # labels


class Size(click.ParamType):
    """WIDTHxHEIGHT in millimetres, or a page's name; the command gets both.

    least, most: of each.
    """

    name = "WxH"

    def __init__(self, least: float, most: float, names: dict[str, tuple[float, float]] | None = None):
        self.least, self.most, self.names = least, most, names or {}

    def convert(
        self, value: str | tuple[float, float], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        if not isinstance(value, str):
            return value
        if value in self.names:
            return self.names[value]
        found = re.fullmatch(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)", value)
        width, height = map(float, found.groups()) if found else (-1.0, -1.0)
        if not (self.least <= width <= self.most and self.least <= height <= self.most):
            named = f"{', '.join(self.names)}, or " if self.names else ""
            self.fail(
                f"{value!r} is no size; expected {named}millimetres from {self.least} to {self.most}, such "
                "as 60x40.",
                param,
                ctx,
            )
        return width, height


def paper(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of what labels are printed on, which the command gets as one: `on`, a Sheet."""

    @click.option(
        "--size",
        type=Size(SMALLEST, LARGEST),
        help="Of a label, in mm, one on a page, for a label printer. Without it sheets of labels.",
    )
    @click.option(
        "--sheet",
        type=Size(SMALLEST, LARGEST, PAGES),
        default="A4",
        show_default=True,
        help=f"Of labels: {', '.join(PAGES)}, or its size in mm.",
    )
    @click.option(
        "--columns", type=click.IntRange(1, 20), default=3, show_default=True, help="Labels side by side."
    )
    @click.option(
        "--rows", type=click.IntRange(1, 50), default=7, show_default=True, help="Labels above each other."
    )
    @click.option(
        "--margin",
        type=Size(0, 100),
        default="7.2x15.15",
        show_default=True,
        help="Of a sheet, in mm: left and right, above and below.",
    )
    @click.option(
        "--gap",
        type=options.NumberRange(0, 100),
        default=2.5,
        show_default=True,
        help="Between columns, in mm.",
    )
    @functools.wraps(command)
    def with_paper(
        size: tuple[float, float] | None,
        sheet: tuple[float, float],
        columns: int,
        rows: int,
        margin: tuple[float, float],
        gap: float,
        **more: Any,
    ) -> Any:
        if size is not None:
            options.refuse_beside("--size", "sheet", "columns", "rows", "margin", "gap")
            return command(on=Sheet(size), **more)
        on = Sheet(sheet, columns, rows, margin, gap)
        if min(on.label) < SMALLEST:
            width, height = on.label
            raise click.UsageError(
                f"a label would be {width:.1f} by {height:.1f} mm, and {SMALLEST} is the least: give fewer "
                "--columns or --rows, or less --margin and --gap."
            )
        return command(on=on, **more)

    return with_paper


def drawn(batch: Path, rows: Sequence[Row], config: Path, on: Sheet) -> bytes:
    """The PDF of labels for rows of a batch, whose file need not be there yet. Raises ValueError."""
    from rich.console import Console

    from tools.common.progress import steps
    from tools.factory.labels import pdf
    from tools.factory.rack import read_config

    _, first = read_config(config, batch, 0, rows[0])
    with steps(Console(stderr=True, highlight=False), len(rows)) as (tell, done):

        def shown() -> Iterator[Row]:
            for number, row in enumerate(rows, 1):
                yield row
                done()
                if not number % TOLD_EACH:
                    tell(f"{number:,} of {len(rows):,} labels are drawn")

        return pdf(batch.name, first, shown(), on)


@click.command()
@click.argument("batch", type=options.SECRET_FILE, metavar="BATCH.csv")
@options.config()
@paper
@click.option("-o", "--output", type=options.SECRET_OUTPUT, required=True, help="PDF to write.")
@options.as_json
def labels(batch: Path, config: Path, on: Sheet, output: Path, as_json: bool) -> None:
    """Makes a PDF of labels: a board's numbers, and how a phone reaches its set-up page.

    Each has the CMEI (else IMEI or deviceNo) as Code 128 and as a QR code, and all numbers in letters. For a
    product with "setup" it says what the board's access point is called, its key and the page's address, and
    has a QR code with which a phone joins without typing. Only you can read the file, which may hold keys.

    The default is the A4 sheet of 21 labels, 63.5x38.1 mm, that any stationer has.

    \b
    Examples:
      python3 -m tools labels batch.csv --config config.json -o labels.pdf
      python3 -m tools labels batch.csv --config config.json --size 60x40 -o labels.pdf
    """
    from tools.factory.batch import read

    rows = read(batch)
    files.write(output, drawn(batch, rows, config, on))
    if as_json:
        click.echo(json.dumps({"output": str(output), "count": len(rows)}, ensure_ascii=False))
        return
    click.echo(told(output, rows))


def told(output: Path, rows: Sequence[Row]) -> str:
    said = f"{output}: {len(rows):,} label{'s' * (len(rows) != 1)}."
    if SETUP_KEY not in rows[0]:
        return said
    return f"{said} Whoever has it has the keys on them: print it, then remove it."
