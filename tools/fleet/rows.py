"""The devices of a batch: CSV with a header, checked whole before anything is sent."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from muster.clouds import baidu, feishu

from .journal import Journal


@dataclass(frozen=True)
class Kind:
    """What a command reads of a row.

    columns   must be in the header
    optional  may be
    check     takes a row's texts and returns the names of the device, none of which another has, and
              what is known of it; or raises ValueError
    sent      whether it goes to a cloud
    """

    columns: tuple[str, ...]
    optional: tuple[str, ...]
    check: Callable[[dict[str, str]], tuple[list[str], dict[str, Any]]]
    sent: bool = True


def _pair(texts: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    baidu.row(texts["ak"], texts["sk"])
    return [texts["ak"]], {"ak": texts["ak"], "sk": texts["sk"]}


def _name(texts: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    baidu.row(texts["ak"], "-")  # what could not be imported cannot be there
    return [texts["ak"]], {"ak": texts["ak"]}


def _record(texts: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    numbers = {name: _number(name, texts[name]) for name in REGISTER.columns}
    identity = {name: texts.get(name, "").strip() for name in REGISTER.optional}
    body = feishu.record(**numbers, **identity)
    # A MAC may be that of a dock or an adapter, and go from one computer to the next.
    own = [name for name in feishu.IDENTITY if name in body and name != "mac_address"]
    return [f"{body['device_system']}/{name}/{body[name]}" for name in own], body


def _number(name: str, text: str) -> int:
    if not text.strip().isdecimal():
        raise ValueError(f"{name} is a number, unlike {text!r}")
    return int(text)


def _config(texts: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    for name in BIND.columns:
        if not texts[name].strip():
            raise ValueError(f"{name} is empty")
    return [texts["value"]], {"label": texts["label"], "value": texts["value"]}


IMPORT = Kind(("ak", "sk"), (), _pair)
CHANGE = Kind(("ak",), (), _name)
REGISTER = Kind(("device_system", "device_ownership", "device_status"), feishu.IDENTITY, _record)
BIND = Kind(("label", "value"), (), _config)


def read(file: IO[bytes], name: str, kind: Kind, journal: Journal) -> list[str]:
    """Reads a CSV into the journal's list of devices; returns the names of columns that are not used.

    Raises:
        ValueError: names every row that is wrong.
    """
    # What is not UTF-8 must not end the reading: its line shall be named like every other.
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        return _read(csv.reader(text, strict=True), name, kind, journal)
    finally:
        text.detach()  # it would close standard input, which may still be asked something


def _read(reader: Any, name: str, kind: Kind, journal: Journal) -> list[str]:
    faults: list[str] = []
    header = _header(reader, name, kind)
    devices = 0
    try:
        for line, cells in _lines(reader):
            try:
                names, known = kind.check(_row(header, cells))
                earlier = journal.add(line, names, known)
                if earlier:
                    raise ValueError(f"the same device as in line {earlier}")
                devices += 1
            except ValueError as e:
                faults.append(f"line {line}: {e}")
    except csv.Error as e:
        faults.append(f"line {reader.line_num}: not CSV ({e}); what follows was not read")
    if faults:
        rows = "one row is" if len(faults) == 1 else f"{len(faults):,} rows are"
        sent = ", and nothing was sent" if kind.sent else ""
        raise ValueError(f"{rows} wrong in {name}{sent}:\n  " + "\n  ".join(faults))
    if not devices:
        raise ValueError(f"{name} has a header, and no devices under it")
    return [column for column in header if column not in (*kind.columns, *kind.optional)]


def _lines(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the number of its first line."""
    line = reader.line_num + 1
    for cells in reader:
        if cells:
            yield line, cells
        line = reader.line_num + 1


def _header(reader: Any, name: str, kind: Kind) -> list[str]:
    try:
        header = [cell.strip() for cell in next(reader, [])]
    except csv.Error as e:
        raise ValueError(f"line 1 of {name} is not CSV: {e}") from None
    missing = [column for column in kind.columns if column not in header]
    if missing:
        # Not what stands there instead: in a file without a header that is a device, and its key.
        raise ValueError(
            f"line 1 of {name} must name the columns, separated by commas, "
            f"and {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not among them"
        )
    if not header:
        raise ValueError(f"line 1 of {name} must name the columns, separated by commas, and it is empty")
    twice = {c for c in (*kind.columns, *kind.optional) if header.count(c) > 1}
    if twice:
        raise ValueError(f"line 1 of {name} has the column {min(twice)} twice")
    return header


def _row(header: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(header):
        fields = f"{len(cells)} field{'s' * (len(cells) != 1)}"
        raise ValueError(f"{fields}, and the header has {len(header)}")
    for column, cell in zip(header, cells, strict=True):
        if not cell.isascii() and any("\udc80" <= c <= "\udcff" for c in cell):
            raise ValueError(f"{column} is not UTF-8; save the file as CSV UTF-8")
    return dict(zip(header, cells, strict=True))


# What a person knows a device by.
NAMES = ("ak", "value", *feishu.IDENTITY)
