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

from .chinamobile import DeviceIp
from .state import State
from .streaming import compact, reply, stream
from .strict import Refused, Strict, Text, bearer, route

PATH = "/llm/"
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


def refusal(text: str, code: str = "invalid_request", status: int = 400) -> Response:
    kind = "authentication_error" if status == 401 else "invalid_request_error"
    return JSONResponse({"error": {"message": text, "type": kind, "code": code}}, status)


def router(state: State) -> APIRouter:
    routes = APIRouter(prefix="/llm/v1", route_class=route(refusal))

    def check_caller(authorization: str | None, product_id: str, device_id: str) -> str:
        token = state.ai_token(bearer(authorization))
        if token is None:
            raise Refused("Authorization must be Bearer and a known AI token", "invalid_api_key", 401)
        if token["product_id"] != product_id:
            raise Refused("X-AI-VID is not the product of this AI token", "invalid_api_key", 401)
        device = state.device_with_id(product_id, device_id)
        if device is None:
            raise Refused("X-AI-UID is not the deviceId of a device of this product", "invalid_api_key", 401)
        return str(device["device_no"])

    @routes.post("/chat/completions")
    async def completions(
        body: Completion,
        request: Request,
        product_id: Annotated[Text, Header(alias="X-AI-VID")],
        device_id: Annotated[Text, Header(alias="X-AI-UID")],
        device_ip: DeviceIp = None,
        authorization: Annotated[str | None, Header()] = None,
    ) -> Response:
        request.state.device = check_caller(authorization, product_id, device_id)
        if body.temperature != TEMPERATURE and body.top_p != TOP_P:
            raise Refused("temperature and top_p must not both be changed")
        tokens = sum(_tokens(message.content) for message in body.messages)
        if tokens > CONTEXT_TOKENS:
            raise Refused(
                f"messages hold {tokens} tokens, at most {CONTEXT_TOKENS} fit", "context_length_exceeded"
            )
        fault = request.state.fault
        pieces = reply(body.messages[-1].content, fault.bytes)
        known = {
            "id": "chatcmpl-" + secrets.token_hex(12),
            "created": int(time.time()),
            "model": body.model,
        }
        if body.stream:
            failed = fault.stream in ("failed", "failed-bare", "error")
            return stream(request, _events(known, pieces, failed))
        return JSONResponse(
            {
                **known,
                "object": "chat.completion",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": "".join(pieces)},
                        "finish_reason": "stop",
                    }
                ],
                "usage": _usage(tokens, pieces),
            }
        )

    return routes


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
