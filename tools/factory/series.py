"""Numbers for a batch: series that count up, and rows that no earlier batch has."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from muster import cmei

from tools.common.rows import Row
from tools.factory import batch

# A type code has a million serial numbers.
MOST = 1_000_000

# What says where a column goes on.
OPTIONS = {"deviceNo": "--serial", "cmei": "--tui", "imei": "--tac"}

# Of a key that people read from a label and type: no I, L, O, 0 and 1. The first of them is no hexadecimal
# digit: neither a spreadsheet nor a phone takes such a key for a number.
KEY_FIRST = "GHJKMNPQRSTUVWXYZ"
KEY_CHARACTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
KEY_LENGTH = 10


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
        head = re.sub("[0-9]*$", "", number)
        return cls(column, head, len(number) - len(head))

    @classmethod
    def only(cls, column: str, taken: Sequence[str]) -> Series:
        """The series of all these numbers. Raises ValueError where they are of several, or of none."""
        kinds = {cls.of(column, number): number for number in taken}
        series = next(iter(kinds))
        if len(kinds) > 1 or not series.width:
            example = " and ".join([*kinds.values()][:2])
            raise ValueError(
                f"what comes after the earlier {column} {example}? Say where to go on, with {OPTIONS[column]}"
            )
        return series

    def position(self, number: str) -> int:
        return int(number[len(self.head) :][: self.width])

    def at(self, position: int) -> str:
        if self.column != "deviceNo":
            return cmei.make(self.head, position)
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

    def free(self, taken: Iterable[str]) -> str:
        """The next number that is free, for people, and the option that begins with it."""
        position = self.after(taken)
        if position >= 10**self.width:
            return "and none is free after the highest there"
        number = self.at(position)
        option = f"--serial {number}" if self.column == "deviceNo" else f"--first-{self.column} {position}"
        return f"the next free one is {number}: {option}"


def next_rows(
    count: int,
    serial: str | None,
    codes: Mapping[str, tuple[str | None, int | None]],
    before: list[Row],
    keyed: bool = False,
) -> list[Row]:
    """Rows for so many boards, each with a deviceNo, and a cmei or an imei where there is a type code.

    serial: the first deviceNo. codes: cmei and imei -> type code and first serial number. before: rows of
    earlier batches; what is None goes on after the highest there. keyed: each gets a setup.key, as it does
    where earlier ones have it. Raises ValueError.
    """
    columns: dict[str, list[str]] = {}
    for column, (code, first) in codes.items():
        taken = [row[column] for row in before if column in row]
        if code or taken:
            series = Series(column, code, 6) if code else Series.only(column, taken)
            columns[column] = series.run(series.after(taken) if first is None else first, count)
    own = [row["deviceNo"] for row in before if "deviceNo" in row and not is_coded(row)]
    if serial or own:
        series = Series.of("deviceNo", serial) if serial else Series.only("deviceNo", own)
        numbers = series.run(series.position(serial) if serial else series.after(own), count)
    else:
        numbers = next(iter(columns.values()))
    columns = {"deviceNo": numbers, **columns}
    taken_keys = {row[batch.SETUP_KEY] for row in before if batch.SETUP_KEY in row}
    if keyed or taken_keys:
        columns[batch.SETUP_KEY] = random_keys(count, taken_keys)
    made = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    batch.check(made[0])  # the others differ in digits only
    return made


def random_keys(count: int, taken: Iterable[str]) -> list[str]:
    """So many keys for access points, 48 bits each, none of them twice or taken."""
    taken = set(taken)
    made: dict[str, None] = {}
    while len(made) < count:
        rest = "".join(secrets.choice(KEY_CHARACTERS) for _ in range(KEY_LENGTH - 1))
        key = secrets.choice(KEY_FIRST) + rest
        if key not in taken:
            made[key] = None
    return list(made)


def is_coded(row: Row) -> bool:
    """Whether the CMEI or the IMEI is the device's number too."""
    return row["deviceNo"] in (row.get("cmei"), row.get("imei"))


def refuse_taken(made: Iterable[Row], batches: Mapping[Path, list[Row]]) -> None:
    """Raises ValueError when a row has a number of an earlier batch; it names the next free one."""
    where = {key: path for path, rows in batches.items() for row in rows for key in batch.keys(row)}
    for row in made:
        # The CMEI before a deviceNo that is the same.
        for column, short in reversed(batch.keys(row)):
            if (column, short) in where:
                taken = [row[column] for rows in batches.values() for row in rows if column in row]
                free = Series.of(column, row[column]).free(taken)
                raise ValueError(f"{column} {row[column]} is in {where[column, short]} already; {free}")
