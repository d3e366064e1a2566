"""python3 -m tools labels: a label for each board of a batch, to print."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from tools.common import files, options


class Size(click.ParamType):
    """WIDTHxHEIGHT in millimetres; the command gets both."""

    name = "WxH"

    def convert(
        self, value: str | tuple[float, float], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        if not isinstance(value, str):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)", value)
        width, height = map(float, found.groups()) if found else (0.0, 0.0)
        if not (15 <= width <= 300 and 15 <= height <= 300):
            self.fail(
                f"{value!r} is no size; expected millimetres from 15 to 300, such as 60x40.", param, ctx
            )
        return width, height


@click.command()
@click.argument("batch", type=options.SECRET_FILE, metavar="BATCH.csv")
@options.config()
@click.option(
    "--size",
    type=Size(),
    help="Of a label, in mm, one on a page, for a label printer. Without it A4 pages of 21, each 63.5x38.1.",
)
@click.option("-o", "--output", type=options.SECRET_OUTPUT, required=True, help="HTML to write.")
@options.as_json
def labels(batch: Path, config: Path, size: tuple[float, float] | None, output: Path, as_json: bool) -> None:
    """Makes a page of labels, for a browser to print: how a phone reaches a board's set-up page.

    Each says what the board's access point is called, its key, the page's address and the board's numbers,
    and has a QR code, with which a phone joins without typing. The file holds keys: only you can read it.

    Example: python3 -m tools labels batch.csv --config config.json -o labels.html
    """
    from tools.factory.batch import read
    from tools.factory.labels import A4, html, sheet
    from tools.factory.rack import read_config

    _, first = read_config(config, batch, 0)
    if not first["setup"]:
        raise click.ClickException(
            f'{config} has no "setup", so that its boards open no access point to label: add '
            '"setup": {"name": "…"}.'
        )
    rows = read(batch)
    page = html(batch.name, first, rows, sheet(*size) if size else A4)
    files.write(output, page)
    if as_json:
        click.echo(json.dumps({"output": str(output), "count": len(rows)}, ensure_ascii=False))
        return
    click.echo(f"{output}: {len(rows):,} labels. It holds keys: print it, then remove it.")
