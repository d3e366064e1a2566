"""Workflows: run, run as a stream, and resumed (执行工作流, 流式响应, 恢复运行工作流)."""

import json
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from ..misbehave import Fault
from ..state import State
from ..streaming import compact, reply, stream
from ..strict import Refused, Text
from . import answer
from .answer import Body, Ext, JsonRoute, Parameters, log_header, success
from .caller import Caller, calling
from .store import number

QUESTION = 2  # the kind of interruption that a question node makes


class StreamRun(Body):
    workflow_id: Text
    parameters: Parameters | str | None = None
    bot_id: Text | None = None
    app_id: Text | None = None
    ext: Ext = None
    workflow_version: Text | None = None
    connector_id: str | None = None


class Run(StreamRun):
    is_async: bool = False


class Resume(Body):
    workflow_id: Text
    event_id: Text
    resume_data: Text
    interrupt_type: int


def router(state: State) -> APIRouter:
    routes = APIRouter(prefix="/v1/workflow", route_class=JsonRoute)
    who = Depends(calling(state))

    @routes.post("/run")
    async def run(body: Run, request: Request, caller: Caller = who) -> Response:
        asked = _asked(body)
        caller.bill()
        if body.is_async:
            return success(execute_id=number(), **_debug(body.workflow_id))
        output = "".join(reply(asked, request.state.fault.bytes))
        usage = {"input_count": len(asked), "output_count": len(output)}
        usage["token_count"] = sum(usage.values())
        return success(compact({"output": output}), usage=usage, **_debug(body.workflow_id))

    @routes.post("/stream_run")
    async def stream_run(body: StreamRun, request: Request, caller: Caller = who) -> Response:
        asked = _asked(body)
        caller.bill()
        fault = request.state.fault
        event_id = state.coze.interrupted(body.workflow_id, QUESTION) if _asks_back(fault) else None
        return stream(request, _events(body.workflow_id, asked, event_id, fault), headers=log_header())

    @routes.post("/stream_resume")
    async def stream_resume(body: Resume, request: Request, caller: Caller = who) -> Response:
        interrupt = state.coze.interrupt(body.workflow_id, body.event_id)
        if interrupt is None:
            raise Refused("资源未找到: this workflow has no such event_id", answer.NOT_FOUND)
        if interrupt["type"] != body.interrupt_type:
            kind = interrupt["type"]
            raise Refused(f"{answer.WRONG_WORDS}interrupt_type is {kind} here, not {body.interrupt_type}")
        if interrupt["resumed"]:
            raise Refused("执行已结束: this event_id was resumed before", answer.ALREADY_OVER)
        caller.bill()
        state.coze.resumed(body.event_id)
        fault = request.state.fault
        event_id = state.coze.interrupted(body.workflow_id, QUESTION) if _asks_back(fault) else None
        parts = _events(body.workflow_id, body.resume_data, event_id, fault)
        return stream(request, parts, headers=log_header())

    return routes


def _asked(body: StreamRun) -> str:
    """The parameters as text; they come as an object, or as an object's JSON."""
    if body.bot_id and body.app_id:
        raise Refused(answer.WRONG_WORDS + "bot_id and app_id must not both be given")
    if not isinstance(body.parameters, str):
        return compact(body.parameters or {})
    try:
        content = json.loads(body.parameters)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Refused(answer.WRONG_WORDS + "parameters must be a JSON object, or its text")
    return compact(content)


def _asks_back(fault: Fault) -> bool:
    return fault.stream == "requires_action"


def _debug(workflow_id: str) -> dict[str, str]:
    execution = f"execute_id={number()}&space_id={number()}&workflow_id={workflow_id}"
    return {"debug_url": f"https://www.coze.cn/work_flow?{execution}"}


def _events(workflow_id: str, asked: str, event_id: str | None, fault: Fault) -> Iterator[str]:
    """Numbered from 0; `event_id` is there when the workflow asks back."""
    for number_, (name, data) in enumerate(_steps(workflow_id, asked, event_id, fault)):
        yield f"id: {number_}\nevent: {name}\ndata: {compact(data)}\n\n"


def _steps(
    workflow_id: str, asked: str, event_id: str | None, fault: Fault
) -> Iterator[tuple[str, dict[str, Any]]]:
    if event_id:
        yield "Message", _message("请问你想查看哪个城市的天气？", 0, True, "问答")
        interrupt = {"data": "", "event_id": event_id, "type": QUESTION}
        yield "Interrupt", {"interrupt_data": interrupt, "node_title": "问答"}
        return
    pieces = reply(asked, fault.bytes)
    for place, piece in enumerate(pieces):
        yield "Message", _message(piece, place, place == len(pieces) - 1, "End")
        if fault.stream == "ping":
            yield "PING", {}
        if fault.stream in ("failed", "failed-bare", "error"):
            error = {"error_code": answer.BROKEN, "error_message": "the box was told to fail"}
            yield "Error", error
            return
    yield "Done", _debug(workflow_id)


def _message(content: str, place: int, last: bool, title: str) -> dict[str, Any]:
    return {
        "content": content,
        "content_type": "text",
        "node_is_finish": last,
        "node_seq_id": str(place),
        "node_title": title,
    }
