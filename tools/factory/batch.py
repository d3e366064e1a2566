"""The CSV of a batch: a row for each board, whose columns are keys of config.json."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from muster import cmei, config
from muster.errors import ConfigError
from muster.redact import is_secret, redacted

from tools.common import rows
from tools.common.rows import Row

# What no two boards may share: the numbers that they are known by, and the key of their access points.
NUMBERS = ("deviceNo", "cmei", "imei")
SETUP_KEY = "setup.key"

# A configuration that a row completes: the rest is the product's, and not known here.
_PRODUCT = {
    "productId": "-",
    "productKey": "-",
    "deviceNo": "auto",
    "cmei": cmei.make("11000000", 0),
    "firmwareVersion": "-",
}
_KEYS = (*config.check(_PRODUCT), SETUP_KEY)
_WORDS = tuple(key for key in _KEYS if key not in NUMBERS)
_LETTERS = re.compile("[0-9A-Za-z]")
_SAFE_KEY = re.compile("[0-9A-Za-z]{8,63}")


def read(path: Path, whole: bool = False) -> list[Row]:
    """Returns the rows of a CSV of identities, column -> value.

    The columns are keys of config.json, deviceNo, cmei or imei among them, and setup.key; others are left
    out, or refused where the whole file is wanted. Raises ValueError, which names the rows that are wrong.
    """
    found: list[Row] = []
    line_of: dict[tuple[str, str], int] = {}
    checked: set[frozenset] = set()

    def take(line: int, row: Row) -> None:
        like = _like(row)
        if like not in checked:
            check(row)
            checked.add(like)
        for key in (*keys(row), *((name, value) for name, value in row.items() if name == SETUP_KEY)):
            earlier = line_of.setdefault(key, line)
            if earlier != line:
                raise ValueError(f"{key[0]} {redacted(row)[key[0]]} is in line {earlier} already")
        found.append(row)

    with path.open("rb") as file:
        unused = rows.read(file, str(path), (), _KEYS, take, words=_WORDS)
    if whole and unused:
        raise ValueError(
            f"{path} is written anew, and would lose its columns that are no keys of config.json: "
            f"take them out, or name another output and give this one as --earlier"
        )
    secret = next((column for column in found[0] if is_secret(column) and column != SETUP_KEY), None)
    if secret:
        raise ValueError(
            f"{path} has the column {secret}, a secret of the whole product: it belongs into config.json"
        )
    if not any(column in NUMBERS for column in found[0]):
        raise ValueError(f"line 1 of {path} must name one of {', '.join(NUMBERS)}: what a board is known by")
    return found


def check(row: Row) -> None:
    """Raises ValueError when a board's configuration cannot have this in it."""
    for column, value in row.items():
        if not value or value != value.strip():
            raise ValueError(f"{column} is {value!r}; it is never empty, and has no blank at either end")
    try:
        config.check(completed({**_PRODUCT, "setup": {}}, row))
    except ConfigError as e:
        raise ValueError(str(e)) from None


def completed(product: Mapping, row: Row) -> dict:
    """A product's configuration with a row in it: one board's."""
    config = {**product, **row}
    key = config.pop(SETUP_KEY, None)
    if key is not None and isinstance(config["setup"], dict):
        config["setup"] = {**config["setup"], "key": key}
    return config


def keys(row: Row) -> list[tuple[str, str]]:
    """What a row is known by, and no other may be: pairs of a column and its value.

    The last digit of a CMEI means nothing, so the 14 before it are what counts; an IMEI's follows from them.
    """
    return [(name, row[name] if name == "deviceNo" else row[name][:14]) for name in NUMBERS if name in row]


def content(row: Row) -> frozenset:
    """The same for rows that say the same, whatever the order of their columns."""
    return frozenset(row.items())


def _like(row: Row) -> frozenset:
    """The same for rows of which all are right when one is: a batch of a million takes seconds to check.

    That is so when they differ in numbers that are right, in the letters and digits of a deviceNo, and in
    keys that consist of them.
    Nothing is like a row of which a number is wrong.
    """
    like = dict(row)
    try:
        for name in NUMBERS[1:]:
            if name in row:
                cmei.check(row[name])
                like[name] = row[name][:8]
    except ValueError:
        return frozenset()
    if "deviceNo" in row:
        same = [name for name in NUMBERS[1:] if row.get(name) == row["deviceNo"]]
        like["deviceNo"] = same[0] if same else _LETTERS.sub("0", row["deviceNo"])
    if _SAFE_KEY.fullmatch(row.get(SETUP_KEY, "")):
        del like[SETUP_KEY]
    return content(like)
