"""The devices of a batch: CSV with a header, checked whole before anything is sent."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from muster.clouds import baidu, feishu

from tools.common import rows

from .journal import Journal


@dataclass(frozen=True)
class Kind:
    """What a command reads of a row.

    columns   must be in the header
    optional  may be
    check     takes a row's texts and returns the names of the device, none of which another has, and
              what is known of it; or raises ValueError
    """

    columns: tuple[str, ...]
    optional: tuple[str, ...]
    check: Callable[[dict[str, str]], tuple[list[str], dict[str, Any]]]


def _pair(texts: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    baidu.row(texts["ak"], texts["sk"])
    return [texts["ak"]], {"ak": texts["ak"], "sk": texts["sk"]}


def _name(texts: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    baidu.row(texts["ak"], "-")  # what could not be imported cannot be there
    return [texts["ak"]], {"ak": texts["ak"]}


def _record(texts: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    numbers = {name: _number(name, texts[name]) for name in REGISTER.columns}
    identity = {name: texts.get(name, "") for name in REGISTER.optional}
    body = feishu.record(**numbers, **identity)
    # A MAC may be that of a dock or an adapter, and go from one computer to the next.
    own = [name for name in feishu.IDENTITY if name in body and name != "mac_address"]
    return [f"{body['device_system']}/{name}/{body[name]}" for name in own], body


def _number(name: str, text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"{name} is a number, unlike {text!r}")
    return int(text)


def _config(texts: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    for name in BIND.columns:
        if not texts[name]:
            raise ValueError(f"{name} is empty")
    return [texts["value"]], {"label": texts["label"], "value": texts["value"]}


IMPORT = Kind(("ak", "sk"), (), _pair)
CHANGE = Kind(("ak",), (), _name)
REGISTER = Kind(("device_system", "device_ownership", "device_status"), feishu.IDENTITY, _record)
BIND = Kind(("label", "value"), (), _config)


def read(file: IO[bytes], name: str, kind: Kind, journal: Journal) -> None:
    """Reads a CSV into the journal's list of devices.

    Raises:
        ValueError: names the rows that are wrong.
    """

    def take(line: int, texts: dict[str, str]) -> None:
        names, known = kind.check(texts)
        earlier = journal.add(line, names, known)
        if earlier:
            raise ValueError(f"the same device as in line {earlier}")

    try:
        rows.read(file, name, kind.columns, kind.optional, take, words=("label",))
    except ValueError as e:
        raise ValueError(f"{e}\nNothing was sent.") from None


# What a person knows a device by.
NAMES = ("ak", "value", *feishu.IDENTITY)
