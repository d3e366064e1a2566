"""What Baidu remembers: accounts, their quota, their devices, and how often it was sent each of them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..clock import beijing
from . import answer

if TYPE_CHECKING:
    from ..state import State

SHOWN = 100
CHUNK = 1000

SCHEMA = """
CREATE TABLE IF NOT EXISTS baidu_accounts (
    access_key_id TEXT PRIMARY KEY, secret_access_key TEXT NOT NULL, account_uuid TEXT NOT NULL,
    fc TEXT NOT NULL UNIQUE, fc_name TEXT NOT NULL, pk TEXT NOT NULL, dev_sku TEXT NOT NULL,
    quota INTEGER NOT NULL, spent INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS baidu_devices (
    id INTEGER PRIMARY KEY, fc TEXT NOT NULL, ak TEXT NOT NULL, sk TEXT NOT NULL,
    activated INTEGER NOT NULL DEFAULT 0, banned INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL GENERATED ALWAYS AS (
        CASE WHEN banned THEN 'BAN' WHEN activated THEN 'ACTIVATED' ELSE 'NOT_ACTIVE' END
    ) STORED,
    created REAL NOT NULL, updated REAL NOT NULL, UNIQUE (fc, ak)
);
CREATE INDEX IF NOT EXISTS baidu_devices_age ON baidu_devices (fc);  -- and, as in every index, by id
CREATE INDEX IF NOT EXISTS baidu_devices_state ON baidu_devices (fc, state);
CREATE TABLE IF NOT EXISTS baidu_sent (
    fc TEXT NOT NULL, ak TEXT NOT NULL,
    received INTEGER NOT NULL DEFAULT 0, imported INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (fc, ak)
) WITHOUT ROWID;
"""


class Store:
    """Baidu's tables in the box's one database. A device belongs to a vendor, `fc`, who has one account."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add_account(self, fc: str, pk: str, quota: int) -> dict[str, Any]:
        if self.owner(fc) is not None:
            raise ValueError(f"fc {fc!r} has an account already")
        row = self._state.one(
            "INSERT INTO baidu_accounts (access_key_id, secret_access_key, account_uuid, fc, fc_name, pk,"
            " dev_sku, quota) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
            secrets.token_hex(16),
            secrets.token_hex(16),
            secrets.token_hex(16),
            fc,
            f"vendor {fc}",
            pk,
            f"SKU-{pk}",
            quota,
        )
        assert row is not None
        return row

    def account(self, access_key_id: str) -> dict[str, Any] | None:
        return self._state.one("SELECT * FROM baidu_accounts WHERE access_key_id = ?", access_key_id)

    def owner(self, fc: str) -> str | None:
        """The access key's id of a vendor's account."""
        row = self._state.one("SELECT access_key_id FROM baidu_accounts WHERE fc = ?", fc)
        return str(row["access_key_id"]) if row else None

    def import_devices(self, account: dict[str, Any], pairs: list[tuple[str, str]]) -> int:
        """Imports all of these or none; OK, DUPLICATED or NO_QUOTA."""
        fc, now = account["fc"], self._state.now()
        aks = [ak for ak, _ in pairs]
        keys = [(fc, ak) for ak in aks]
        with self._state.transaction() as db:
            db.executemany(
                "INSERT INTO baidu_sent (fc, ak, received) VALUES (?, ?, 1)"
                " ON CONFLICT (fc, ak) DO UPDATE SET received = received + 1",
                keys,
            )
            known = db.execute(
                "SELECT 1 FROM json_each(?) AS sent CROSS JOIN baidu_devices ON ak = sent.value AND fc = ?"
                " LIMIT 1",
                (json.dumps(aks), fc),
            ).fetchone()
            if known or len(set(aks)) < len(aks):
                return answer.DUPLICATED
            spent = db.execute(
                "UPDATE baidu_accounts SET spent = spent + ?1 WHERE fc = ?2 AND spent + ?1 <= quota",
                (len(pairs), fc),
            )
            if spent.rowcount == 0:
                return answer.NO_QUOTA
            db.executemany(
                "INSERT INTO baidu_devices (fc, ak, sk, created, updated) VALUES (?, ?, ?, ?, ?)",
                [(fc, ak, sk, now, now) for ak, sk in pairs],
            )
            db.executemany("UPDATE baidu_sent SET imported = imported + 1 WHERE fc = ? AND ak = ?", keys)
        return answer.OK

    def device(self, account: dict[str, Any], ak: str) -> dict[str, Any] | None:
        row = self._state.one("SELECT * FROM baidu_devices WHERE fc = ? AND ak = ?", account["fc"], ak)
        return row and _shown(row, account)

    def delete(self, device: dict[str, Any]) -> None:
        """ "删除设备后已消耗的设备管理额度不返还": what was spent stays spent."""
        self._state.run("DELETE FROM baidu_devices WHERE fc = ? AND ak = ?", device["fc"], device["ak"])

    def ban(self, device: dict[str, Any], banned: bool) -> None:
        """Afterwards the device is what it was before it was banned: our reading."""
        self._state.run(
            "UPDATE baidu_devices SET banned = ?, updated = ? WHERE fc = ? AND ak = ?",
            banned,
            self._state.now(),
            device["fc"],
            device["ak"],
        )

    def activate(self, fc: str, ak: str) -> None:
        self._state.run(
            "UPDATE baidu_devices SET activated = 1, updated = ? WHERE fc = ? AND ak = ?",
            self._state.now(),
            fc,
            ak,
        )

    def page(
        self, account: dict[str, Any], state: str | None, order: str, number: int, size: int
    ) -> tuple[int, list[dict[str, Any]]]:
        """How many devices there are in a state, or in all, and one page of them by their age."""
        which, values = "fc = ?", [account["fc"]]
        if state:
            which, values = "fc = ? AND state = ?", [account["fc"], state]
        counted = self._state.one(f"SELECT count(*) AS n FROM baidu_devices WHERE {which}", *values)
        assert counted is not None
        # Ids grow with the time of creation, which many devices have in common.
        rows = self._state.run(
            f"SELECT * FROM baidu_devices WHERE {which} ORDER BY id {order} LIMIT ? OFFSET ?",
            *values,
            size,
            (number - 1) * size,
        )
        return counted["n"], [_shown(row, account) for row in rows]

    def devices(self) -> Iterator[dict[str, Any]]:
        """Every device that stands, in the order of import; a thousand at a time are in memory."""
        last = 0
        while rows := self._state.run(
            "SELECT id, fc, pk, ak, sk, state, received, imported FROM baidu_devices"
            " JOIN baidu_accounts USING (fc) JOIN baidu_sent USING (fc, ak) WHERE id > ? ORDER BY id LIMIT ?",
            last,
            CHUNK,
        ):
            last = rows[-1]["id"]
            yield from rows

    def summary(self) -> dict[str, Any]:
        """The accounts, their quota and counts, and the newest devices, the newest first; no secrets."""
        counts = self._state.run("SELECT fc, state, count(*) AS n FROM baidu_devices GROUP BY fc, state")
        newest = self._state.run(
            "SELECT fc, pk, ak, state, created, updated FROM baidu_devices JOIN baidu_accounts USING (fc)"
            " ORDER BY id DESC LIMIT ?",
            SHOWN,
        )
        return {
            "accounts": [
                {
                    "access_key_id": account["access_key_id"],
                    "fc": account["fc"],
                    "pk": account["pk"],
                    "quota": account["quota"],
                    "spent": account["spent"],
                    "devices": sum(row["n"] for row in counts if row["fc"] == account["fc"]),
                    "states": {row["state"]: row["n"] for row in counts if row["fc"] == account["fc"]},
                }
                for account in self._state.run("SELECT * FROM baidu_accounts ORDER BY rowid")
            ],
            "devices": newest,
        }


def _shown(row: dict[str, Any], account: dict[str, Any]) -> dict[str, Any]:
    return {
        "accountUuid": account["account_uuid"],
        "fc": row["fc"],
        "pk": account["pk"],
        "ak": row["ak"],
        "sk": row["sk"],
        "state": row["state"],
        "createTime": beijing(row["created"]),
        "updateTime": beijing(row["updated"]),
    }
