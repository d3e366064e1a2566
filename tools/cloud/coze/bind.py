"""Binding devices to a channel (绑定设备)."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import Field

from ..state import State
from ..strict import Refused, Text
from . import answer
from .answer import Body, JsonRoute, success
from .caller import Caller, calling


class UserConfigEnum(Body):
    label: Text
    value: Text


class UserConfig(Body):
    key: Text
    enums: Annotated[list[UserConfigEnum], Field(min_length=1)]


class UserConfigs(Body):
    configs: Annotated[list[UserConfig], Field(min_length=1)]
    user_id: Text | None = None


def router(state: State) -> APIRouter:
    routes = APIRouter(route_class=JsonRoute)
    who = Depends(calling(state))

    @routes.post("/v1/connectors/{connector_id}/user_configs")
    async def bind(connector_id: str, body: UserConfigs, caller: Caller = who) -> Response:
        if not caller.may_bind:
            text = "没有权限访问该资源: the access token lacks the permission bindConnectorConfig"
            raise Refused(text, answer.NOT_PERMITTED, 403)
        channel = state.coze.channel(connector_id)
        if channel is None:
            raise Refused("资源未找到: no channel has this connector_id", answer.NOT_FOUND)
        if channel["key"] is None:
            text = "没有权限访问该资源: Coze has not switched on binding for this channel"
            raise Refused(text, answer.NOT_PERMITTED, 403)
        for config in body.configs:
            if config.key != channel["key"]:
                agreed = f"key {channel['key']!r} was agreed with Coze, not {config.key!r}"
                raise Refused(answer.WRONG_WORDS + agreed)
        # All of them or none: every key was looked at before.
        for config in body.configs:
            devices = [(device.label, device.value) for device in config.enums]
            state.coze.bind(connector_id, devices, body.user_id)
        return success()

    return routes
