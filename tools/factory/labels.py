"""Labels for the boards of a batch: how a buyer's phone joins each one's access point, to print.

The QR code holds the text that phones know, WIFI:T:WPA;S:name;P:key;; with a backslash before \\ ; , : and ".

Source: the ZXing project's "Barcode Contents", the part about Wi-Fi.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import segno
from muster.portal import radio
from rich.cells import cell_len

from tools.common.rows import Row
from tools.factory import batch

_html = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
)

# Millimetres.
PADDING, GAP = 1.5, 1
SIZES = [tenths / 10 for tenths in range(34, 13, -1)]  # of letters
EASY = 2.0  # to read
HEADING = 1  # of a line, with the space above it
LINE = 1.25
CELL = 0.62  # of a monospace letter's width; a Chinese one takes two
QUIET = 4  # modules around the code, which its readers need


@dataclass(frozen=True)
class Sheet:
    """Pages and the labels on them, in millimetres.

    page: for CSS, its size and margin. columns, rows: labels on a page. between: the columns.
    """

    page: str
    margin: str
    columns: int
    rows: int
    between: float
    width: float
    height: float

    @property
    def tall(self) -> bool:
        return self.height > self.width

    @property
    def code(self) -> float:
        """The side of the QR code, which leaves the text half of the label at least."""
        short, long = sorted((self.width, self.height))
        return min(short - 2 * PADDING, (long - 2 * PADDING) / 2)

    @property
    def text(self) -> tuple[float, float]:
        """The width and the height that are left for text."""
        width, height = self.width - 2 * PADDING, self.height - 2 * PADDING
        taken = self.code + GAP
        return (width, height - taken) if self.tall else (width - taken, height)


# As sheets of 21 labels are cut that any stationer has.
A4 = Sheet("A4", "15.1mm 7.2mm 0", 3, 7, 2.5, 63.5, 38.1)


def sheet(width: float, height: float) -> Sheet:
    """Pages of one label each, for a label printer."""
    return Sheet(f"{width:g}mm {height:g}mm", "0", 1, 1, 0, width, height)


def wifi(ssid: str, key: str) -> str:
    """What the QR code says. key: "" for an open access point."""
    secured = f"T:WPA;S:{_escaped(ssid)};P:{_escaped(key)}" if key else f"T:nopass;S:{_escaped(ssid)}"
    return f"WIFI:{secured};;"


def html(title: str, config: Mapping[str, Any], rows: Sequence[Row], on: Sheet = A4) -> str:
    """A page for a browser to print: a label for each row.

    config: checked, of the first board; the rows complete it. Raises ValueError for a row that cannot have a
    label, and for one whose text is too long.
    """
    boards = [batch.completed(config, row) for row in rows]
    if any(board["deviceNo"] == "auto" for board in boards):
        raise ValueError(
            '"deviceNo" is "auto", the board\'s MAC: before it is flashed nobody knows what its access point '
            "is called. Give the CSV a column deviceNo."
        )
    labels = [
        {"svg": _svg(board), "lines": lines(board), "size": _size(lines(board), on)} for board in boards
    ]
    many = on.columns * on.rows
    pages = [labels[at : at + many] for at in range(0, len(labels), many)]
    more = {"padding": PADDING, "gap": GAP, "heading": HEADING, "line": LINE}
    return _html.get_template("labels.html").render(title=title, on=on, pages=pages, **more)


def lines(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a label says beside the QR code: pairs of what it is, in Chinese and English, and the text."""
    setup = config["setup"]
    found = [
        ("Wi-Fi 名称 Name", radio.ssid(setup, config["deviceNo"])),
        ("Wi-Fi 密码 Key", setup["key"] or "无 none"),
        ("网址 Page", f"http://{setup['address']}/"),
    ]
    columns = {config[column]: column for column in batch.NUMBERS if config[column]}
    return found + [
        (config["deviceNoType"] if column == "deviceNo" else column.upper(), number)
        for number, column in columns.items()
    ]


def _size(texts: list[tuple[str, str]], on: Sheet) -> float:
    """The largest size of letters in which all of it fits; in whole lines, if it can be read easily so."""
    lengths = [cell_len(text) for _, text in texts]
    fitting = [size for size in SIZES if _fits(lengths, size, on)]
    if not fitting:
        raise ValueError(
            f"a label of {on.width:g} by {on.height:g} mm is too small for the text of {texts[0][1]}: give a "
            "larger --size."
        )
    whole = [size for size in fitting if size >= EASY and max(lengths) * size * CELL <= on.text[0]]
    return (whole or fitting)[0]


def _fits(lengths: list[int], size: float, on: Sheet) -> bool:
    width, height = on.text
    cells = int(width / (size * CELL))
    return cells > 0 and sum(HEADING + math.ceil(n / cells) for n in lengths) * size * LINE <= height


def _svg(config: Mapping[str, Any]) -> str:
    setup = config["setup"]
    text = wifi(radio.ssid(setup, config["deviceNo"]), setup["key"])
    # As bytes in UTF-8, which phones take Chinese text for.
    code = segno.make(text, micro=False, mode="byte", encoding="utf-8", eci=False, error="m")
    return code.svg_inline(border=QUIET, omitsize=True, svgclass=None, lineclass=None)


def _escaped(text: str) -> str:
    return re.sub(r'([\\;,:"])', r"\\\1", text)
