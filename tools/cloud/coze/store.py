"""What Coze remembers: apps, the JWTs they spent, tokens, channels, and who used how much."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..state import State

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


class Store:
    """Coze's tables in the box's one database."""

    def __init__(self, state: State) -> None:
        self._state = state

    def add_app(self, client_id: str, key_id: str, public_key: str, may_bind: bool) -> None:
        self._state.run(
            "INSERT OR REPLACE INTO coze_apps VALUES (?, ?, ?, ?)", key_id, client_id, public_key, may_bind
        )

    def app(self, key_id: str) -> dict[str, Any] | None:
        return self._state.one("SELECT * FROM coze_apps WHERE key_id = ?", key_id)

    def spent(self, client_id: str, jti: str, jwt: str) -> str | None:
        """Notes that a JWT is used, or says why it must not be."""
        digest = hashlib.sha256(jwt.encode()).hexdigest()
        known = self._state.one(
            "SELECT digest FROM coze_jwts WHERE client_id = ? AND jti = ?", client_id, jti
        )
        if known:
            same = known["digest"] == digest
            return "it has bought a token before" if same else "its jti was in another JWT before"
        self._state.run("INSERT INTO coze_jwts VALUES (?, ?, ?)", client_id, jti, digest)
        return None

    def add_token(
        self,
        token: str,
        expires: float | None,
        may_bind: bool,
        device_id: str | None = None,
        custom_consumer: str | None = None,
    ) -> None:
        self._state.run(
            "INSERT OR REPLACE INTO coze_tokens VALUES (?, ?, ?, ?, ?)",
            token,
            expires,
            device_id,
            custom_consumer,
            may_bind,
        )

    def token(self, token: str) -> dict[str, Any] | None:
        return self._state.one("SELECT * FROM coze_tokens WHERE token = ?", token)

    def bill(self, device_id: str | None, custom_consumer: str | None, path: str) -> None:
        self._state.run(
            "INSERT INTO coze_usage VALUES (?, ?, 1, ?, ?) ON CONFLICT (device_id, custom_consumer) DO UPDATE"
            " SET calls = calls + 1, last_call = excluded.last_call, last_path = excluded.last_path",
            device_id or NOBODY,
            custom_consumer or NOBODY,
            self._state.now(),
            path,
        )

    def interrupted(self, workflow_id: str, kind: int) -> str:
        """Notes that a workflow waits for an answer, and gives the event's id."""
        event_id = f"{number()}/{number()}"
        self._state.run("INSERT INTO coze_interrupts VALUES (?, ?, ?, 0)", event_id, workflow_id, kind)
        return event_id

    def interrupt(self, workflow_id: str, event_id: str) -> dict[str, Any] | None:
        return self._state.one(
            "SELECT * FROM coze_interrupts WHERE workflow_id = ? AND event_id = ?", workflow_id, event_id
        )

    def resumed(self, event_id: str) -> None:
        self._state.run("UPDATE coze_interrupts SET resumed = 1 WHERE event_id = ?", event_id)

    def keep_chat(
        self, begun: dict[str, Any], ended: dict[str, Any], messages: list[dict[str, Any]], ready: float
    ) -> None:
        """Keeps a chat whose outcome is known already and may be seen from a Unix time on."""
        self._state.run(
            "INSERT OR REPLACE INTO coze_chats VALUES (?, ?, ?, ?, ?, ?)",
            begun["id"],
            begun["conversation_id"],
            *map(json.dumps, (begun, ended, messages)),
            ready,
        )

    def chat(self, conversation_id: str, chat_id: str) -> dict[str, Any] | None:
        """A chat and its messages, of which there are none before it has ended."""
        row = self._state.one(
            "SELECT * FROM coze_chats WHERE conversation_id = ? AND chat_id = ?", conversation_id, chat_id
        )
        if row is None:
            return None
        if self._state.now() < row["ready"]:
            return {"chat": json.loads(row["begun"]), "messages": []}
        return {"chat": json.loads(row["ended"]), "messages": json.loads(row["messages"])}

    def add_channel(self, connector_id: str, key: str | None) -> None:
        self._state.run(
            "INSERT INTO coze_channels VALUES (?, ?)"
            " ON CONFLICT (connector_id) DO UPDATE SET key = excluded.key",
            connector_id,
            key,
        )

    def channel(self, connector_id: str) -> dict[str, Any] | None:
        return self._state.one("SELECT * FROM coze_channels WHERE connector_id = ?", connector_id)

    def bind(self, connector_id: str, devices: Iterable[tuple[str, str]], user_id: str | None) -> None:
        """Adds pairs of label and value to a channel; a value that is there gets the new label."""
        for label, value in devices:
            self._state.run(
                "INSERT INTO coze_bound VALUES (?, ?, ?, ?) ON CONFLICT (connector_id, value)"
                " DO UPDATE SET label = excluded.label, user_id = excluded.user_id",
                connector_id,
                value,
                label,
                user_id,
            )

    def summary(self) -> dict[str, Any]:
        """Who used how much, the latest first, and the channels with their devices; no secrets."""
        usage = self._state.run("SELECT * FROM coze_usage ORDER BY last_call DESC, rowid DESC")
        bound = self._state.run("SELECT * FROM coze_bound ORDER BY rowid")
        return {
            "usage": [
                {
                    "device_id": row["device_id"],
                    "custom_consumer": row["custom_consumer"],
                    "calls": row["calls"],
                    "lastCall": row["last_call"],
                    "lastPath": row["last_path"],
                }
                for row in usage
            ],
            "channels": [
                {
                    "connector_id": channel["connector_id"],
                    "key": channel["key"],
                    "devices": [
                        {"label": row["label"], "value": row["value"], "user_id": row["user_id"]}
                        for row in bound
                        if row["connector_id"] == channel["connector_id"]
                    ],
                }
                for channel in self._state.run("SELECT * FROM coze_channels ORDER BY rowid")
            ],
        }


def number() -> str:
    """A number of 19 digits, such as Coze gives to everything."""
    return str(7 * 10**18 + secrets.randbelow(10**18))
