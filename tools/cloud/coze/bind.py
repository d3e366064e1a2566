"""Binding devices to a channel (绑定设备)."""

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from .. import answers
from ..codes import CozeCode
from ..refusals import Refused
from ..strict import JSON, Text
from .bodies import Body
from .caller import Caller


class UserConfigEnum(Body):
    label: Text
    value: Text


class UserConfig(Body):
    key: Text
    enums: Annotated[list[UserConfigEnum], Field(min_length=1)]


class UserConfigs(Body):
    configs: Annotated[list[UserConfig], Field(min_length=1)]
    user_id: Text | None = None


router = APIRouter(dependencies=[JSON])


@router.post("/v1/connectors/{connector_id}/user_configs")
async def bind(connector_id: str, body: UserConfigs, caller: Caller) -> Response:
    if not caller.may_bind:
        text = "the access token lacks the permission bindConnectorConfig"
        raise Refused(text, CozeCode.NOT_PERMITTED)
    channel = caller.state.coze.channel(connector_id)
    if channel is None:
        raise Refused("no channel has this connector_id", CozeCode.NOT_FOUND)
    if channel["key"] is None:
        raise Refused("Coze has not switched on binding for this channel", CozeCode.NOT_PERMITTED)
    for config in body.configs:
        if config.key != channel["key"]:
            raise Refused(f"key {channel['key']!r} was agreed with Coze, not {config.key!r}")
    # All of them or none: every key was looked at before.
    devices = [(device.label, device.value) for config in body.configs for device in config.enums]
    caller.state.coze.bind(connector_id, devices, body.user_id)
    return answers.coze()
