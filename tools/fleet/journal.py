"""What became of each device, remembered on disk, so that no run does a thing twice.

The batch itself lies in a private temporary database, which SQLite keeps out of memory and
deletes by itself; the journal is attached to it. It is the account's, whatever files the devices
come in, since what one file deletes another may import again. That a device is sent is written
before the call: after a kill, "sent" means that nobody knows.
"""

import contextlib
import hashlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.common.paths import state_folder

# States. A device without one has not been sent.
SENT, DONE, FAILED, UNCONFIRMED = "sent", "done", "failed", "unconfirmed"

# Never written: looked up, and not there, so that it can be sent.
ABSENT = "absent"

_OURS = 0x6D757374  # "must", in SQLite's field for whose file it is

_BATCH = """
PRAGMA main.journal_mode = OFF;
PRAGMA main.synchronous = OFF;
CREATE TABLE main.row (line INTEGER PRIMARY KEY, device TEXT UNIQUE, digest TEXT, known TEXT);
CREATE TABLE main.name (name TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID;
"""
_JOURNAL = """
CREATE TABLE IF NOT EXISTS journal.run (
    id INTEGER PRIMARY KEY, scope TEXT NOT NULL, command TEXT NOT NULL, UNIQUE (scope, command)
);
CREATE TABLE IF NOT EXISTS journal.outcome (
    run INTEGER, device TEXT, digest TEXT, state TEXT, note TEXT, code TEXT, record TEXT, at INTEGER,
    PRIMARY KEY (run, device)
) WITHOUT ROWID;
"""
_JOINED = """
FROM main.row LEFT JOIN journal.outcome
ON outcome.run = ? AND outcome.device = row.device AND outcome.digest = row.digest
"""

# What undoes a command's effect: a device that was enabled since can be disabled once more.
_UNDOES = {
    "import": ("delete",),
    "delete": ("import", "enable", "disable"),
    "enable": ("disable",),
    "disable": ("enable",),
}


def default(scope: str) -> Path:
    """The account's journal."""
    name = re.sub(r"[^\w.-]+", "-", scope.removeprefix("https://").strip())
    return state_folder() / "fleet" / f"{name[:80]}.journal"


@dataclass(frozen=True)
class Row:
    """A device of the batch: its line in the input, its name in the journal, what is known of it."""

    line: int
    device: str
    known: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a device. `strange`: for a reason that may have nothing to do with it."""

    row: Row
    state: str
    note: str = ""
    code: str | None = None
    record: str | None = None
    strange: bool = False


class Journal:
    """First takes the batch with add(), then remembers what becomes of it, once it is open()."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, timeout=0.5)
        self._db.executescript(_BATCH)
        self._db.execute("BEGIN")

    def add(self, line: int, names: list[str], known: dict[str, Any]) -> int | None:
        """Adds a device to the batch; or returns the line of one that has a name of its names."""
        for name in names:
            earlier = self._value("SELECT line FROM main.name WHERE name = ?", name)
            if earlier:
                return earlier
        self._db.executemany("INSERT INTO main.name VALUES (?, ?)", ((name, line) for name in names))
        text = json.dumps(known, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        values = (line, " ".join(names), digest, text)
        self._db.execute("INSERT INTO main.row VALUES (?, ?, ?, ?)", values)
        return None

    def open(self, path: Path | None, scope: str, command: str) -> None:
        """Opens the journal, in memory without a path.

        scope     whose devices they are: the cloud, the account, the product

        Raises:
            ValueError: the file is another program's, damaged or in use, or cannot be written.
        """
        self._commit_if_any()
        try:
            if path == default(scope):
                path.parent.mkdir(parents=True, exist_ok=True)
            if path:
                # Names and digests of keys are nobody else's business; SQLite would obey the umask.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as e:
            raise ValueError(
                f"the journal {path} cannot be written: {e.strerror}; name another with --journal FILE"
            ) from None
        with in_words(path):
            self._db.execute("ATTACH ? AS journal", (str(path or ":memory:"),))
            # Held until the process ends, even by SIGKILL: two runs at once would send twice.
            self._db.execute("PRAGMA journal.locking_mode = EXCLUSIVE")
            self._check_ours(path)
            self._db.execute("PRAGMA journal.journal_mode = WAL")
            self._db.execute(f"PRAGMA journal.application_id = {_OURS}")
            self._db.executescript(_JOURNAL)
            self._run = self._run_of(scope, command)
        self._undone = [self._run_of(scope, other) for other in _UNDOES.get(command, ())]
        self._db.execute("BEGIN")

    def _check_ours(self, path: Path | None) -> None:
        tables = self._value("SELECT count(*) FROM journal.sqlite_master")
        if tables and self._value("PRAGMA journal.application_id") != _OURS:
            raise ValueError(f"{path} is no journal of fleet's; name another with --journal FILE")
        found = self._value("PRAGMA journal.quick_check(1)")
        if found != "ok":
            raise sqlite3.DatabaseError(f"malformed: {found}")

    def _run_of(self, scope: str, command: str) -> int:
        self._db.execute("INSERT OR IGNORE INTO journal.run (scope, command) VALUES (?, ?)", (scope, command))
        return self._value("SELECT id FROM journal.run WHERE scope = ? AND command = ?", scope, command)

    def count(self, *states: str | None) -> int:
        """How many devices of the batch are in one of these states; None is "not sent"."""
        return self._value(f"SELECT count(*) {_JOINED} WHERE {_among(states)}", self._run)

    def batches(self, size: int, *states: str | None) -> Iterator[list[Row]]:
        """The devices that are in one of these states, at most `size` at a time, by line.

        Each time it looks anew: what has changed its state behind its back does not matter.
        """
        wanted = f"SELECT line, row.device, known {_JOINED} WHERE row.line > ? AND {_among(states)}"
        line = 0
        while True:
            found = self._db.execute(f"{wanted} ORDER BY line LIMIT ?", (self._run, line, size)).fetchall()
            if not found:
                return
            line = found[-1][0]
            yield [Row(at, device, json.loads(known)) for at, device, known in found]

    def sent(self, rows: Iterable[Row]) -> None:
        """These are about to be sent; commit() before they are."""
        self._write((row, SENT, "", None, None) for row in rows)
        for run in self._undone:
            self._db.executemany(
                "DELETE FROM journal.outcome WHERE run = ? AND device = ?",
                ((run, row.device) for row in rows),
            )

    def record(self, outcome: Outcome) -> None:
        self._write([(outcome.row, outcome.state, outcome.note, outcome.code, outcome.record)])

    def forget(self, rows: Iterable[Row]) -> None:
        """These have certainly not been taken."""
        self._db.executemany(
            "DELETE FROM journal.outcome WHERE run = ? AND device = ?",
            ((self._run, row.device) for row in rows),
        )

    def _write(self, outcomes: Iterable[tuple[Any, ...]]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO journal.outcome "
            "SELECT ?, device, digest, ?, ?, ?, ?, ? FROM main.row WHERE line = ?",
            (
                (self._run, state, note, code, record, int(time.time()), row.line)
                for row, state, note, code, record in outcomes
            ),
        )

    def commit(self) -> None:
        """Nothing that was written before this is lost by a kill."""
        self._commit_if_any()
        self._db.execute("BEGIN")

    def outcomes(self, *states: str | None) -> Iterator[tuple[Row, str | None, str, str | None, str | None]]:
        """Row, state, note, code and record of the devices in these states; of all without any."""
        query = f"SELECT line, row.device, known, state, note, code, record {_JOINED}"
        if states:
            query += f" WHERE {_among(states)}"
        for line, device, known, *rest in self._db.execute(f"{query} ORDER BY line", (self._run,)):
            yield (Row(line, device, json.loads(known)), *rest)

    def close(self) -> None:
        self._commit_if_any()
        self._db.close()

    def _commit_if_any(self) -> None:
        if self._db.in_transaction:
            self._db.execute("COMMIT")

    def _value(self, query: str, *parameters: Any) -> Any:
        found = self._db.execute(query, parameters).fetchone()
        return found[0] if found else None


def _among(states: Iterable[str | None]) -> str:
    return "(" + " OR ".join("state IS NULL" if s is None else f"state = '{s}'" for s in states) + ")"


@contextlib.contextmanager
def in_words(path: Path | None) -> Iterator[None]:
    """What SQLite finds wrong, as a ValueError."""
    try:
        yield
    except sqlite3.Error as e:
        raise ValueError(_trouble(path, str(e))) from None


def _trouble(path: Path | None, said: str) -> str:
    if "malformed" in said or "not a database" in said:
        return (
            f"{path} is no journal of fleet's, or damaged ({said}): delete it to begin anew, "
            "or name another with --journal FILE"
        )
    return f"the journal {path} cannot be used: {'another run is using it' if 'locked' in said else said}"
