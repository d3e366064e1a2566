"""The shapes in which the vendors answer and refuse."""

import secrets
import time
import uuid
from typing import Any

from fastapi import Response
from fastapi.responses import JSONResponse

from .codes import Code, FeishuCode
from .feishu.tenant import LIMIT_S


def log_header() -> dict[str, str]:
    return {"x-tt-logid": time.strftime("%Y%m%d%H%M%S") + secrets.token_hex(10).upper()}


def coze(data: Any = None, **more: Any) -> Response:
    known = more if data is None else {"data": data, **more}
    return _coze({"code": 0, "msg": "", **known}, 200)


def coze_refusal(text: str, code: Code, status: int) -> Response:
    return _coze({"code": code, "msg": text}, status)


def _coze(content: dict[str, Any], status: int) -> Response:
    header = log_header()
    return JSONResponse({**content, "detail": {"logid": header["x-tt-logid"]}}, status, header)


def coze_token_refusal(text: str, code: Code, status: int) -> Response:
    return JSONResponse({"error_code": code, "error_message": text}, status, log_header())


def baidu(content: dict[str, Any], status: int = 200, request_id: str | None = None) -> Response:
    header = {
        "x-bce-request-id": request_id or str(uuid.uuid4()),
        "Content-Type": "application/json; charset=utf-8",
    }
    return JSONResponse(content, status, header)


def baidu_refusal(text: str, code: Code, status: int) -> Response:
    if isinstance(code, int):
        return baidu({"code": code, "message": text}, status)
    request_id = str(uuid.uuid4())
    return baidu({"code": code, "message": text, "requestId": request_id}, status, request_id)


def feishu(msg: str = "success", code: Code = 0, status: int = 200, **more: Any) -> Response:
    response = JSONResponse({"code": code, "msg": msg, **more}, status)
    # Starlette would write it small, and Feishu's own SDK finds it in this spelling only.
    response.raw_headers.append((b"X-Tt-Logid", log_header()["x-tt-logid"].encode()))
    if code == FeishuCode.TOO_FAST:
        response.headers["x-ogw-ratelimit-reset"] = str(LIMIT_S)
    return response


def model_refusal(text: str, code: Code, status: int) -> Response:
    kind = "authentication_error" if status == 401 else "invalid_request_error"
    return JSONResponse({"error": {"message": text, "type": kind, "code": code}}, status)


def platform_refusal(text: str, code: Code, status: int) -> Response:
    return JSONResponse({"code": code, "message": text, "success": False}, status)
