"""Which board got which identity: a CSV of identities, and a journal beside it of whom they were given.

The journal, FILE.csv.boards, is JSON lines. What a board got is on disk before the board gets it: after
a kill at any moment the same board gets the same row again, and no other board does.

Lines that are missing are noticed. Each has a digest of all before it ("after"; those of earlier versions
have none, and stand first). How far the journal had come is remembered twice: in FILE.csv.last, which is
copied along with the two, and in the user's state folder, which knows the batch by its first row wherever
its files lie. So a CSV without its journal, and a journal that ends too early, are refused. What nobody can
notice is a batch that goes on on two computers at once.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from muster import cmei, config
from muster.errors import ConfigError
from muster.redact import is_secret

from tools.common import rows
from tools.common.paths import state_folder

# Of a digest, which is there against mishaps and not against forgers.
DIGITS = 16

# What no two boards may share.
NUMBERS = ("deviceNo", "cmei", "imei")

# A configuration that a row completes: the rest is the product's, and not known here.
_PRODUCT = {
    "productId": "-",
    "productKey": "-",
    "deviceNo": "auto",
    "cmei": cmei.make("11000000", 0),
    "firmwareVersion": "-",
}
_KEYS = tuple(config.check(_PRODUCT))
_WORDS = tuple(key for key in _KEYS if key not in NUMBERS)
_LETTERS = re.compile("[0-9A-Za-z]")
_MAC = re.compile("(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_UNBURNT = ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff")


class LedgerError(ValueError):
    """No row can be given; the text says why, and what to do."""


class Ledger:
    """The identities of a CSV file, each for one board; threads may share it, other processes are kept out.

    Raises LedgerError or ValueError for a file that is wrong, and LedgerError for a journal that is
    damaged, in use, lacks lines, or speaks of rows that the CSV no longer has. It is a context manager.
    """

    def __init__(self, csv_path: str | Path) -> None:
        # Through a link it would be another journal, and the same identities again.
        self._csv = Path(csv_path).resolve()
        self._path = self._csv.with_name(self._csv.name + ".boards")
        given = read(self._csv)
        self._rows = len(given)
        self._alone = threading.Lock()
        # It has the same rows, so nobody else may read it.
        self._path.touch(self._csv.stat().st_mode & 0o666 | 0o600)
        self._journal = self._path.open("a+b", buffering=0)
        self._digest, self._lines = hashlib.sha256(), 0
        try:
            self._lock()
            self._row_of, ends = self._load()
            # In the order in which they were given.
            first = next(iter(self._row_of.values()), given[0])
            batch = hashlib.sha256(repr(keys(first)).encode()).hexdigest()[:DIGITS]
            self._marks = (
                self._csv.with_name(self._csv.name + ".last"),
                state_folder() / f"batch-{batch}.json",
            )
            self._check_marks(ends)
            taken = self._check_taken(given)
            self._mark()
        except BaseException:
            self.close()
            raise
        self._free = deque(row for row in given if _content(row) not in taken)

    @property
    def given(self) -> int:
        """How many boards have a row."""
        return len(self._row_of)

    @property
    def left(self) -> int:
        """How many rows no board has."""
        return len(self._free)

    def claim(self, mac: str) -> dict[str, str]:
        """Returns the board's row, column -> value: the one that it has, else the next that nobody has.

        mac: the base MAC, as esptool prints it. Raises LedgerError when no row is left, and OSError when
        the journal cannot be written.
        """
        mac = _board(mac)
        with self._alone:
            if mac not in self._row_of:
                if not self._free:
                    raise LedgerError(
                        f"no row of {self._csv} is left for {mac}: it has {self._rows:,}, and "
                        f"{len(self._row_of):,} are taken; add some with identities --append -o {self._csv}"
                    )
                row = self._free.popleft()
                self._append(mac, row=row)
                self._row_of[mac] = row
            return dict(self._row_of[mac])

    def note(self, mac: str, outcome: str) -> None:
        """Writes down what became of the board, for people; no secret may stand in it."""
        with self._alone:
            self._append(_board(mac), outcome=outcome)

    def close(self) -> None:
        """Lets others open it."""
        self._journal.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            _lock(self._journal)
        except (BlockingIOError, PermissionError):
            raise LedgerError(
                f"{self._csv} is in use by another run; let that one end, or give this one a CSV of its own"
            ) from None

    def _load(self) -> tuple[dict[str, dict[str, str]], set[str]]:
        """The rows that boards have, by MAC, and the digest at the end of each line."""
        self._journal.seek(0)
        data = self._journal.read()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            self._journal.truncate(len(whole))  # cut off by a crash: no board has got what it says
        # Killed before its own fsync, a run leaves lines that a power cut could still take away.
        os.fsync(self._journal.fileno())
        sync_folder(self._path)
        row_of: dict[str, dict[str, str]] = {}
        mac_of: dict[frozenset, str] = {}
        ends: set[str] = set()
        chained = False
        for number, line in enumerate(whole.splitlines(), 1):
            where = f"line {number} of {self._path}"
            try:
                mac, row, after = _entry(line)
            except (ValueError, KeyError, TypeError, AttributeError):
                raise LedgerError(
                    f"{where} is damaged, and may say which board has which row; mend it from a copy"
                ) from None
            chained = chained or after is not None
            if chained and after != self._end():
                raise LedgerError(
                    f"{where} does not follow what stands before it: lines are missing or were changed, "
                    "which may say which board has which row; mend it from a copy"
                )
            self._digest.update(line + b"\n")
            self._lines += 1
            ends.add(self._end())
            if row is None:
                continue
            if mac in row_of:
                raise LedgerError(f"{where} gives {mac} a second row; mend it from a copy")
            other = mac_of.setdefault(_content(row), mac)
            if other != mac:
                raise LedgerError(f"{where} gives {mac} the row that {other} has; mend it from a copy")
            row_of[mac] = row
        return row_of, ends

    def _end(self) -> str:
        """The digest of all lines so far."""
        return self._digest.hexdigest()[:DIGITS]

    def _check_marks(self, ends: set[str]) -> None:
        ahead: dict[Path, str] = {}
        for path in self._marks:
            # There is none, or a power cut has spoilt it.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                mark = json.loads(path.read_bytes())
                if mark["end"] not in ends:
                    ahead[path] = f"{mark['csv']}, whose journal then had {mark['lines']} lines"
        if ahead:
            through = " and ".join(sorted(set(ahead.values())))
            raise LedgerError(
                f"{self._path} lacks lines that may say which board has which row: boards were given rows of "
                f"this batch through {through}. Put the whole journal beside this CSV; if none of those "
                f"boards is in use, remove {' and '.join(map(str, ahead))} to begin anew"
            )

    def _mark(self) -> None:
        """Remembers how far the journal has come. It is no worse than before where that cannot be written."""
        if not self._lines:
            return
        mark = json.dumps({"end": self._end(), "lines": self._lines, "csv": str(self._csv)}).encode()
        for path in self._marks:
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(mark)

    def _check_taken(self, given: list[dict[str, str]]) -> set[frozenset]:
        there = {_content(row) for row in given}
        gone = [(mac, row) for mac, row in self._row_of.items() if _content(row) not in there]
        if gone:
            mac, row = gone[0]
            more = f" ({len(gone) - 1:,} more are missing)" if len(gone) > 1 else ""
            raise LedgerError(
                f"{self._csv} no longer has the row of the board {mac} as it was given: {_told(row)}{more}; "
                f"put it back, or its numbers could go to a second board"
            )
        return {_content(row) for row in self._row_of.values()}

    def _append(self, mac: str, **what: Any) -> None:
        if self._journal.closed:
            raise LedgerError(f"{self._path} is closed; open it again once it can be written")
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        entry = {"at": at, "mac": mac, **what, "after": self._end()}
        # A name of a file that is not UTF-8, say: its escape is JSON's too.
        line = json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        try:
            if self._journal.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            os.fsync(self._journal.fileno())
        except BaseException:
            # Nobody knows what is on disk now; whoever opens it next finds out.
            self.close()
            raise
        self._digest.update(line)
        self._lines += 1
        self._mark()


def read(path: Path, whole: bool = False) -> list[dict[str, str]]:
    """Returns the rows of a CSV of identities, column -> value.

    The columns are keys of config.json, deviceNo, cmei or imei among them; others are left out, or refused
    where the whole file is wanted. Raises ValueError, which names the rows that are wrong.
    """
    found = _Rows()
    checked: set[frozenset] = set()

    def take(line: int, row: dict[str, str]) -> None:
        _check_once(checked, row)
        found.add(line, row)

    with path.open("rb") as file:
        unused = rows.read(file, str(path), (), _KEYS, take, words=_WORDS)
    if whole and unused:
        raise LedgerError(
            f"{path} is written anew, and would lose its columns that are no keys of config.json: "
            f"take them out, or name another output and give this one as --earlier"
        )
    secret = next(filter(is_secret, found.rows[0]), None)
    if secret:
        raise LedgerError(
            f"{path} has the column {secret}, a secret of the whole product: it belongs into config.json"
        )
    if not any(column in NUMBERS for column in found.rows[0]):
        raise LedgerError(f"line 1 of {path} must name one of {', '.join(NUMBERS)}: what a board is known by")
    return found.rows


def check(row: dict[str, str]) -> None:
    """Raises LedgerError when a board's configuration cannot have this in it."""
    for column, value in row.items():
        if not value or value != value.strip():
            raise LedgerError(f"{column} is {value!r}; it is never empty, and has no blank at either end")
    try:
        config.check({**_PRODUCT, **row})
    except ConfigError as e:
        raise LedgerError(str(e)) from None


def keys(row: dict[str, str]) -> list[tuple[str, str]]:
    """What a row is known by, and no other may be: pairs of a column and its value.

    The last digit of a CMEI means nothing, so the 14 before it are what counts; an IMEI's follows from them.
    """
    return [(name, row[name] if name == "deviceNo" else row[name][:14]) for name in NUMBERS if name in row]


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Waits until no other command works on the file, and keeps others waiting."""
    lock = path.with_name(f".{path.name}.lock")
    while True:
        with lock.open("a+b") as file:
            _lock(file, wait=True)
            if os.fstat(file.fileno()).st_nlink:  # else the one before has removed it
                try:
                    yield
                finally:
                    with contextlib.suppress(PermissionError):  # Windows
                        lock.unlink()
                return


def _lock(file: IO[bytes], wait: bool = False) -> None:
    if os.name == "nt":
        import msvcrt

        # What is locked cannot be read by others either: a place where nothing will ever stand.
        file.seek(1 << 30)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def sync_folder(path: Path) -> None:
    """After this a power cut no longer takes away the name of a file that was made or renamed."""
    if os.name != "nt":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class _Rows:
    """Rows of which no two boards may share a number."""

    def __init__(self) -> None:
        self.rows: list[dict[str, str]] = []
        self._lines: dict[tuple[str, str], int] = {}

    def add(self, line: int, row: dict[str, str]) -> None:
        for key in keys(row):
            earlier = self._lines.setdefault(key, line)
            if earlier != line:
                raise LedgerError(f"{key[0]} {row[key[0]]} is in line {earlier} already")
        self.rows.append(row)


def _check_once(checked: set[frozenset], row: dict[str, str]) -> None:
    like = _like(row)
    if like not in checked:
        check(row)
        checked.add(like)


def _like(row: dict[str, str]) -> frozenset:
    """The same for rows of which all are right when one is: a batch of a million takes seconds to check.

    That is so when they differ in numbers that are right, and in the letters and digits of a deviceNo.
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
    return _content(like)


def _content(row: dict[str, str]) -> frozenset:
    return frozenset(row.items())


def _told(row: dict[str, str]) -> str:
    return ", ".join(f"{name} {row[name]}" for name in NUMBERS if name in row)


def _board(mac: str) -> str:
    mac = mac.lower()
    if not _MAC.fullmatch(mac) or mac in _UNBURNT:
        raise LedgerError(f"{mac!r} is no board's MAC; expected its base MAC, such as 24:0a:c4:00:00:01")
    return mac


def _entry(line: bytes) -> tuple[str, dict[str, str] | None, str | None]:
    """The MAC in a line of the journal, the row that it got, if the line is about that, and its digest."""
    entry = json.loads(line)
    if "outcome" in entry:
        return _board(entry["mac"]), None, entry.get("after")
    row = entry["row"]
    if not all(isinstance(value, str) for value in row.values()):
        raise TypeError
    return _board(entry["mac"]), row, entry.get("after")
