"""python3 -m tools cmei and identities: numbers for a batch, and the CSV that hands every board its own."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click
from muster import cmei as numbers

from tools.factory import ledger

# A type code has a million serial numbers.
MOST = 1_000_000

Row = dict[str, str]


@dataclass(frozen=True)
class Series:
    """Numbers that count up in their digits, of which there are always as many.

    column: deviceNo, cmei or imei. head: what comes before the digits: a CMEI's TUI, an IMEI's TAC.
    width: how many digits.
    """

    column: str
    head: str
    width: int

    @classmethod
    def of(cls, column: str, number: str) -> Series:
        if column != "deviceNo":
            return cls(column, number[:8], 6)
        digits = re.search("[0-9]*$", number)[0]
        return cls(column, number.removesuffix(digits), len(digits))

    def position(self, number: str) -> int:
        return int(number[len(self.head) :][: self.width])

    def at(self, position: int) -> str:
        if self.column != "deviceNo":
            return numbers.make(self.head, position)
        return f"{self.head}{position:0{self.width}}"

    def after(self, taken: Iterable[str]) -> int:
        """The position after the highest that is taken; 1 when none of this series is."""
        mine = (self.position(number) for number in taken if Series.of(self.column, number) == self)
        return 1 + max(mine, default=0)

    def run(self, first: int, count: int) -> list[str]:
        """The numbers from position first on. Raises ValueError when there are not as many."""
        end = 10**self.width
        if first + count > end:
            other = {"deviceNo": "a --serial with more digits", "cmei": "another TUI", "imei": "another TAC"}
            raise ValueError(
                f"{self.column}: {count:,} numbers are asked for, and {max(0, end - first):,} are left, "
                f"up to {self.at(end - 1)}; take fewer, or {other[self.column]}"
            )
        return [self.at(position) for position in range(first, first + count)]


def _type_code(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            numbers.make(value, 0)
        except ValueError as e:
            raise click.BadParameter(str(e)) from None
    return value


def _counted(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not Series.of("deviceNo", value).width:
        raise click.BadParameter(f"{value!r} does not end in digits, which could be counted up")
    return value


@click.command()
@click.argument("tui", required=False, callback=_type_code)
@click.option(
    "--first", type=click.IntRange(0, MOST - 1), default=1, show_default=True, help="Serial number."
)
@click.option("--count", type=click.IntRange(1, MOST), default=1, show_default=True, help="How many.")
@click.option(
    "--check", "number", metavar="NUMBER", help="Says what this number is, or what is wrong with it."
)
def cmei(tui: str | None, first: int, count: int, number: str | None) -> None:
    """Prints CMEIs of a TUI, the 8 digits that China Mobile gave the product; of a TAC, IMEIs.

    The last digit is the check digit of an IMEI, which a CMEI may have too.
    """
    if (tui is None) == (number is None):
        raise click.UsageError("give a TUI to make numbers of, or --check NUMBER")
    if number is None:
        click.echo("\n".join(Series.of("cmei", tui).run(first, count)))
        return
    numbers.check(number)
    kind, code = ("a CMEI", "TUI") if number.startswith("11") else ("an IMEI", "TAC")
    last, luhn = number[14], numbers.make(number[:8], number[8:14])[14]
    odd = "" if last == luhn else f" (a CMEI's may be any; the check digit is {luhn})"
    click.echo(
        f"{number} is {kind}: {code} {number[:8]}, serial number {number[8:14]}, last digit {last}{odd}"
    )


@click.command()
@click.option("--count", type=click.IntRange(1, MOST), required=True, help="How many boards.")
@click.option(
    "--serial", callback=_counted, help="The first board's serial number; its last digits count up."
)
@click.option("--tui", callback=_type_code, help="8 digits that China Mobile gave the product: makes CMEIs.")
@click.option("--first-cmei", type=click.IntRange(0, MOST - 1), help="Serial number in the first CMEI.")
@click.option("--tac", callback=_type_code, help="8 digits of a cellular product's type: makes IMEIs.")
@click.option("--first-imei", type=click.IntRange(0, MOST - 1), help="Serial number in the first IMEI.")
@click.option(
    "--earlier",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="CSV of an earlier batch, whose numbers are taken; as often as needed.",
)
@click.option("--append", is_flag=True, help="Adds to the output, when it is there already.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="CSV to write."
)
def identities(
    count: int,
    serial: str | None,
    tui: str | None,
    first_cmei: int | None,
    tac: str | None,
    first_imei: int | None,
    earlier: tuple[Path, ...],
    append: bool,
    output: Path,
) -> None:
    """Makes the CSV of a batch: a row for each board, for flash --identities.

    Its columns are the keys of config.json that differ from board to board: deviceNo, and cmei or imei.
    Without --serial the CMEI or IMEI is the deviceNo too, as "deviceNoType" may have it.

    No number of an --earlier batch is given again. What is not said goes on after the highest in them:
    with --earlier or --append, --count alone will do. Else CMEIs and IMEIs begin with serial number 1.
    """
    # Two at once would give the same numbers.
    click.get_current_context().with_resource(ledger.alone(output.resolve()))
    there = output.exists()
    if there and not append:
        raise click.ClickException(
            f"{output} is there already, and boards may have its numbers: add to it with --append, "
            f"or name another and give this one as --earlier"
        )
    files = (*earlier, output) if there else earlier
    batches = {path: ledger.read(path, whole=path == output) for path in files}
    before = [row for rows in batches.values() for row in rows]

    columns: dict[str, list[str]] = {}
    for column, code, first in (("cmei", tui, first_cmei), ("imei", tac, first_imei)):
        taken = [row[column] for row in before if column in row]
        if code or taken:
            series = Series(column, code, 6) if code else _only(column, taken)
            columns[column] = series.run(series.after(taken) if first is None else first, count)
        elif first is not None:
            raise click.UsageError(
                f"--first-{column} says where to begin, and nothing says in which type code"
            )
    own = [row["deviceNo"] for row in before if "deviceNo" in row and not _is_coded(row)]
    if serial or own:
        series = Series.of("deviceNo", serial) if serial else _only("deviceNo", own)
        device_no = series.run(series.position(serial) if serial else series.after(own), count)
    elif columns:
        device_no = next(iter(columns.values()))
    else:
        raise click.UsageError("say what the first board gets: --serial AI-2611-00001, or --tui, or --tac")

    columns = {"deviceNo": device_no, **columns}
    made = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    ledger.check(made[0])  # the others differ in digits only
    _refuse_taken(made, batches)
    kept = batches[output] if there else []
    if kept and set(kept[0]) != set(columns):
        raise click.ClickException(
            f"{output} has the columns {', '.join(kept[0])}, and what is to be added has {', '.join(columns)}"
        )
    _write(output, kept + made)
    _tell(made, output)


def _is_coded(row: Row) -> bool:
    return row["deviceNo"] in (row.get("cmei"), row.get("imei"))


def _only(column: str, taken: list[str]) -> Series:
    """The series of all these numbers, which has to be one."""
    kinds = {Series.of(column, number): number for number in taken}
    series = next(iter(kinds))
    if len(kinds) > 1 or not series.width:
        example = " and ".join([*kinds.values()][:2])
        option = {"deviceNo": "--serial", "cmei": "--tui", "imei": "--tac"}[column]
        raise ValueError(
            f"what comes after the earlier {column} {example}? Say where to go on, with {option}"
        )
    return series


def _refuse_taken(made: list[Row], batches: dict[Path, list[Row]]) -> None:
    where = {key: path for path, rows in batches.items() for row in rows for key in ledger.keys(row)}
    for row in made:
        # The CMEI before a deviceNo that is the same.
        for column, short in reversed(ledger.keys(row)):
            if (column, short) in where:
                taken = [row[column] for rows in batches.values() for row in rows if column in row]
                free = _free(column, row[column], taken)
                raise ValueError(f"{column} {row[column]} is in {where[column, short]} already; {free}")


def _free(column: str, number: str, taken: list[str]) -> str:
    series = Series.of(column, number)
    free = series.after(taken)
    if free >= 10**series.width:
        return "and none is free after the highest there"
    option = f"--serial {series.at(free)}" if column == "deviceNo" else f"--first-{column} {free}"
    return f"the next free one is {series.at(free)}: {option}"


def _write(path: Path, rows: list[Row]) -> None:
    """Writes the CSV; whatever happens, all of it is there or what was there before."""
    path = path.resolve()
    part = path.with_name(path.name + ".part")
    try:
        part.touch(0o600)
        with part.open("w", encoding="utf-8", newline="") as file:
            part.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o600)
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    ledger.sync_folder(path)


def _tell(made: list[Row], output: Path) -> None:
    first, last = made[0], made[-1]
    spans = ", ".join(f"{column} {first[column]} to {last[column]}" for column in first)
    click.echo(f"{output}: {len(made):,} identities, {spans}")
    settings = {"cellular": True} if "imei" in first else {}
    if _is_coded(first):
        settings["deviceNoType"] = "CMEI" if first["deviceNo"] == first.get("cmei") else "IMEI"
    if settings:
        click.echo(f"config.json needs {json.dumps(settings)[1:-1]}")
