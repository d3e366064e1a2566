"""Objects on their way out: tables for people, JSON and CSV for programs."""

import csv
import json
from collections.abc import Iterable
from itertools import islice
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

PAGE = 100  # rows in one table


def write(form: str | None, columns: list[str], found: Iterable[dict[str, Any]], out: TextIO) -> int:
    """Writes objects as they come: a JSON array, CSV, or tables of PAGE rows. Returns how many there were.

    Args:
        form: "json", "csv" or None.
        columns: what CSV and tables have of each object, in this order.
    """
    count = 0
    if form == "json":
        for one in found:
            out.write((",\n" if count else "[\n") + json.dumps(one, ensure_ascii=False))
            count += 1
        out.write("\n]\n" if count else "[]\n")
        return count
    texts = ([_text(one.get(column)) for column in columns] for one in found)
    if form == "csv":
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(columns)
        for row in texts:
            rows.writerow(row)
            count += 1
        return count
    console = Console(file=out, highlight=False)
    while page := list(islice(texts, PAGE)):
        table = Table(*(Column(column, overflow="fold") for column in columns))
        for row in page:
            table.add_row(*map(escape, row))
        console.print(table)
        count += len(page)
    return count


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
