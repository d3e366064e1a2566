"""China Mobile's language model, which a device may call once it has fetched its secret.

Follows the public copies of the platform's guide: OpenAI's chat completions, with an AI token and
the device's product and id in headers.
"""

import secrets
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from ..notation import compact
from ..refusals import Refused
from ..state import Remembered, State
from ..streaming import reply, stream
from ..strict import JSON, Bearer, Strict, Text
from .platform import DeviceIp

CONTEXT_TOKENS = 8192
TEMPERATURE, TOP_P = 0.8, 0.95
UnitInterval = Annotated[float, Field(gt=0, le=1)]


class Message(Strict):
    role: Literal["system", "user", "assistant"]
    content: Text


class Completion(Strict):
    model: Literal["jiutian-lan", "jiutian-chat"]
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool
    temperature: UnitInterval = TEMPERATURE
    top_p: UnitInterval = TOP_P


router = APIRouter(prefix="/llm/v1", dependencies=[JSON])


@router.post("/chat/completions")
async def completions(
    body: Completion,
    request: Request,
    state: Remembered,
    product_id: Annotated[Text, Header(alias="X-AI-VID")],
    device_id: Annotated[Text, Header(alias="X-AI-UID")],
    device_ip: DeviceIp = None,
    bearer: Bearer = None,
) -> Response:
    request.state.device = _caller(state, bearer, product_id, device_id)
    if body.temperature != TEMPERATURE and body.top_p != TOP_P:
        raise Refused("temperature and top_p must not both be changed")
    tokens = sum(_tokens(message.content) for message in body.messages)
    if tokens > CONTEXT_TOKENS:
        text = f"messages hold {tokens} tokens, at most {CONTEXT_TOKENS} fit"
        raise Refused(text, "context_length_exceeded")
    fault = request.state.fault
    pieces = reply(body.messages[-1].content, fault.bytes)
    known = {"id": "chatcmpl-" + secrets.token_hex(12), "created": int(time.time()), "model": body.model}
    if body.stream:
        failed = fault.stream in ("failed", "failed-bare", "error")
        return stream(request, _events(known, pieces, failed))
    message = {"role": "assistant", "content": "".join(pieces)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = _usage(tokens, pieces)
    return JSONResponse({**known, "object": "chat.completion", "choices": [choice], "usage": usage})


def _caller(state: State, bearer: str | None, product_id: str, device_id: str) -> str:
    token = state.products.ai_token(bearer)
    if token is None:
        raise Refused("Authorization must be Bearer and a known AI token", "invalid_api_key")
    if token["product_id"] != product_id:
        raise Refused("X-AI-VID is not the product of this AI token", "invalid_api_key")
    device = state.products.device_with_id(product_id, device_id)
    if device is None:
        raise Refused("X-AI-UID is not the deviceId of a device of this product", "invalid_api_key")
    return str(device["device_no"])


def _events(known: dict[str, Any], pieces: list[str], failed: bool) -> Iterator[str]:
    def chunk(delta: dict[str, str], finish_reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        return f"data: {compact({**known, 'object': 'chat.completion.chunk', 'choices': [choice]})}\n\n"

    yield chunk({"role": "assistant", "content": ""})
    if failed:
        yield chunk({"content": pieces[0]})
        error = {"message": "the model failed", "type": "server_error", "code": "internal_error"}
        yield f"data: {compact({'error': error})}\n\n"
        return
    for piece in pieces:
        yield chunk({"content": piece})
    yield chunk({}, "stop")
    yield "data: [DONE]\n\n"


def _tokens(text: str) -> int:
    """About as many as a tokenizer counts: one for a Chinese character, one for four Latin ones."""
    wide = sum(not char.isascii() for char in text)
    return wide + (len(text) - wide + 3) // 4


def _usage(asked: int, pieces: list[str]) -> dict[str, int]:
    said = _tokens("".join(pieces))
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}
