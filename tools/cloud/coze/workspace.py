"""What Coze remembers: apps, the JWTs they spent, tokens, channels, and who used how much."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from ..database import Database
from ..notation import number

NOBODY = "N/A"  # as Coze's own statistics show it

SCHEMA = """
CREATE TABLE IF NOT EXISTS coze_apps (
    key_id TEXT PRIMARY KEY, client_id TEXT NOT NULL, public_key TEXT NOT NULL, may_bind INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS coze_jwts (
    client_id TEXT NOT NULL, jti TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (client_id, jti)
);
CREATE TABLE IF NOT EXISTS coze_tokens (
    token TEXT PRIMARY KEY, expires REAL, device_id TEXT, custom_consumer TEXT, may_bind INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS coze_usage (
    device_id TEXT NOT NULL, custom_consumer TEXT NOT NULL,
    calls INTEGER NOT NULL DEFAULT 0, last_call REAL NOT NULL, last_path TEXT NOT NULL,
    PRIMARY KEY (device_id, custom_consumer)
);
CREATE TABLE IF NOT EXISTS coze_interrupts (
    event_id TEXT PRIMARY KEY, workflow_id TEXT NOT NULL, type INTEGER NOT NULL,
    resumed INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS coze_chats (
    chat_id TEXT PRIMARY KEY, conversation_id TEXT NOT NULL,
    begun TEXT NOT NULL, ended TEXT NOT NULL, messages TEXT NOT NULL, ready REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS coze_channels (connector_id TEXT PRIMARY KEY, key TEXT);
CREATE TABLE IF NOT EXISTS coze_bound (
    connector_id TEXT NOT NULL, value TEXT NOT NULL, label TEXT NOT NULL, user_id TEXT,
    PRIMARY KEY (connector_id, value)
);
"""


class Workspace:
    """Coze's tables in the box's one database."""

    def __init__(self, db: Database) -> None:
        self._db = db
        db.create(SCHEMA)

    def add_app(self, client_id: str, key_id: str, public_key: str, may_bind: bool) -> None:
        keys = {"client_id": client_id, "key_id": key_id, "public_key": public_key}
        self._db.put("coze_apps", **keys, may_bind=may_bind)

    def app(self, key_id: str) -> dict[str, Any] | None:
        return self._db.find("coze_apps", key_id=key_id)

    def spent(self, client_id: str, jti: str, jwt: str) -> str | None:
        """Notes that a JWT is used, or says why it must not be."""
        digest = hashlib.sha256(jwt.encode()).hexdigest()
        known = self._db.find("coze_jwts", client_id=client_id, jti=jti)
        if known:
            same = known["digest"] == digest
            return "it has bought a token before" if same else "its jti was in another JWT before"
        self._db.put("coze_jwts", client_id=client_id, jti=jti, digest=digest)
        return None

    def add_token(
        self,
        token: str,
        expires: float | None,
        may_bind: bool,
        device_id: str | None = None,
        custom_consumer: str | None = None,
    ) -> None:
        device = {"device_id": device_id, "custom_consumer": custom_consumer}
        self._db.put("coze_tokens", token=token, expires=expires, may_bind=may_bind, **device)

    def token(self, token: str) -> dict[str, Any] | None:
        return self._db.find("coze_tokens", token=token)

    def bill(self, device_id: str | None, custom_consumer: str | None, path: str) -> None:
        self._db.run(
            "INSERT INTO coze_usage VALUES (?, ?, 1, ?, ?) ON CONFLICT (device_id, custom_consumer) DO UPDATE"
            " SET calls = calls + 1, last_call = excluded.last_call, last_path = excluded.last_path",
            device_id or NOBODY,
            custom_consumer or NOBODY,
            self._db.now(),
            path,
        )

    def interrupted(self, workflow_id: str, kind: int) -> str:
        """Notes that a workflow waits for an answer, and gives the event's id."""
        event_id = f"{number()}/{number()}"
        self._db.put("coze_interrupts", event_id=event_id, workflow_id=workflow_id, type=kind)
        return event_id

    def interrupt(self, workflow_id: str, event_id: str) -> dict[str, Any] | None:
        return self._db.find("coze_interrupts", workflow_id=workflow_id, event_id=event_id)

    def resumed(self, event_id: str) -> None:
        self._db.run("UPDATE coze_interrupts SET resumed = 1 WHERE event_id = ?", event_id)

    def keep_chat(
        self, begun: dict[str, Any], ended: dict[str, Any], messages: list[dict[str, Any]], pause: float = 0
    ) -> None:
        """Keeps a chat whose outcome is known already and may be seen after a pause in seconds."""
        self._db.put(
            "coze_chats",
            chat_id=begun["id"],
            conversation_id=begun["conversation_id"],
            begun=json.dumps(begun),
            ended=json.dumps(ended),
            messages=json.dumps(messages),
            ready=self._db.now() + pause,
        )

    def chat(self, conversation_id: str, chat_id: str) -> dict[str, Any] | None:
        """A chat and its messages, of which there are none before it has ended."""
        row = self._db.find("coze_chats", conversation_id=conversation_id, chat_id=chat_id)
        if row is None:
            return None
        if self._db.now() < row["ready"]:
            return {"chat": json.loads(row["begun"]), "messages": []}
        return {"chat": json.loads(row["ended"]), "messages": json.loads(row["messages"])}

    def add_channel(self, connector_id: str, key: str | None) -> None:
        self._db.put("coze_channels", connector_id=connector_id, key=key)

    def channel(self, connector_id: str) -> dict[str, Any] | None:
        return self._db.find("coze_channels", connector_id=connector_id)

    def bind(self, connector_id: str, devices: Iterable[tuple[str, str]], user_id: str | None) -> None:
        """Adds pairs of label and value to a channel; a value that is there gets the new label."""
        with self._db.transaction() as db:
            db.executemany(
                "INSERT INTO coze_bound VALUES (?, ?, ?, ?) ON CONFLICT (connector_id, value)"
                " DO UPDATE SET label = excluded.label, user_id = excluded.user_id",
                [(connector_id, value, label, user_id) for label, value in devices],
            )

    def summary(self) -> dict[str, Any]:
        """Who used how much, the latest first, and the channels with their devices; no secrets."""
        channels = self._db.run("SELECT connector_id, key FROM coze_channels ORDER BY rowid")
        for channel in channels:
            bound = "SELECT label, value, user_id FROM coze_bound WHERE connector_id = ? ORDER BY rowid"
            channel["devices"] = self._db.run(bound, channel["connector_id"])
        return {"usage": self.usage(), "channels": channels}

    def usage(self, find: str = "", limit: int = -1) -> list[dict[str, Any]]:
        """Who used how much, the latest first; those with a text in their names."""
        return self._db.run(
            "SELECT device_id, custom_consumer, calls, last_call AS lastCall, last_path AS lastPath"
            " FROM coze_usage WHERE instr(lower(device_id || ' ' || custom_consumer), lower(?))"
            " ORDER BY last_call DESC, rowid DESC LIMIT ?",
            find,
            limit,
        )

    def bound(self, find: str = "", limit: int = -1) -> list[dict[str, Any]]:
        """The devices of all channels, the newest first; those with a text in their names."""
        return self._db.run(
            "SELECT value, label, connector_id, user_id FROM coze_bound"
            " WHERE instr(lower(value || ' ' || label), lower(?)) ORDER BY rowid DESC LIMIT ?",
            find,
            limit,
        )

    def total(self) -> int:
        """How many calls were billed."""
        return int(self._db.run("SELECT coalesce(sum(calls), 0) AS n FROM coze_usage")[0]["n"])
