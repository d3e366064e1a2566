"""What is shown: tables for people, JSON and CSV for programs."""

import csv
import json
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

PAGE = 100  # devices in one table


def write(form: str | None, columns: list[str], found: Iterable[dict[str, Any]], out: TextIO) -> None:
    """Writes objects as they come: a JSON array, CSV, or tables of PAGE rows.

    Args:
        form: "json", "csv" or None.
        columns: what CSV and tables have of each object, in this order.
    """
    if form == "json":
        _json(found, out)
    elif form == "csv":
        _csv(columns, found, out)
    else:
        _tables(columns, iter(found), out)


def _json(found: Iterable[dict[str, Any]], out: TextIO) -> None:
    before = "[\n"
    for one in found:
        out.write(before + json.dumps(one, ensure_ascii=False))
        before = ",\n"
    out.write("[]\n" if before == "[\n" else "\n]\n")


def _csv(columns: list[str], found: Iterable[dict[str, Any]], out: TextIO) -> None:
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(columns)
    rows.writerows([_text(one.get(column)) for column in columns] for one in found)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _tables(columns: list[str], found: Iterator[dict[str, Any]], out: TextIO) -> None:
    console = Console(file=out, highlight=False)
    page: list[dict[str, Any]] = []
    for one in found:
        page.append(one)
        if len(page) == PAGE:
            console.print(_table(columns, page))
            page = []
    if page:
        console.print(_table(columns, page))


def _table(columns: list[str], page: list[dict[str, Any]]) -> Table:
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for one in page:
        table.add_row(*(escape(_text(one.get(column))) for column in columns))
    return table
