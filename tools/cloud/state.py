"""What the clouds remember: products, devices, heartbeats, and every call that arrived."""

import contextlib
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from typing import Any

from .baidu import store as baidu
from .coze import store as coze
from .devices import Device
from .feishu import store as feishu

OVERDUE_S = 24 * 3600  # "24小时至少上报一次"
CALLS_SHOWN = 100
PATHS_SHOWN = 100

SCHEMA = """
CREATE TABLE IF NOT EXISTS products (
    product_id TEXT PRIMARY KEY, product_key TEXT NOT NULL, cellular INTEGER NOT NULL, since REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS devices (
    product_id TEXT NOT NULL, device_no TEXT NOT NULL, device_no_type TEXT NOT NULL,
    device_id TEXT NOT NULL UNIQUE, device_secret TEXT NOT NULL,
    first_secret REAL, secret_count INTEGER NOT NULL DEFAULT 0,
    last_report REAL, report_count INTEGER NOT NULL DEFAULT 0, params TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (product_id, device_no)
);
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, path TEXT NOT NULL,
    received INTEGER NOT NULL DEFAULT 0, device TEXT, status INTEGER, code TEXT, reason TEXT
);
CREATE INDEX IF NOT EXISTS calls_path ON calls (path);
CREATE TABLE IF NOT EXISTS ai_tokens (token TEXT PRIMARY KEY, product_id TEXT NOT NULL);
"""


class State:
    """The clouds' memory, in an SQLite file or, for `:memory:`, for as long as they run.

    Used from the server's thread and from the one that asks it questions, so each statement
    holds a lock.
    """

    def __init__(self, path: str | PathLike[str] = ":memory:", now: Callable[[], float] = time.time) -> None:
        self.now = now
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        # Every call is written; an fsync for each would be most of its time.
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA + coze.SCHEMA + baidu.SCHEMA + feishu.SCHEMA)
        self.coze = coze.Store(self)
        self.baidu = baidu.Store(self)
        self.feishu = feishu.Store(self)

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

    def one(self, sql: str, *values: Any) -> dict[str, Any] | None:
        return next(iter(self.run(sql, *values)), None)

    def add(self, devices: Iterable[Device]) -> None:
        """Imports devices. One that is known already keeps its id and its secret for ever."""
        now = self.now()
        with self.transaction() as db:
            for device in devices:
                db.execute(
                    "INSERT INTO products VALUES (?, ?, ?, ?) ON CONFLICT (product_id)"
                    " DO UPDATE SET product_key = excluded.product_key, cellular = excluded.cellular",
                    (device.product_id, device.product_key, device.cellular, now),
                )
                db.execute(
                    "INSERT INTO devices (product_id, device_no, device_no_type, device_id, device_secret)"
                    " VALUES (?, ?, ?, ?, ?) ON CONFLICT (product_id, device_no)"
                    " DO UPDATE SET device_no_type = excluded.device_no_type",
                    (
                        device.product_id,
                        device.device_no,
                        device.device_no_type,
                        secrets.token_hex(8),
                        secrets.token_hex(16),
                    ),
                )

    def product(self, product_id: str) -> dict[str, Any] | None:
        return self.one("SELECT * FROM products WHERE product_id = ?", product_id)

    def device(self, product_id: str, device_no: str) -> dict[str, Any] | None:
        return self.one("SELECT * FROM devices WHERE product_id = ? AND device_no = ?", product_id, device_no)

    def device_with_id(self, product_id: str, device_id: str) -> dict[str, Any] | None:
        return self.one("SELECT * FROM devices WHERE product_id = ? AND device_id = ?", product_id, device_id)

    def add_ai_token(self, token: str, product_id: str) -> None:
        self.run(
            "INSERT INTO ai_tokens VALUES (?, ?)"
            " ON CONFLICT (token) DO UPDATE SET product_id = excluded.product_id",
            token,
            product_id,
        )

    def ai_token(self, token: str | None) -> dict[str, Any] | None:
        return self.one("SELECT * FROM ai_tokens WHERE token = ?", token)

    def secret_fetched(self, device_id: str) -> None:
        self.run(
            "UPDATE devices SET secret_count = secret_count + 1, first_secret = coalesce(first_secret, ?)"
            " WHERE device_id = ?",
            self.now(),
            device_id,
        )

    def reported(self, device_id: str, params: dict[str, Any]) -> None:
        self.run(
            "UPDATE devices SET report_count = report_count + 1, last_report = ?, params = ?"
            " WHERE device_id = ?",
            self.now(),
            json.dumps(params),
            device_id,
        )

    def call_arrived(self, path: str) -> int:
        """Notes a call as soon as its header is there, before a byte of its body is read."""
        row = self.one(
            "INSERT INTO calls (time, path) VALUES (?, ?) RETURNING id", round(self.now(), 3), path
        )
        assert row is not None
        return int(row["id"])

    def call_ended(self, call: int, **known: Any) -> dict[str, Any]:
        """Completes a call with any of received (bytes of its body), device, status, code and reason."""
        columns = ", ".join(f"{column} = ?" for column in known)
        row = self.one(f"UPDATE calls SET {columns} WHERE id = ? RETURNING *", *known.values(), call)
        assert row is not None
        return row

    def calls(self, path: str | None = None, last: int = -1) -> list[dict[str, Any]]:
        """The calls so far, oldest first; of one path only, or only the last ones."""
        return self.run(
            "SELECT * FROM (SELECT * FROM calls WHERE ?1 IS NULL OR path = ?1 ORDER BY id DESC LIMIT ?2)"
            " ORDER BY id",
            path,
            last,
        )

    def devices(self) -> list[dict[str, Any]]:
        """Every device as the page shows it, in the order of import; no secrets."""
        rows = self.run("SELECT * FROM devices JOIN products USING (product_id) ORDER BY devices.rowid")
        return [self._shown(row) for row in rows]

    def _shown(self, row: dict[str, Any]) -> dict[str, Any]:
        since = row["last_report"] or row["first_secret"]
        params = json.loads(row["params"])
        number = "imei" if row["cellular"] else "cmei"
        warning = None
        if params and not params[number]:
            # The table lets it be empty, Q6 does not: it is checked when the product is admitted.
            warning = f"{number} is empty; the admission test asks for it"
        return {
            "productId": row["product_id"],
            "deviceNo": row["device_no"],
            "deviceNoType": row["device_no_type"],
            "deviceId": row["device_id"],
            "cellular": bool(row["cellular"]),
            "firstSecret": row["first_secret"],
            "secretCount": row["secret_count"],
            "lastReport": row["last_report"],
            "reportCount": row["report_count"],
            "overdue": since is not None and self.now() - since > OVERDUE_S,
            "warning": warning,
            "params": params,
        }

    def summary(self) -> dict[str, Any]:
        """Each cloud's devices, the last calls (oldest first) and how many went to the paths called most."""
        # Baidu's paths name devices, so there may be more of them than anybody wants.
        counts = self.run(
            "SELECT path, n FROM (SELECT path, count(*) AS n FROM calls GROUP BY path"
            " ORDER BY n DESC LIMIT ?) ORDER BY path",
            PATHS_SHOWN,
        )
        return {
            "time": round(self.now(), 3),
            "devices": self.devices(),
            "coze": self.coze.summary(),
            "baidu": self.baidu.summary(),
            "feishu": self.feishu.summary(),
            "calls": self.calls(last=CALLS_SHOWN),
            "counts": {row["path"]: row["n"] for row in counts},
        }
