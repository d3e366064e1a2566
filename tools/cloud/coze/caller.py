"""Who calls: the bearer, and the device that the call is billed to."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from pydantic import ValidationError

from ..codes import CozeCode
from ..refusals import Refused, sentence
from ..state import Remembered, State
from ..strict import Bearer, Strict, Text


class DeviceInfo(Strict):
    device_id: Text | None = None
    custom_consumer: Text | None = None


@dataclass(frozen=True)
class CozeCaller:
    device: DeviceInfo
    may_bind: bool
    state: State
    path: str

    def bill(self) -> None:
        self.state.coze.bill(self.device.device_id, self.device.custom_consumer, self.path)


async def check_caller(
    request: Request,
    state: Remembered,
    bearer: Bearer = None,
    device_info: Annotated[str | None, Header(alias="X-Coze-DeviceInfo")] = None,
) -> CozeCaller:
    """Refuses an unknown or expired bearer."""
    token = _token(state, bearer)
    device = DeviceInfo(device_id=token["device_id"], custom_consumer=token["custom_consumer"])
    if device == DeviceInfo() and device_info is not None:
        device = _parsed(device_info)
    request.state.device = device.device_id or device.custom_consumer
    return CozeCaller(device, bool(token["may_bind"]), state, request.scope["path"])


Caller = Annotated[CozeCaller, Depends(check_caller)]


def _token(state: State, bearer: str | None) -> dict[str, Any]:
    if bearer is None:
        raise Refused("Authorization must be Bearer and an access token", CozeCode.NOT_AUTHENTICATED)
    token = state.coze.token(bearer)
    if token is None:
        raise Refused("the access token is unknown", CozeCode.NOT_AUTHENTICATED)
    if token["expires"] is not None and token["expires"] <= state.now():
        raise Refused("the access token has expired", CozeCode.NOT_AUTHENTICATED)
    return token


def _parsed(header: str) -> DeviceInfo:
    # Coze itself would take a header that it cannot read for none, and bill the call to nobody.
    if not header.isascii():
        raise Refused("X-Coze-DeviceInfo must be ASCII; JSON writes 玩 as \\u73a9")
    try:
        return DeviceInfo.model_validate_json(header)
    except ValidationError as error:
        raise Refused(f"X-Coze-DeviceInfo: {sentence(error.errors(), 0)}") from None
