"""The shape in which Feishu answers, and its codes: the document's, and those of the gateway before it."""

from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

from ..coze.answer import log_header

SCOPE = "security_and_compliance:device_record:write"

INVALID_APP, APP_REFUSED = 10003, 10014
TOO_FAST, NO_TOKEN, BAD_TOKEN, NO_SCOPE = 99991400, 99991661, 99991663, 99991672
WRONG, BAD_FEATURES, BAD_SYSTEM, EXISTS = 1780101, 1785005, 1785007, 1785010

CODES: dict[int | str, tuple[int, str]] = {
    1780001: (500, "Internal server error."),
    WRONG: (400, "Request param error."),
    1780102: (
        400,
        "The API is in beta testing. Please contact customer support to request beta access.",
    ),
    BAD_FEATURES: (
        400,
        "The device information corresponding to the operating system is invalid. Please check the device"
        " information in the request.",
    ),
    BAD_SYSTEM: (400, "The parameter device_system is invalid."),
    EXISTS: (400, "The device already exists."),
    INVALID_APP: (200, "invalid param"),
    APP_REFUSED: (200, ""),
    TOO_FAST: (429, "request trigger frequency limit"),
    NO_TOKEN: (400, "Missing access token for authorization. Please make a request with token attached."),
    BAD_TOKEN: (400, "Invalid access token for authorization. Please make a request with token attached."),
    NO_SCOPE: (400, f"Access denied. One of the following scopes is required: [{SCOPE}]"),
}

LIMIT_S = 1  # "10 次/秒"


def success(msg: str = "success", **more: Any) -> Response:
    return _answer({"code": 0, "msg": msg, **more}, 200)


def refusal(text: str = "", code: int | str = WRONG, status: int = 200) -> Response:
    """Feishu's words for a code, and what the box adds to them.

    Args:
        status: HTTP status of a code that is in no table; the table has the others', which any
            but 200 overrides.
    """
    known, words = CODES.get(code, (status, ""))
    response = _answer({"code": code, "msg": f"{words} {text}".strip()}, known if status == 200 else status)
    if code == TOO_FAST:
        response.headers["x-ogw-ratelimit-reset"] = str(LIMIT_S)
    return response


def _answer(content: dict[str, Any], status: int) -> Response:
    response = JSONResponse(content, status)
    # Starlette would write it small, and Feishu's own SDK finds it in this spelling only.
    response.raw_headers.append((b"X-Tt-Logid", log_header()["x-tt-logid"].encode()))
    return response
