"""The shapes in which Coze answers, and the fields that all its bodies share."""

import secrets
import time
from typing import Annotated, Any, Literal

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import Field, model_validator

from ..strict import Strict, route

# From the list of error codes in Coze's API reference.
WRONG, TOO_MANY_MESSAGES, NEEDS_HISTORY = 4000, 4004, 4007
NOT_AUTHENTICATED, NOT_PERMITTED, NOT_FOUND = 4100, 4101, 4200
NO_FILE, SEVERAL_FILES, FILE_TOO_LARGE = 4300, 4301, 4302
NOT_TO_CANCEL, ALREADY_OVER, BROKEN = 4104, 4315, 5000

WRONG_WORDS = "请求参数错误: "


class Body(Strict):
    """A body in which a field that is null counts as absent: Coze's own SDK sends such ones."""

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        return {name: value for name, value in content.items() if value is not None}


class EnterMessage(Body):
    role: Literal["user", "assistant"]
    type: Literal["", "question", "answer", "function_call", "tool_output", "tool_response"] = "question"
    content: str | None = None
    content_type: Literal["text", "object_string", "card", "audio"] | None = None
    meta_data: dict[str, str] | None = None
    # What a message of an answer has beside these; Coze's SDK for Go sends all of it, empty.
    id: str | None = None
    conversation_id: str | None = None
    section_id: str | None = None
    bot_id: str | None = None
    chat_id: str | None = None
    created_at: int | None = None
    updated_at: int | None = None

    @model_validator(mode="after")
    def _check(self) -> "EnterMessage":
        if (self.content is None) != (self.content_type is None):
            raise ValueError("needs content and content_type, or neither")
        return self


Ext = Annotated[dict[str, str] | None, Field(description="latitude, longitude, user_id")]
Parameters = dict[str, Any]


def log_header() -> dict[str, str]:
    return {"x-tt-logid": time.strftime("%Y%m%d%H%M%S") + secrets.token_hex(10).upper()}


def success(data: Any = None, **more: Any) -> Response:
    known = more if data is None else {"data": data, **more}
    return _answer({"code": 0, "msg": "", **known}, 200)


def refusal(text: str, code: int | str = WRONG, status: int = 200) -> Response:
    return _answer({"code": code, "msg": text}, status)


def _answer(content: dict[str, Any], status: int) -> Response:
    header = log_header()
    return JSONResponse({**content, "detail": {"logid": header["x-tt-logid"]}}, status, header)


JsonRoute = route(refusal, WRONG_WORDS)
FormRoute = route(refusal, WRONG_WORDS, "multipart/form-data")
AnyRoute = route(refusal, WRONG_WORDS, None)
