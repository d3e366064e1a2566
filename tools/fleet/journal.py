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
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tools.common.paths import state_folder

# States. NOT_SENT is never written: the journal has nothing about such a device.
NOT_SENT, SENT, DONE, FAILED, UNCONFIRMED = "not sent", "sent", "done", "failed", "unconfirmed"
UNKNOWN = (SENT, UNCONFIRMED)  # the cloud may have done what was asked
UNDONE = (SENT, FAILED, UNCONFIRMED)  # sent, and not known to be done

_OURS = 0x6D757374  # "must", in SQLite's field for whose file it is

_BATCH = """
PRAGMA main.journal_mode = OFF;
PRAGMA main.synchronous = OFF;
CREATE TABLE main.row (line INTEGER PRIMARY KEY, device TEXT, digest TEXT, known TEXT);
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
_STATE = f"ifnull(state, '{NOT_SENT}')"

# What undoes a command's effect: a device that was enabled since can be disabled once more.
_UNDOES = {
    "import": ("delete",),
    "delete": ("import", "enable", "disable"),
    "enable": ("disable",),
    "disable": ("enable",),
}

_encode = json.JSONEncoder(sort_keys=True).encode  # json.dumps would make one for each device


def default(scope: str) -> Path:
    """The account's journal."""
    name = re.sub(r"[^\w.-]+", "-", scope.removeprefix("https://").strip())
    return state_folder() / "fleet" / f"{name[:80]}.journal"


class BatchDevice(NamedTuple):
    """A device of the batch: its line in the input, its name in the journal, what is known of it."""

    line: int
    name: str
    known: dict[str, Any]


class DeviceOutcome(NamedTuple):
    """What became of a device. `strange`: for a reason that may have nothing to do with it."""

    device: BatchDevice
    state: str
    note: str = ""
    code: str | None = None
    record: str | None = None
    strange: bool = False


class Journal:
    """First takes the batch with add(), then remembers what becomes of it, once it is open()."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", timeout=0.5)
        self._db.executescript(_BATCH)

    def add(self, line: int, names: list[str], known: dict[str, Any]) -> None:
        """Adds a device to the batch. Raises ValueError if one of its names is another's."""
        try:
            self._db.executemany("INSERT INTO main.name VALUES (?, ?)", [(name, line) for name in names])
        except sqlite3.IntegrityError:
            either = ",".join("?" * len(names))
            earlier = self._value(f"SELECT min(line) FROM main.name WHERE name IN ({either})", *names)
            raise ValueError(f"the same device as in line {earlier}") from None
        text = _encode(known)
        digest = hashlib.sha256(text.encode()).hexdigest()
        self._db.execute("INSERT INTO main.row VALUES (?, ?, ?, ?)", (line, " ".join(names), digest, text))

    def open(self, path: Path | None, scope: str, command: str) -> None:
        """Opens the journal, in memory without a path.

        scope     whose devices they are: the cloud, the account, the product

        Raises:
            ValueError: the file is another program's, or cannot be written.
            sqlite3.Error: it is damaged or in use; in_words() says so.
        """
        self._db.commit()
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
        self._db.execute("ATTACH ? AS journal", (str(path or ":memory:"),))
        # Held until the process ends, even by SIGKILL: two runs at once would send twice.
        self._db.execute("PRAGMA journal.locking_mode = EXCLUSIVE")
        self._check_ours(path)
        self._db.execute("PRAGMA journal.journal_mode = WAL")
        self._db.execute(f"PRAGMA journal.application_id = {_OURS}")
        self._db.executescript(_JOURNAL)
        self._run = self._run_of(scope, command)
        self._undone = [self._run_of(scope, other) for other in _UNDOES.get(command, ())]
        self._db.commit()

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

    def counts(self) -> Counter[str]:
        """How many devices of the batch are in each state."""
        return Counter(
            dict(self._db.execute(f"SELECT {_STATE}, count(*) {_JOINED} GROUP BY 1", (self._run,)))
        )

    def batches(self, size: int, *states: str) -> Iterator[list[BatchDevice]]:
        """The devices that are in one of these states, at most `size` at a time, by line.

        Each time it looks anew: what has changed its state behind its back does not matter.
        """
        found = self.outcomes(*states, most=size)
        while devices := [outcome.device for outcome in found]:
            yield devices
            found = self.outcomes(*states, most=size, after=devices[-1].line)

    def outcomes(self, *states: str, most: int = -1, after: int = 0) -> Iterator[DeviceOutcome]:
        """What became of the devices that are in one of these states, of all without any, by line."""
        states = states or (NOT_SENT, SENT, DONE, FAILED, UNCONFIRMED)
        query = (
            f"SELECT line, row.device, known, {_STATE}, note, code, record {_JOINED}"
            f"WHERE line > ? AND {_STATE} IN ({','.join('?' * len(states))}) ORDER BY line LIMIT ?"
        )
        found = self._db.execute(query, (self._run, after, *states, most))
        for line, name, known, state, note, code, record in found:
            device = BatchDevice(line, name, json.loads(known))
            yield DeviceOutcome(device, state, note or "", code, record)

    def sent(self, devices: list[BatchDevice]) -> None:
        """These are about to be sent; commit() before they are."""
        self.record(DeviceOutcome(device, SENT) for device in devices)
        for run in self._undone:
            self._forget(run, devices)

    def record(self, outcomes: Iterable[DeviceOutcome]) -> None:
        now = int(time.time())
        self._db.executemany(
            "INSERT OR REPLACE INTO journal.outcome "
            "SELECT ?, device, digest, ?, ?, ?, ?, ? FROM main.row WHERE line = ?",
            (
                (self._run, one.state, one.note, one.code, one.record, now, one.device.line)
                for one in outcomes
            ),
        )

    def forget(self, devices: Iterable[BatchDevice]) -> None:
        """The cloud certainly has not taken these."""
        self._forget(self._run, devices)

    def _forget(self, run: int, devices: Iterable[BatchDevice]) -> None:
        self._db.executemany(
            "DELETE FROM journal.outcome WHERE run = ? AND device = ?", ((run, one.name) for one in devices)
        )

    def commit(self) -> None:
        """No kill undoes what was written before this."""
        self._db.commit()

    def close(self) -> None:
        self._db.commit()
        self._db.close()

    def _value(self, query: str, *parameters: Any) -> Any:
        return self._db.execute(query, parameters).fetchone()[0]


@contextlib.contextmanager
def in_words(path: Path | None) -> Iterator[None]:
    """What SQLite finds wrong, as a ValueError."""
    try:
        yield
    except sqlite3.Error as e:
        said = str(e)
        if "malformed" in said or "not a database" in said:
            raise ValueError(
                f"{path} is no journal of fleet's, or damaged ({said}): delete it to begin anew, "
                "or name another with --journal FILE"
            ) from None
        trouble = "another run is using it" if "locked" in said else said
        raise ValueError(f"the journal {path} cannot be used: {trouble}") from None
