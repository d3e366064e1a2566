"""Labels for the boards of a batch, as PDF: their numbers, and how a buyer's phone joins each one's network.

A phone's QR code holds WIFI:T:WPA;S:name;P:key;; with a backslash before \\ ; , : and ".

Source: the ZXing project's "Barcode Contents", the part about Wi-Fi.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby, islice
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from muster.portal import radio
from reportlab.graphics.barcode import qrencoder
from reportlab.graphics.barcode.code128 import Code128
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph

from tools.common.rows import Row
from tools.factory import batch
from tools.factory.sheet import Sheet

# Not in the file: a PDF reader takes a Chinese font of its own for it, and needs one.
CHINESE, LATIN = "STSong-Light", "Courier-Bold"
pdfmetrics.registerFont(UnicodeCIDFont(CHINESE))

# Millimetres.
PADDING, GAP = 1.5, 1
SIZES = [tenths / 10 for tenths in range(34, 13, -1)]  # of letters
EASY = 2.0  # to read
HEADING = 0.7  # of a letter
LINE = 1.35  # with the space under it
STRIP = 0.3  # of a label's height, for the codes of its number, and
STRIP_MM = 13  # at most
BAR_MM, WIDEST_BAR_MM = 0.19, 0.33  # what hand scanners read
BAR_QUIET = 10  # bars' widths on either side
QUIET = 4  # modules around a QR code


class Label(NamedTuple):
    """What stands on one: the text of a phone's QR code, pairs of what it is and a text, and the number that
    scanners read, with its name.

    wifi: "" for a product without set-up page.
    """

    wifi: str
    lines: list[tuple[str, str]]
    name: str
    number: str


class Box(NamedTuple):
    """A rectangle in millimetres, from its lower left."""

    x: float
    y: float
    width: float
    height: float


def wifi(ssid: str, key: str) -> str:
    """What a phone's QR code says. key: "" for an open access point."""
    secured = f"T:WPA;S:{_escaped(ssid)};P:{_escaped(key)}" if key else f"T:nopass;S:{_escaped(ssid)}"
    return f"WIFI:{secured};;"


def pdf(title: str, config: Mapping[str, Any], rows: Iterable[Row], on: Sheet) -> bytes:
    """A label for each row.

    config: checked, of the first board; the rows complete it. Raises ValueError for a row that cannot have a
    label, and for one whose text is too long.
    """
    labels = (label(batch.completed(config, row)) for row in rows)
    out = io.BytesIO()
    canvas = Canvas(out, [side * mm for side in on.page], pageCompression=1)
    canvas.setTitle(title)
    while page := list(islice(labels, on.columns * on.rows)):
        for number, one in enumerate(page):
            _draw(canvas, one, Box(*on.corner(number), *on.label))
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def label(config: Mapping[str, Any]) -> Label:
    """A board's label, from its configuration."""
    setup, device_no = config["setup"], config["deviceNo"]
    if setup and device_no == "auto":
        raise ValueError(
            '"deviceNo" is "auto", the board\'s MAC: before it is flashed nobody knows what its access point '
            "is called. Give the CSV a column deviceNo."
        )
    known = {name: config[name] for name in batch.NUMBERS if config[name] not in ("", "auto")}
    if known.get("deviceNo") in (known.get("cmei"), known.get("imei")):
        del known["deviceNo"]
    names = {name: config["deviceNoType"] if name == "deviceNo" else name.upper() for name in known}
    read = next(name for name in ("cmei", "imei", "deviceNo") if name in known)
    lines = [(names[name], known[name]) for name in known]
    if not setup:
        return Label("", lines, names[read], known[read])
    ssid = radio.ssid(setup, device_no)
    joining = [
        ("Wi-Fi 名称 Name", ssid),
        ("Wi-Fi 密码 Key", setup["key"] or "无 none"),
        ("网址 Page", f"http://{setup['address']}/"),
    ]
    return Label(wifi(ssid, setup["key"]), joining + lines, names[read], known[read])


def _draw(canvas: Canvas, label: Label, on: Box) -> None:
    """A phone's QR code and the text, side by side or, where it is tall, above each other; under them the
    number's codes."""
    x, y, width, height = on.x + PADDING, on.y + PADDING, on.width - 2 * PADDING, on.height - 2 * PADDING
    strip = min(STRIP * height, STRIP_MM)
    _draw_number(canvas, label.number, Box(x, y, width, strip))
    y, height = y + strip + GAP, height - strip - GAP
    if label.wifi:
        short, long = sorted((width, height))
        side = min(short, long / 2)
        _draw_qr(canvas, label.wifi, x, y + height - side, side)
        if height > width:
            height -= side + GAP
        else:
            x, width = x + side + GAP, width - side - GAP
    _write(canvas, label.lines, Box(x, y, width, height))


def _draw_number(canvas: Canvas, number: str, on: Box) -> None:
    """The number for scanners. One of three:

    Code 128 and a QR code beside it, where both can be read;
    Code 128 alone, on a narrow label;
    a QR code alone, on a label that is too narrow for any bars, or for a number that they cannot say.
    """
    beside = on.width - on.height - GAP
    for width in (beside, on.width):
        if bars := _bars(number, width, on.height):
            bars.drawOn(canvas, (on.x + BAR_QUIET * bars.barWidth / mm) * mm, on.y * mm)
            break
    if not bars or width == beside:
        _draw_qr(canvas, number, on.x + on.width - on.height, on.y, on.height)


def _bars(number: str, width: float, height: float) -> Code128 | None:
    """None where it does not fit."""
    if not number.isascii():
        return None
    bars = Code128(number, barWidth=1, barHeight=height * mm, quiet=False)
    bar = min(width / (bars.width + 2 * BAR_QUIET), WIDEST_BAR_MM)
    return Code128(number, barWidth=bar * mm, barHeight=height * mm, quiet=False) if bar >= BAR_MM else None


def _draw_qr(canvas: Canvas, text: str, x: float, y: float, side: float) -> None:
    code = qrencoder.QRCode(None, qrencoder.QRErrorCorrectLevel.M)
    code.addData(text)  # as bytes in UTF-8, which phones take Chinese text for
    code.make()
    module = side * mm / (len(code.modules) + 2 * QUIET)
    path = canvas.beginPath()
    # Each run of dark modules at once: reportlab's own widget takes ten times as long over it.
    for row, modules in enumerate(code.modules):
        top, column = (y + side) * mm - (QUIET + row + 1) * module, QUIET
        for dark, run in groupby(modules):
            count = len(list(run))
            if dark:
                path.rect(x * mm + column * module, top, count * module, module)
            column += count
    canvas.drawPath(path, stroke=0, fill=1)


def _write(canvas: Canvas, texts: list[tuple[str, str]], on: Box) -> None:
    """The largest letters in which all of it fits; in whole lines, if it can be read easily so."""
    # All letters of LATIN are equally wide, of the other font the digits.
    wide = [(name, "0" * len(text) if text.isascii() else re.sub("[0-9]", "0", text)) for name, text in texts]
    size = _size(tuple(wide), on[2:])
    if not size:
        raise ValueError(f"the label is too small for the text of {texts[0][1]}: give a larger one.")
    y = (on.y + on.height) * mm
    for paragraph in _set(texts, size):
        y -= paragraph.wrap(on.width * mm, on.height * mm)[1]
        paragraph.drawOn(canvas, on.x * mm, y)


@lru_cache  # a batch has few lengths, and looking takes long
def _size(texts: tuple[tuple[str, str], ...], room: tuple[float, float]) -> float:
    """0 where none fits."""
    fitting = 0.0
    for size in SIZES:
        paragraphs = _set(texts, size)
        if sum(one.wrap(room[0] * mm, room[1] * mm)[1] for one in paragraphs) <= room[1] * mm:
            if size >= EASY and all(len(one.blPara.lines) == 1 for one in paragraphs):
                return size
            fitting = fitting or size
    return fitting


def _set(texts: Sequence[tuple[str, str]], size: float) -> list[Paragraph]:
    made = []
    for name, text in texts:
        made.append(_paragraph(name, CHINESE, size * HEADING, size * HEADING))
        made.append(_paragraph(text, LATIN if text.isascii() else CHINESE, size, size * LINE))
    return made


def _paragraph(text: str, font: str, size: float, line: float) -> Paragraph:
    # Broken anywhere, as Chinese is: a long number has no blanks.
    style = ParagraphStyle("", fontName=font, fontSize=size * mm, leading=line * mm, wordWrap="CJK")
    return Paragraph(escape(text), style)


def _escaped(text: str) -> str:
    return re.sub(r'([\\;,:"])', r"\\\1", text)
