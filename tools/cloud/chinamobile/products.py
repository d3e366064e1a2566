"""What China Mobile remembers: products, their devices and AI tokens, and who has reported."""

import json
import secrets
from collections.abc import Iterable
from typing import Any

from ..database import Database
from ..devices import Device

OVERDUE_S = 24 * 3600  # "24小时至少上报一次"

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
CREATE TABLE IF NOT EXISTS ai_tokens (token TEXT PRIMARY KEY, product_id TEXT NOT NULL);
"""

# A device as the page and /state show it, no secrets. ?1: the time;  ?2: OVERDUE_S.
DEVICE = (
    "SELECT product_id AS productId, device_no AS deviceNo, device_no_type AS deviceNoType,"
    " device_id AS deviceId, cellular, first_secret AS firstSecret, secret_count AS secretCount,"
    " last_report AS lastReport, report_count AS reportCount,"
    " coalesce(?1 - coalesce(last_report, first_secret) > ?2, 0) AS overdue, params"
    " FROM devices JOIN products USING (product_id)"
)
# ?3: what is looked for;  ?4: whether it has enrolled.
FOUND = (
    " WHERE (first_secret IS NOT NULL) = ?4 AND (?3 = '' OR instr(lower(device_no || ' ' || product_id || ' '"
    " || device_id || ' ' || json_extract(params, '$.firmwareVersion', '$.netType', '$.innerIp', '$.mac',"
    " '$.cmei', '$.imei')), lower(?3)))"
)


class Products:
    """China Mobile's tables in the box's one database."""

    def __init__(self, db: Database) -> None:
        self._db = db
        db.create(SCHEMA)

    def add(self, devices: Iterable[Device]) -> None:
        """Imports devices. One that is known already keeps its id and its secret for ever."""
        now = self._db.now()
        with self._db.transaction() as db:
            for device in devices:
                db.execute(
                    "INSERT INTO products VALUES (?, ?, ?, ?) ON CONFLICT (product_id)"
                    " DO UPDATE SET product_key = excluded.product_key, cellular = excluded.cellular",
                    (device.product_id, device.product_key, device.cellular, now),
                )
                made = secrets.token_hex(8), secrets.token_hex(16)
                db.execute(
                    "INSERT INTO devices (product_id, device_no, device_no_type, device_id, device_secret)"
                    " VALUES (?, ?, ?, ?, ?) ON CONFLICT (product_id, device_no)"
                    " DO UPDATE SET device_no_type = excluded.device_no_type",
                    (device.product_id, device.device_no, device.device_no_type, *made),
                )

    def product(self, product_id: str) -> dict[str, Any] | None:
        return self._db.find("products", product_id=product_id)

    def device(self, product_id: str, device_no: str) -> dict[str, Any] | None:
        return self._db.find("devices", product_id=product_id, device_no=device_no)

    def device_with_id(self, product_id: str, device_id: str) -> dict[str, Any] | None:
        return self._db.find("devices", product_id=product_id, device_id=device_id)

    def add_ai_token(self, token: str, product_id: str) -> None:
        self._db.put("ai_tokens", token=token, product_id=product_id)

    def ai_token(self, token: str | None) -> dict[str, Any] | None:
        return self._db.find("ai_tokens", token=token)

    def ai_tokens(self) -> list[tuple[str, str]]:
        """Pairs of a product's id and an AI token of it; a product without one is given one."""
        for row in self._db.run("SELECT product_id FROM products EXCEPT SELECT product_id FROM ai_tokens"):
            self.add_ai_token(secrets.token_hex(16), row["product_id"])
        rows = self._db.run("SELECT product_id, token FROM ai_tokens ORDER BY rowid")
        return [(row["product_id"], row["token"]) for row in rows]

    def secret_fetched(self, device_id: str) -> None:
        self._db.run(
            "UPDATE devices SET secret_count = secret_count + 1, first_secret = coalesce(first_secret, ?)"
            " WHERE device_id = ?",
            self._db.now(),
            device_id,
        )

    def reported(self, device_id: str, params: dict[str, Any]) -> None:
        self._db.run(
            "UPDATE devices SET report_count = report_count + 1, last_report = ?, params = ?"
            " WHERE device_id = ?",
            self._db.now(),
            json.dumps(params),
            device_id,
        )

    def devices(self) -> list[dict[str, Any]]:
        """Every device as the page shows it, in the order of import; no secrets."""
        rows = self._db.run(DEVICE + " ORDER BY devices.rowid", self._db.now(), OVERDUE_S)
        return self._described(rows)

    def counts(self) -> dict[str, int]:
        """How many devices there are, have enrolled, report in time and are overdue; and all heartbeats."""
        return self._db.run(
            "SELECT count(*) AS known, count(firstSecret) AS enrolled, coalesce(sum(overdue), 0) AS overdue,"
            " count(*) FILTER (WHERE reportCount AND NOT overdue) AS reporting,"
            f" coalesce(sum(reportCount), 0) AS heartbeats FROM ({DEVICE})",
            self._db.now(),
            OVERDUE_S,
        )[0]

    def found(self, find: str, enrolled: bool, limit: int) -> tuple[list[dict[str, Any]], int]:
        """Devices with a text in their numbers or their last heartbeat, as devices() has them; and how many.

        First those that are overdue, the longest silent at the top, then the others, the latest heartbeat at
        the top; what has not enrolled by its number.
        """
        rows = self._db.run(
            f"SELECT *, count(*) OVER () AS n FROM ({DEVICE}{FOUND}) ORDER BY overdue DESC,"
            " coalesce(lastReport, firstSecret) * CASE WHEN overdue THEN 1 ELSE -1 END, deviceNo LIMIT ?5",
            self._db.now(),
            OVERDUE_S,
            find,
            enrolled,
            limit,
        )
        count = rows[0]["n"] if rows else 0
        return self._described(rows), count

    @staticmethod
    def _described(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for row in rows:
            params = json.loads(row["params"])
            number = "imei" if row["cellular"] else "cmei"
            # The table lets it be empty, Q6 does not: it is checked when the product is admitted.
            empty = params and not params[number]
            row.update(
                cellular=bool(row["cellular"]),
                overdue=bool(row["overdue"]),
                warning=f"{number} is empty; the admission test asks for it" if empty else None,
                params=params,
            )
        return rows
