"""What the clouds remember: each vendor's tables, and every call that arrived."""

import time
from collections.abc import Callable
from os import PathLike
from typing import Annotated, Any

from fastapi import Depends, Request

from .baidu.vendors import Vendors
from .chinamobile.products import Products
from .coze.workspace import Workspace
from .database import Database
from .feishu.tenant import Tenant

CALLS_SHOWN = 100
PATHS_SHOWN = 100

SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, path TEXT NOT NULL,
    received INTEGER NOT NULL DEFAULT 0, device TEXT, status INTEGER, code TEXT, reason TEXT
);
CREATE INDEX IF NOT EXISTS calls_path ON calls (path);
"""


class State:
    """The clouds' memory; see `Database` for path and now."""

    def __init__(self, path: str | PathLike[str] = ":memory:", now: Callable[[], float] = time.time) -> None:
        self._db = Database(path, now)
        self._db.create(SCHEMA)
        self.now = now
        self.products, self.coze = Products(self._db), Workspace(self._db)
        self.baidu, self.feishu = Vendors(self._db), Tenant(self._db)

    def close(self) -> None:
        self._db.close()

    def call_arrived(self, path: str) -> int:
        """Notes a call as soon as its header is there, before a byte of its body is read."""
        return int(self._db.put("calls", time=round(self.now(), 3), path=path)["id"])

    def call_ended(self, call: int, **known: Any) -> dict[str, Any]:
        """Completes a call with any of received (bytes of its body), device, status, code and reason."""
        columns = ", ".join(f"{column} = ?" for column in known)
        return self._db.run(f"UPDATE calls SET {columns} WHERE id = ? RETURNING *", *known.values(), call)[0]

    def calls(self, path: str | None = None, last: int = -1) -> list[dict[str, Any]]:
        """The calls so far, oldest first; of one path only, or only the last ones."""
        return self._db.run(
            "SELECT * FROM (SELECT * FROM calls WHERE ?1 IS NULL OR path = ?1 ORDER BY id DESC LIMIT ?2)"
            " ORDER BY id",
            path,
            last,
        )

    def summary(self) -> dict[str, Any]:
        """Each cloud's devices, the last calls (oldest first) and how many went to the paths called most."""
        # Baidu's paths name devices, so there may be more of them than anybody wants.
        counts = self._db.run(
            "SELECT path, n FROM (SELECT path, count(*) AS n FROM calls GROUP BY path"
            " ORDER BY n DESC LIMIT ?) ORDER BY path",
            PATHS_SHOWN,
        )
        return {
            "time": round(self.now(), 3),
            "devices": self.products.devices(),
            "coze": self.coze.summary(),
            "baidu": self.baidu.summary(),
            "feishu": self.feishu.summary(),
            "calls": self.calls(last=CALLS_SHOWN),
            "counts": {row["path"]: row["n"] for row in counts},
        }


async def _of_the_application(request: Request) -> State:
    state: State = request.app.state.remembered
    return state


Remembered = Annotated[State, Depends(_of_the_application)]
