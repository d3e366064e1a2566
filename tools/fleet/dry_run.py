"""A dry run: a session that shows each request, and sends none."""

import json
from collections.abc import Callable
from typing import Any

# Good news from every cloud in one.
_ANSWER = {
    "code": 0,
    "result": "OK",
    "data": {"device_record_id": "none"},
    "tenant_access_token": "none",
    "expire": 7200,
    "access_token": "none",
    "expires_in": 1 << 40,
}


class Rehearsal:
    """In place of a Session; `shown` is handed method, url and body, the secrets in it masked."""

    def __init__(self, shown: Callable[[dict[str, Any]], None]) -> None:
        self._shown = shown

    def request(self, method: str, url: str, data: bytes | None = None, **more: Any) -> "Rehearsal":
        body = json.loads(data) if data else None
        if body and "app_secret" in body:
            body["app_secret"] = "***"
        if body and "devices" in body:
            body["devices"] = [pair.partition(",")[0] + ",***" for pair in body["devices"]]
        self._shown({"method": method, "url": url, "body": body})
        return self

    status_code = 200
    headers = None

    def json(self) -> dict[str, Any]:
        return _ANSWER

    def close(self) -> None:
        pass
