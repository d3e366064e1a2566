"""CSV files from people, and what spreadsheets do to them.

Put right, because nobody can doubt what was meant: a byte-order mark, UTF-16, semicolons or tabs between the
cells, empty rows, empty cells behind the last column, blanks and invisible characters around a text, the
apostrophe or ="…" that keeps a number a text, full-width digits and letters.

Refused, with the row and the cell: a number that may have lost digits or zeros (8.9E+19, 89012345678.0), an
error (#NAME?), an invisible character inside a text, and in an encoding that is guessed all but ASCII.
"""

import codecs
import csv
import difflib
import io
import re
from collections.abc import Callable, Collection, Iterator
from typing import IO, Any

import click
from muster.redact import is_secret

Row = dict[str, str]

_SHOWN = 20  # of a file in which all rows are wrong

_SEPARATORS = ",;\t"
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods, .xls
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_HALF_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_KEPT_AS_TEXT = re.compile('\'([^\']+)|="([^"]+)"')
_CALCULATED = re.compile(
    r"[+-]?\d(?:[.,]\d+)?E[+-]\d{2,3}"  # 1.00E+11
    r"|\d+[.,]0+"  # 89012345678.0
    r"|\d{1,3}(?:,\d{3})+"  # 89,012,345
    r"|#(?:N/A|NAME\?|REF!|VALUE!|DIV/0!|NUM!|NULL!|#+)",
    re.ASCII | re.IGNORECASE,
)


def read(
    file: IO[bytes],
    name: str,
    columns: Collection[str],
    optional: Collection[str],
    take: Callable[[int, Row], None],
    words: Collection[str] = (),
) -> list[str]:
    """Hands the rows to `take`, each with the number of its line; tells and returns the columns not used.

    Args:
        columns: must be in the header; `optional` may be.
        take: raises ValueError for a row that is wrong.
        words: columns in which 1.0 and an apostrophe are what was meant.

    Raises:
        ValueError: says what is wrong with the file, or with each of its rows, up to a number.
    """
    known = {*columns, *optional}
    raw = file.read()
    encoding = _encoding(raw, name)
    separator = max(_SEPARATORS, key=lambda one: len(known.intersection(_header(raw, encoding, one))))
    header = _header(raw, encoding, separator)
    _check_header(header, columns, known, name)
    places = [(at, column) for at, column in enumerate(header) if column in known]
    faults: list[str] = []
    devices = 0
    reader = _reader(raw, encoding, separator)
    try:
        next(reader)
        for number, (line, cells) in enumerate(_lines(reader), 2):
            if any(map(bare, cells)):
                try:
                    _check_length(cells, header)
                    take(line, {c: _cell(cells[at], at, number, c, encoding, words) for at, c in places})
                    devices += 1
                except ValueError as e:
                    faults.append(f"line {line}: {e}")
    except csv.Error as e:
        faults.append(f"line {reader.line_num}: not CSV ({e}); what follows was not read")
    if faults:
        rows = "one row is" if len(faults) == 1 else f"{len(faults):,} rows are"
        more = [f"and {len(faults) - _SHOWN:,} more"] if len(faults) > _SHOWN else []
        raise ValueError("\n  ".join([f"{rows} wrong in {name}:", *faults[:_SHOWN], *more]))
    if not devices:
        raise ValueError(f"{name} has a header, and no devices under it")
    return _tell_unused(header, known, name)


def bare(text: str) -> str:
    """The text without blanks and invisible characters at its ends."""
    if text.isprintable():
        return text.strip(" ")
    return text.strip(" " + "".join(c for c in text if not c.isprintable()))


def _encoding(raw: bytes, name: str) -> str:
    if raw.startswith(_WORKBOOKS):
        raise ValueError(f"{name} is a workbook and no CSV: save it as CSV UTF-8")
    encoding = "utf-16" if raw.startswith(_UTF16) else "utf-8-sig"
    try:
        raw.decode(encoding)
        return encoding
    except UnicodeDecodeError as e:
        line = raw.count(b"\n", 0, e.start) + 1
    try:
        raw.decode("gb18030")  # what Excel in China calls CSV
        return "gb18030"
    except UnicodeDecodeError:
        raise ValueError(f"line {line} of {name} is not UTF-8: save the file as CSV UTF-8") from None


def _reader(raw: bytes, encoding: str, separator: str) -> Any:
    text = io.TextIOWrapper(io.BytesIO(raw), encoding, newline="")
    return csv.reader(text, delimiter=separator, strict=True)


def _header(raw: bytes, encoding: str, separator: str) -> list[str]:
    try:
        return [bare(cell) for cell in next(_reader(raw, encoding, separator), [])]
    except csv.Error:
        return []


def _check_header(header: list[str], columns: Collection[str], known: set[str], name: str) -> None:
    missing = [column for column in columns if column not in header]
    # Not what stands there instead: in a file without a header that is a device, and its key.
    must = f"line 1 of {name} must name the columns, separated by commas, and"
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise ValueError(f"{must} {' and '.join(missing)} {are} not among them")
    if not header:
        raise ValueError(f"{must} it is empty, or not CSV")
    if not known.intersection(header):
        raise ValueError(f"{must} none that is used is among them")
    twice = [column for column in header if column in known and header.count(column) > 1]
    if twice:
        raise ValueError(f"line 1 of {name} has the column {twice[0]} twice")


def _lines(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """All rows, each with the number of its first line."""
    line = reader.line_num + 1
    for cells in reader:
        yield line, cells
        line = reader.line_num + 1


def _check_length(cells: list[str], header: list[str]) -> None:
    if len(cells) < len(header) or any(map(bare, cells[len(header) :])):
        raise ValueError(f"{len(cells)} field{'s' * (len(cells) != 1)}, and the header has {len(header)}")


def _cell(text: str, at: int, row: int, column: str, encoding: str, words: Collection[str]) -> str:
    found = bare(text)
    if not found.isascii():
        half = found.translate(_HALF_WIDTH)
        found = half if half.isascii() else found
    kept = _KEPT_AS_TEXT.fullmatch(found)
    if kept and column not in words:
        found = bare(kept[1] or kept[2])
    if not found.isprintable():
        hidden = next(c for c in found if not c.isprintable())
        fault = f"has a character that nobody sees, U+{ord(hidden):04X}: enter it again"
    elif encoding == "gb18030" and not found.isascii():
        fault = "is neither ASCII nor UTF-8, so it may be read wrongly: save the file as CSV UTF-8"
    elif column not in words and _CALCULATED.fullmatch(found):
        fault = (
            f"is {'***' if is_secret(column) else found}: the spreadsheet took it for a number or a formula. "
            "Format the column as text, enter it again, and save the file as CSV UTF-8"
        )
    else:
        return found
    raise ValueError(f"cell {_letters(at)}{row} ({column}) {fault}")


def _letters(at: int) -> str:
    """A column's name in a spreadsheet: A to Z, AA, …"""
    before = _letters(at // 26 - 1) if at > 25 else ""
    return before + chr(ord("A") + at % 26)


def _tell_unused(header: list[str], known: Collection[str], name: str) -> list[str]:
    unused = list(dict.fromkeys(column for column in header if column and column not in known))
    if unused:
        absent = {column.lower(): column for column in known if column not in header}
        told = ", ".join(_shown(column) + _meant(column, absent) for column in unused)
        click.echo(f"Columns of {name} that are not used: {told}.", err=True)
    return unused


def _shown(column: str) -> str:
    return column if column.isprintable() else ascii(column)


def _meant(column: str, absent: dict[str, str]) -> str:
    near = difflib.get_close_matches(column.lower(), absent, 1, 0.7)
    return f" (did you mean {absent[near[0]]}?)" if near else ""
