"""Which board got which identity: a CSV of identities, and a journal beside it of whom they were given.

The journal, FILE.csv.boards, is JSON lines. What a board got is on disk before the board gets it: after
a kill at any moment the same board gets the same row again, and no other board does.

Lines that are missing are noticed: each has a digest of all before it. How far the journal had come is
remembered twice: in FILE.csv.last, which is copied along with the two, and in the user's state folder, which
knows the batch by its first row wherever its files lie. So a CSV without its journal, and a journal that ends
too early, are refused. What nobody can notice is a batch that goes on on two computers at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

from tools.common import files
from tools.common.paths import state_folder
from tools.common.rows import Row
from tools.factory import batch
from tools.factory.chained import DIGITS, ChainedLines, damaged

_MAC = re.compile("(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_UNBURNT = ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff")


class LedgerError(ValueError):
    """No row can be given; the text says why, and what to do."""


class Ledger:
    """The identities of a CSV file, each for one board; threads may share it, other processes are kept out.

    Raises ValueError for a file that is wrong, and LedgerError or ChainError for a journal that is damaged,
    in use, lacks lines, or speaks of rows that the CSV no longer has. It is a context manager.
    """

    def __init__(self, csv_path: str | Path) -> None:
        # Through a link it would be another journal, and the same identities again.
        self.path = Path(csv_path).resolve()
        journal = self.path.with_name(self.path.name + ".boards")
        rows = batch.read(self.path)
        self._rows = len(rows)
        self._row_of: dict[str, Row] = {}
        self._alone = threading.Lock()
        with contextlib.ExitStack() as opened:
            try:
                opened.enter_context(files.lock(journal).acquire(timeout=0))
            except TimeoutError:
                raise LedgerError(
                    f"{self.path} is in use by another run; let that one end, or give this one a CSV of "
                    "its own"
                ) from None
            # It has the same rows, so nobody else may read it.
            journal.touch(self.path.stat().st_mode & 0o666 | 0o600)
            self._lines = ChainedLines(journal)
            opened.callback(self._lines.close)
            taken = self._load()
            # In the order in which they were given.
            first = next(iter(self._row_of.values()), rows[0])
            name = hashlib.sha256(repr(batch.keys(first)).encode()).hexdigest()[:DIGITS]
            self._marks = (
                self.path.with_name(self.path.name + ".last"),
                state_folder() / f"batch-{name}.json",
            )
            self._check_marks()
            self._check_taken(rows)
            self._mark()
            self._opened = opened.pop_all()
        self._free = deque(row for row in rows if batch.content(row) not in taken)

    @property
    def given(self) -> int:
        """How many boards have a row."""
        return len(self._row_of)

    @property
    def left(self) -> int:
        """How many rows no board has."""
        return len(self._free)

    def claim(self, mac: str) -> Row:
        """Returns the board's row, column -> value: the one that it has, else the next that nobody has.

        mac: the base MAC, as esptool prints it. Raises LedgerError when no row is left, and OSError when
        the journal cannot be written.
        """
        mac = _board(mac)
        with self._alone:
            if mac not in self._row_of:
                if not self._free:
                    raise LedgerError(
                        f"no row of {self.path} is left for {mac}: it has {self._rows:,}, and "
                        f"{len(self._row_of):,} are taken; add some with identities --append -o {self.path}"
                    )
                row = self._free.popleft()
                self._append(mac, row=row)
                self._row_of[mac] = row
            return dict(self._row_of[mac])

    def note(self, mac: str, outcome: str, check: str = "") -> None:
        """Writes down what became of the board, for people; no secret may stand in it.

        check: what a check said of it.
        """
        with self._alone:
            self._append(_board(mac), outcome=outcome, **({"check": check} if check else {}))

    def close(self) -> None:
        """Lets others open it."""
        self._opened.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load(self) -> dict[frozenset, str]:
        """Reads which board has which row. Returns the MACs by the rows' contents."""
        mac_of: dict[frozenset, str] = {}
        for where, entry in self._lines.load():
            try:
                mac, row = _claim(entry)
            except (ValueError, KeyError, TypeError, AttributeError):
                raise damaged(where) from None
            if row is None:
                continue
            if mac in self._row_of:
                raise LedgerError(f"{where} gives {mac} a second row; mend it from a copy")
            other = mac_of.setdefault(batch.content(row), mac)
            if other != mac:
                raise LedgerError(f"{where} gives {mac} the row that {other} has; mend it from a copy")
            self._row_of[mac] = row
        return mac_of

    def _check_marks(self) -> None:
        ahead: dict[Path, str] = {}
        for path in self._marks:
            # There is none, or a power cut has spoilt it.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                mark = json.loads(path.read_bytes())
                if mark["end"] not in self._lines.ends:
                    ahead[path] = f"{mark['csv']}, whose journal then had {mark['lines']} lines"
        if ahead:
            through = " and ".join(sorted(set(ahead.values())))
            raise LedgerError(
                f"{self._lines.path} lacks lines that may say which board has which row: boards were given "
                f"rows of this batch through {through}. Put the whole journal beside this CSV; if none of "
                f"those boards is in use, remove {' and '.join(map(str, ahead))} to begin anew"
            )

    def _check_taken(self, rows: list[Row]) -> None:
        there = set(map(batch.content, rows))
        gone = [(mac, row) for mac, row in self._row_of.items() if batch.content(row) not in there]
        if gone:
            mac, row = gone[0]
            told = ", ".join(f"{name} {row[name]}" for name in batch.NUMBERS if name in row)
            more = f" ({len(gone) - 1:,} more are missing)" if len(gone) > 1 else ""
            raise LedgerError(
                f"{self.path} no longer has the row of the board {mac} as it was given: {told}{more}; "
                f"put it back, or its numbers could go to a second board"
            )

    def _append(self, mac: str, **what: Any) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._lines.append({"at": at, "mac": mac, **what})
        self._mark()

    def _mark(self) -> None:
        """Remembers how far the journal has come. It is no worse than before where that cannot be written."""
        lines = self._lines
        if not lines.ends:
            return
        mark = json.dumps({"end": lines.end, "lines": len(lines.ends), "csv": str(self.path)})
        for path in self._marks:
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                files.write(path, mark)


def _board(mac: str) -> str:
    mac = mac.lower()
    if not _MAC.fullmatch(mac) or mac in _UNBURNT:
        raise LedgerError(f"{mac!r} is no board's MAC; expected its base MAC, such as 24:0a:c4:00:00:01")
    return mac


def _claim(entry: dict[str, Any]) -> tuple[str, Row | None]:
    """The MAC in a line of the journal, and the row that it got, if the line is about that."""
    mac = _board(entry["mac"])
    if "outcome" in entry:
        return mac, None
    row = entry["row"]
    if not all(isinstance(value, str) for value in row.values()):
        raise TypeError
    return mac, row
