"""What Feishu remembers: apps, their tokens, and the tenant's device records."""

import json
import math
import secrets
from collections.abc import Iterable, Iterator
from typing import Any

from ..database import Database
from ..notation import number

KEPT_S = 1800  # with as much left, the same token comes back
LIMIT_S = 1  # "10 次/秒"
NEWEST = 100

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


class Tenant:
    """Feishu's tables in the box's one database. All of its apps are one tenant's."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._counted: dict[str, tuple[float, int]] = {}
        db.create(SCHEMA)

    def add_app(self, scopes: Iterable[str], token_s: int, per_second: int) -> dict[str, Any]:
        made = {"app_id": "cli_" + secrets.token_hex(8), "app_secret": secrets.token_hex(16)}
        limits = {"token_s": token_s, "per_second": per_second}
        return self._db.put("feishu_apps", **made, scopes=" ".join(scopes), **limits)

    def app(self, app_id: str) -> dict[str, Any] | None:
        return self._db.find("feishu_apps", app_id=app_id)

    def app_with_token(self, token: str) -> dict[str, Any] | None:
        known = self._db.find("feishu_tokens", token=token)
        return self.app(known["app_id"]) if known and known["expires"] > self._db.now() else None

    def token_for(self, app: dict[str, Any]) -> tuple[str, int]:
        """An app's token and the seconds that are left of it; one that it has while that is half an hour."""
        now = self._db.now()
        kept = "SELECT token, expires FROM feishu_tokens WHERE app_id = ? AND expires >= ?"
        for known in self._db.run(kept, app["app_id"], now + KEPT_S):
            return known["token"], math.floor(known["expires"] - now)
        token = "t-" + secrets.token_hex(20)
        self._db.put("feishu_tokens", token=token, app_id=app["app_id"], expires=now + app["token_s"])
        return token, app["token_s"]

    def count(self, app: dict[str, Any]) -> bool:
        """Counts a call; False, and not counted, if it is one too many in its second."""
        now = self._db.now()
        start, calls = self._counted.get(app["app_id"], (-math.inf, 0))
        if not 0 <= now - start < LIMIT_S:
            start, calls = now, 0
        if calls == app["per_second"]:
            return False
        self._counted[app["app_id"]] = start, calls + 1
        return True

    def create(self, device: dict[str, Any], features: dict[str, str]) -> str | None:
        """The new record's id; None if a device of this system has one of the features already."""
        record_id = number()
        keys = [(device["device_system"], name, value) for name, value in features.items()]
        with self._db.transaction() as db:
            for key in keys:
                known = "SELECT 1 FROM feishu_features WHERE device_system = ? AND name = ? AND value = ?"
                if db.execute(known, key).fetchone():
                    return None
            db.executemany("INSERT INTO feishu_features VALUES (?, ?, ?)", keys)
            db.execute(
                "INSERT INTO feishu_records (device_record_id, device, created) VALUES (?, ?, ?)",
                (record_id, json.dumps(device), self._db.now()),
            )
        return record_id

    def records(self) -> Iterator[dict[str, Any]]:
        """Every record, in the order of creation; a thousand at a time are in memory."""
        return map(_record, self._db.each("SELECT * FROM feishu_records WHERE id > ? ORDER BY id LIMIT ?"))

    def summary(self) -> dict[str, Any]:
        """How many records there are, and the newest, the newest first; no secrets."""
        return {
            "apps": [row["app_id"] for row in self._db.run("SELECT app_id FROM feishu_apps ORDER BY rowid")],
            "count": self.total(),
            "records": self.newest(),
        }

    def total(self) -> int:
        """How many records there are."""
        return int(self._db.run("SELECT count(*) AS n FROM feishu_records")[0]["n"])

    def newest(self, find: str = "", limit: int = NEWEST) -> list[dict[str, Any]]:
        """The records with a text in their id or what they say of the device, the newest first."""
        rows = self._db.run(
            "SELECT * FROM feishu_records WHERE instr(lower(device_record_id || ' ' || device), lower(?))"
            " ORDER BY id DESC LIMIT ?",
            find,
            limit,
        )
        return [_record(row) for row in rows]


def _record(row: dict[str, Any]) -> dict[str, Any]:
    known = {name: row[name] for name in ("device_record_id", "created")}
    return {**known, **json.loads(row["device"])}
