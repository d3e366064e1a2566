"""What Feishu remembers: apps, their tokens, and the tenant's device records."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..coze.store import number
from .answer import LIMIT_S

if TYPE_CHECKING:
    from ..state import State

KEPT_S = 1800  # with as much left, the same token comes back
SHOWN = 100
CHUNK = 1000

SCHEMA = """
CREATE TABLE IF NOT EXISTS feishu_apps (
    app_id TEXT PRIMARY KEY, app_secret TEXT NOT NULL, scopes TEXT NOT NULL,
    token_s INTEGER NOT NULL, per_second INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS feishu_tokens (
    token TEXT PRIMARY KEY, app_id TEXT NOT NULL, expires REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS feishu_records (
    id INTEGER PRIMARY KEY, device_record_id TEXT NOT NULL, device TEXT NOT NULL, created REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS feishu_features (
    device_system INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
    PRIMARY KEY (device_system, name, value)
) WITHOUT ROWID;
"""


class Store:
    """Feishu's tables in the box's one database. All of its apps are one tenant's."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._counted: dict[str, tuple[float, int]] = {}

    def add_app(self, scopes: Iterable[str], token_s: int, per_second: int) -> dict[str, Any]:
        row = self._state.one(
            "INSERT INTO feishu_apps VALUES (?, ?, ?, ?, ?) RETURNING *",
            "cli_" + secrets.token_hex(8),
            secrets.token_hex(16),
            " ".join(scopes),
            token_s,
            per_second,
        )
        assert row is not None
        return row

    def app(self, app_id: str) -> dict[str, Any] | None:
        return self._state.one("SELECT * FROM feishu_apps WHERE app_id = ?", app_id)

    def app_with_token(self, token: str) -> dict[str, Any] | None:
        return self._state.one(
            "SELECT feishu_apps.* FROM feishu_apps JOIN feishu_tokens USING (app_id)"
            " WHERE token = ? AND expires > ?",
            token,
            self._state.now(),
        )

    def token_for(self, app: dict[str, Any]) -> tuple[str, int]:
        """An app's token and the seconds that are left of it; one that it has while that is half an hour."""
        now = self._state.now()
        known = self._state.one(
            "SELECT token, expires FROM feishu_tokens WHERE app_id = ? AND expires >= ?",
            app["app_id"],
            now + KEPT_S,
        )
        if known:
            return known["token"], math.floor(known["expires"] - now)
        token = "t-" + secrets.token_hex(20)
        self._state.run(
            "INSERT INTO feishu_tokens VALUES (?, ?, ?)", token, app["app_id"], now + app["token_s"]
        )
        return token, app["token_s"]

    def count(self, app: dict[str, Any]) -> bool:
        """Counts a call; False, and not counted, if it is one too many in its second."""
        now = self._state.now()
        start, calls = self._counted.get(app["app_id"], (-math.inf, 0))
        if not 0 <= now - start < LIMIT_S:
            start, calls = now, 0
        if calls == app["per_second"]:
            return False
        self._counted[app["app_id"]] = start, calls + 1
        return True

    def create(self, device: dict[str, Any], features: dict[str, str]) -> str | None:
        """The new record's id; None if a device of this system has one of the features already."""
        system, record_id = device["device_system"], number()
        with self._state.transaction() as db:
            for name, value in features.items():
                if db.execute(
                    "SELECT 1 FROM feishu_features WHERE device_system = ? AND name = ? AND value = ?",
                    (system, name, value),
                ).fetchone():
                    return None
            db.executemany(
                "INSERT INTO feishu_features VALUES (?, ?, ?)",
                [(system, name, value) for name, value in features.items()],
            )
            db.execute(
                "INSERT INTO feishu_records (device_record_id, device, created) VALUES (?, ?, ?)",
                (record_id, json.dumps(device), self._state.now()),
            )
        return record_id

    def records(self) -> Iterator[dict[str, Any]]:
        """Every record, in the order of creation; a thousand at a time are in memory."""
        last = 0
        while rows := self._state.run(
            "SELECT * FROM feishu_records WHERE id > ? ORDER BY id LIMIT ?", last, CHUNK
        ):
            last = rows[-1]["id"]
            yield from map(_shown, rows)

    def summary(self) -> dict[str, Any]:
        """How many records there are, and the newest, the newest first; no secrets."""
        counted = self._state.one("SELECT count(*) AS n FROM feishu_records")
        assert counted is not None
        newest = self._state.run("SELECT * FROM feishu_records ORDER BY id DESC LIMIT ?", SHOWN)
        return {
            "apps": [
                row["app_id"] for row in self._state.run("SELECT app_id FROM feishu_apps ORDER BY rowid")
            ],
            "count": counted["n"],
            "records": [_shown(row) for row in newest],
        }


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "device_record_id": row["device_record_id"],
        "created": row["created"],
        **json.loads(row["device"]),
    }
