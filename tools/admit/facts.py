"""What the rules judge: gathered once, from a product or from a board in hand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from muster import cmei
from muster import config as configuration
from muster.errors import ConfigError
from muster.redact import Masked, redact

from tools.common import rows as csv_rows
from tools.factory import batch

SECRET_INFO = "/v2/customer/device/secret/info"
REPORT = "/v2/customer/device/report"
HIDDEN = "*" * 8  # as long as a secret must be at least

NOT_SO_FAR = "it did not come so far; why stands above"

# How a device is started.
FIRST, REBOOT, CUT, TORN = "first start", "reboot", "power cut", "power cut during a write"

# What a key is taken for while the others are checked, where it has no default.
_STAND_INS = {
    "productId": "-",
    "productKey": "-",
    "deviceNo": "auto",
    "firmwareVersion": "-",
    "cmei": cmei.make("11000000", 0),
    "imei": cmei.make("86000000", 0),
}
# Keys that a rule of the document judges. What is wrong with another ends the check at once.
JUDGED = (
    *("productId", "productKey", "deviceNoType", "deviceNo", "imei", "cmei", "baseUrl"),
    *("firmwareVersion", "sdkVersion", "platform", "netType", "period", "jitter", "spread", "deadline"),
)


class Unseen(Exception):
    """What a rule asks about was not seen; the text says why."""


@dataclass(frozen=True)
class Start:
    """The device starts. at: Unix seconds, as all times here."""

    at: float
    how: str


@dataclass(frozen=True)
class Call:
    """A request of the device's, and its answer. device_ip: the header X-AI-IP. code: None without an answer.

    body: what its JSON says; {} where it is none.
    """

    at: float
    method: str
    path: str
    content_type: str
    device_ip: str | None
    body: Mapping[str, Any]
    code: str | None = None
    reason: str | None = None

    @property
    def accepted(self) -> bool:
        return self.code == "200"

    @property
    def answer(self) -> str:
        return f"the platform answered code {self.code}: {self.reason}" if self.code else f"{self.reason}"


@dataclass(frozen=True)
class Kept:
    """What the device had on flash then: how many reports it has made, when the last, and T_next."""

    at: float
    last: int
    next: int
    reports: int

    @property
    def pause(self) -> int:
        """T_next - T_current, in seconds."""
        return self.next - self.last


@dataclass(frozen=True)
class Facts:
    """All that is known of a product, or of a board in hand.

    subject      what was looked at, for people
    hand         whether it is a board in hand, which talks to the platform that its configuration names
    config       as its file has it, completed by the first row of the batch, with the defaults; it holds
                 secrets, of a board in hand HIDDEN in their place
    refused      key -> what is wrong with it; a board does not start with such a configuration
    device_no    the device's number itself, where config has "auto"
    rows         of the batch, None without one
    roots        how many CA roots go along, None if that was not looked at
    identity     deviceId and deviceSecret as the platform has given them; HIDDEN as above
    events       in order: starts, calls, and what was on flash after each heartbeat
    until        when it was looked at last
    had_secret   whether a board in hand had its secret before it reported
    secret_kept  whether a board in hand had the same secret after its reboot; None if it had none before
    unseen       why there are no events, or not all: a sentence
    differences  in what the board differed from one that ships
    """

    subject: str
    hand: bool
    config: Mapping[str, Any]
    device_no: str
    refused: Mapping[str, str] = field(default_factory=dict)
    rows: list[csv_rows.Row] | None = None
    roots: int | None = None
    identity: Mapping[str, str] = field(default_factory=dict)
    events: tuple[Start | Call | Kept, ...] = ()
    until: float = 0
    had_secret: bool = False
    secret_kept: bool | None = None
    unseen: str = ""
    differences: tuple[str, ...] = ()

    @property
    def cellular(self) -> bool:
        return self.config.get("cellular") is True

    @property
    def calls(self) -> list[Call]:
        return [event for event in self.events if isinstance(event, Call)]

    @property
    def enrolments(self) -> list[Call]:
        """Raises Unseen where none was seen."""
        if self.had_secret:
            raise Unseen("the board had its secret before, so that no fetch could be seen")
        return self._seen(SECRET_INFO)

    @property
    def heartbeats(self) -> list[Call]:
        """Raises Unseen where none was seen."""
        return self._seen(REPORT)

    @property
    def kept(self) -> list[Kept]:
        """Raises Unseen where nothing was."""
        found = [event for event in self.events if isinstance(event, Kept)]
        if not found:
            raise Unseen(NOT_SO_FAR if self.unseen else "the board has no time of a report on its flash")
        return found

    def after(self, how: str) -> list[Start | Call | Kept]:
        """The events from the device's start in that way to its next start. Raises Unseen without one."""
        starts = [at for at, event in enumerate(self.events) if isinstance(event, Start)]
        for at, following in zip(starts, [*starts[1:], None], strict=False):
            start = self.events[at]
            if isinstance(start, Start) and start.how == how:
                return list(self.events[at + 1 : following])
        if self.hand and how != REBOOT:
            raise Unseen(f"a {how} cannot be made from here: check it on a virtual board, with --config")
        raise Unseen(NOT_SO_FAR)

    def hide(self, text: str) -> str:
        """The text without any secret of the device's."""
        return redact(text, [*configuration.secrets(self.config), self.identity.get("deviceSecret", "")])

    def _seen(self, path: str) -> list[Call]:
        found = [call for call in self.calls if call.path == path]
        if not found:
            raise Unseen(NOT_SO_FAR)
        return found


def read_product(path: Path, identities: Path | None) -> tuple[dict[str, Any], list[csv_rows.Row] | None]:
    """The configuration of a product's first board, as the files have it, and the rows of the batch.

    Raises ConfigError and ValueError.
    """
    raw, problem = configuration.read(str(path))
    if not problem and not isinstance(raw, dict):
        problem = f"{path} is no JSON object; expected {{…}} with the keys of config.json in it"
    if problem:
        raise ConfigError(problem)
    if identities is None:
        return raw, None
    rows = read_rows(identities)
    for name in batch.NUMBERS:
        if name not in rows[0] and raw.get(name, "") not in ("", "auto"):
            raise ConfigError(
                f"all boards of {identities} would share the {name} {raw[name]} of {path}: give the CSV a "
                f"column {name}, or take it out of the configuration."
            )
    return batch.completed(raw, rows[0]), rows


def read_rows(path: Path) -> list[csv_rows.Row]:
    """The rows of a batch, as they are where a rule of the document judges what is wrong with them.

    Raises ValueError.
    """
    try:
        return batch.read(path)
    except ValueError as e:
        if not any(name in str(e) for name in batch.NUMBERS):
            raise
        rows: list[csv_rows.Row] = []
        with path.open("rb") as file:
            columns = (*JUDGED, batch.SETUP_KEY)
            csv_rows.read(file, str(path), (), columns, lambda _, row: rows.append(row), JUDGED)
        if not rows or not set(batch.NUMBERS) & set(rows[0]):
            raise
        return rows


def refusals(raw: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The configuration with its defaults, and what is wrong with its keys: key -> sentence.

    A key that is wrong keeps its value. Raises ConfigError for one that no rule of the document judges.
    """
    refused: dict[str, str] = {}
    tried = dict(raw)
    while True:
        try:
            whole = configuration.check(tried)
            break
        except ConfigError as e:
            found = re.match(r'configuration key "(\w+)', str(e))
            key = found[1] if found else ""
            if key not in JUDGED or key in refused:
                raise
            refused[key] = str(e)
            tried.pop(key, None)
            if key in _STAND_INS:
                tried[key] = _STAND_INS[key]
            if key in batch.NUMBERS:
                tried.pop("deviceNoType", None)  # which wants two of them to be the same
    return Masked({**whole.plain(), **{key: raw.get(key) for key in refused}}), refused
