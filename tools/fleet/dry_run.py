"""A dry run: a session that keeps each request, and sends none."""

import json
from typing import Any

from .session import ThreadedSession

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


class DryRunSession(ThreadedSession):
    """Opens no connection, and is itself the answer to every request.

    requests   method, url and body of each, the secrets in it masked
    """

    status_code = 200
    headers = None

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[dict[str, Any]] = []

    def request(self, method: str, url: str, data: bytes | None = None, **more: Any) -> Any:
        body = json.loads(data) if data else None
        if body and "app_secret" in body:
            body["app_secret"] = "***"
        if body and "devices" in body:
            body["devices"] = [pair.partition(",")[0] + ",***" for pair in body["devices"]]
        self.requests.append({"method": method, "url": url, "body": body})
        return self

    def json(self) -> dict[str, Any]:
        return _ANSWER

    def close(self) -> None:
        pass
