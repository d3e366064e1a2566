"""Who calls: the bearer, and the device that the call is billed to."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Header, Request
from pydantic import ValidationError

from ..state import State
from ..strict import Refused, Strict, Text, bearer, sentence
from . import answer


class DeviceInfo(Strict):
    device_id: Text | None = None
    custom_consumer: Text | None = None


@dataclass(frozen=True)
class Caller:
    may_bind: bool
    bill: Callable[[], None]


def calling(state: State) -> Callable[..., Coroutine[Any, Any, Caller]]:
    """The dependency that finds out; refuses an unknown or expired bearer."""

    async def caller(
        request: Request,
        authorization: Annotated[str | None, Header()] = None,
        device_info: Annotated[str | None, Header(alias="X-Coze-DeviceInfo")] = None,
    ) -> Caller:
        token = _token(state, authorization)
        device = DeviceInfo(device_id=token["device_id"], custom_consumer=token["custom_consumer"])
        if device == DeviceInfo() and device_info is not None:
            device = _parsed(device_info)
        request.state.device = device.device_id or device.custom_consumer

        def bill() -> None:
            state.coze.bill(device.device_id, device.custom_consumer, request.url.path)

        return Caller(bool(token["may_bind"]), bill)

    return caller


def _token(state: State, authorization: str | None) -> dict[str, Any]:
    given = bearer(authorization)
    if given is None:
        raise Refused(
            "身份验证无效: Authorization must be Bearer and an access token", answer.NOT_AUTHENTICATED, 401
        )
    token = state.coze.token(given)
    if token is None:
        raise Refused("身份验证无效: the access token is unknown", answer.NOT_AUTHENTICATED, 401)
    if token["expires"] is not None and token["expires"] <= state.now():
        raise Refused("身份验证无效: the access token has expired", answer.NOT_AUTHENTICATED, 401)
    return token


def _parsed(header: str) -> DeviceInfo:
    # Coze itself would take a header that it cannot read for none, and bill the call to nobody.
    if not header.isascii():
        raise Refused(answer.WRONG_WORDS + "X-Coze-DeviceInfo must be ASCII; JSON writes 玩 as \\u73a9")
    try:
        return DeviceInfo.model_validate_json(header)
    except ValidationError as error:
        raise Refused(f"{answer.WRONG_WORDS}X-Coze-DeviceInfo: {sentence(error.errors(), 0)}") from None
