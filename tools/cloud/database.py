"""The one SQLite database in which the clouds remember."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from os import PathLike
from typing import Any

from .notation import beijing

CHUNK = 1000


class Database:
    """An SQLite file or, for `:memory:`, one that lasts as long as this object.

    Used from the server's thread and from the one that asks it questions, so each statement
    holds a lock. now: the Unix time that the clouds go by.
    """

    def __init__(self, path: str | PathLike[str] = ":memory:", now: Callable[[], float] = time.time) -> None:
        self.now = now
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.create_function("beijing", 1, beijing)
        # Every call is written; an fsync for each would be most of its time.
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")

    def create(self, schema: str) -> None:
        self._db.executescript(schema)

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """For several statements of which all are done, or none."""
        with self._lock, self._db:
            yield self._db

    def run(self, sql: str, *values: Any) -> list[dict[str, Any]]:
        with self.transaction() as db:
            return [dict(row) for row in db.execute(sql, values)]

    def find(self, table: str, **known: Any) -> dict[str, Any] | None:
        """The first row with these values, if there is one."""
        where = " AND ".join(f"{column} = ?" for column in known)
        return next(iter(self.run(f"SELECT * FROM {table} WHERE {where}", *known.values())), None)

    def put(self, table: str, **values: Any) -> dict[str, Any]:
        """The row that is made, or that replaces the one with its key."""
        columns, places = ", ".join(values), ", ".join("?" * len(values))
        insert = f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({places}) RETURNING *"
        return self.run(insert, *values.values())[0]

    def each(self, sql: str) -> Iterator[dict[str, Any]]:
        """Rows by their id, a thousand at a time; the statement takes the last id and how many."""
        last = 0
        while rows := self.run(sql, last, CHUNK):
            last = rows[-1]["id"]
            yield from rows
