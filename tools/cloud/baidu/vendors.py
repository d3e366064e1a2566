"""What Baidu remembers: accounts, their quota, their devices, and how often it was sent each of them."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

from ..codes import BaiduCode
from ..database import Database

NEWEST = 100

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

# A device as the document shows it.
DEVICE = (
    "SELECT account_uuid AS accountUuid, fc, pk, ak, sk, state, beijing(created) AS createTime,"
    " beijing(updated) AS updateTime FROM baidu_devices JOIN baidu_accounts USING (fc)"
)


class Vendors:
    """Baidu's tables in the box's one database. A device belongs to a vendor, `fc`, who has one account."""

    def __init__(self, db: Database) -> None:
        self._db = db
        db.create(SCHEMA)

    def add_account(self, fc: str, pk: str, quota: int) -> dict[str, Any]:
        if self.owner(fc) is not None:
            raise ValueError(f"fc {fc!r} has an account already")
        made = ("access_key_id", "secret_access_key", "account_uuid")
        return self._db.put(
            "baidu_accounts",
            **{name: secrets.token_hex(16) for name in made},
            **{"fc": fc, "fc_name": f"vendor {fc}", "pk": pk, "dev_sku": f"SKU-{pk}", "quota": quota},
        )

    def account(self, access_key_id: str) -> dict[str, Any] | None:
        return self._db.find("baidu_accounts", access_key_id=access_key_id)

    def owner(self, fc: str) -> str | None:
        """The access key's id of a vendor's account."""
        row = self._db.find("baidu_accounts", fc=fc)
        return str(row["access_key_id"]) if row else None

    def import_devices(self, account: dict[str, Any], pairs: list[tuple[str, str]]) -> int:
        """Imports all of these or none; OK, DUPLICATED or NO_QUOTA."""
        fc, now = account["fc"], self._db.now()
        aks = [ak for ak, _ in pairs]
        keys = [(fc, ak) for ak in aks]
        with self._db.transaction() as db:
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
                return BaiduCode.DUPLICATED
            spent = db.execute(
                "UPDATE baidu_accounts SET spent = spent + ?1 WHERE fc = ?2 AND spent + ?1 <= quota",
                (len(pairs), fc),
            )
            if spent.rowcount == 0:
                return BaiduCode.NO_QUOTA
            db.executemany(
                "INSERT INTO baidu_devices (fc, ak, sk, created, updated) VALUES (?, ?, ?, ?, ?)",
                [(fc, ak, sk, now, now) for ak, sk in pairs],
            )
            db.executemany("UPDATE baidu_sent SET imported = imported + 1 WHERE fc = ? AND ak = ?", keys)
        return BaiduCode.OK

    def device(self, account: dict[str, Any], ak: str) -> dict[str, Any] | None:
        return next(iter(self._db.run(f"{DEVICE} WHERE fc = ? AND ak = ?", account["fc"], ak)), None)

    def delete(self, device: dict[str, Any]) -> None:
        """ "删除设备后已消耗的设备管理额度不返还": what was spent stays spent."""
        self._db.run("DELETE FROM baidu_devices WHERE fc = ? AND ak = ?", device["fc"], device["ak"])

    def ban(self, device: dict[str, Any], banned: bool) -> None:
        """Afterwards the device is what it was before it was banned: our reading."""
        self._update("banned", banned, device["fc"], device["ak"])

    def activate(self, fc: str, ak: str) -> None:
        self._update("activated", True, fc, ak)

    def _update(self, column: str, value: bool, fc: str, ak: str) -> None:
        update = f"UPDATE baidu_devices SET {column} = ?, updated = ? WHERE fc = ? AND ak = ?"
        self._db.run(update, value, self._db.now(), fc, ak)

    def page(
        self, account: dict[str, Any], state: str | None, order: str, number: int, size: int
    ) -> tuple[int, list[dict[str, Any]]]:
        """How many devices there are in a state, or in all, and one page of them by their age."""
        which, values = "fc = ?", [account["fc"]]
        if state:
            which, values = "fc = ? AND state = ?", [account["fc"], state]
        count = self._db.run(f"SELECT count(*) AS n FROM baidu_devices WHERE {which}", *values)[0]["n"]
        # Ids grow with the time of creation, which many devices have in common.
        page = f"{DEVICE} WHERE {which} ORDER BY id {order} LIMIT ? OFFSET ?"
        return count, self._db.run(page, *values, size, (number - 1) * size)

    def devices(self) -> Iterator[dict[str, Any]]:
        """Every device that stands, in the order of import; a thousand at a time are in memory."""
        return self._db.each(
            "SELECT id, fc, pk, ak, sk, state, received, imported FROM baidu_devices"
            " JOIN baidu_accounts USING (fc) JOIN baidu_sent USING (fc, ak) WHERE id > ? ORDER BY id LIMIT ?"
        )

    def summary(self) -> dict[str, Any]:
        """The accounts, their quota and counts, and the newest devices, the newest first; no secrets."""
        return {"accounts": self.accounts(), "devices": self.newest()}

    def accounts(self) -> list[dict[str, Any]]:
        """The accounts, their quota and counts; no secrets."""
        accounts = self._db.run(
            "SELECT access_key_id, fc, pk, quota, spent FROM baidu_accounts ORDER BY rowid"
        )
        counts = self._db.run("SELECT fc, state, count(*) AS n FROM baidu_devices GROUP BY fc, state")
        for account in accounts:
            states = {row["state"]: row["n"] for row in counts if row["fc"] == account["fc"]}
            account.update(devices=sum(states.values()), states=states)
        return accounts

    def newest(self, find: str = "", limit: int = NEWEST) -> list[dict[str, Any]]:
        """The devices with a text in their ak, the newest first; no secrets."""
        return self._db.run(
            "SELECT fc, pk, ak, state, created, updated FROM baidu_devices JOIN baidu_accounts USING (fc)"
            " WHERE instr(lower(ak), lower(?)) ORDER BY id DESC LIMIT ?",
            find,
            limit,
        )
