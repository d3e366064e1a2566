"""Workflows: run, run as a stream, and resumed (执行工作流, 流式响应, 恢复运行工作流)."""

import json
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response

from .. import answers
from ..codes import CozeCode
from ..misbehave import Fault
from ..notation import compact, number
from ..refusals import Refused
from ..state import State
from ..streaming import reply, stream
from ..strict import JSON, Text
from .bodies import Body, Ext, Parameters
from .caller import Caller

QUESTION = 2  # the kind of interruption that a question node makes


class StreamRun(Body):
    workflow_id: Text
    parameters: Parameters | str | None = None
    bot_id: Text | None = None
    app_id: Text | None = None
    ext: Ext = None
    workflow_version: Text | None = None
    connector_id: str | None = None


class WorkflowRun(StreamRun):
    is_async: bool = False


class Resume(Body):
    workflow_id: Text
    event_id: Text
    resume_data: Text
    interrupt_type: int


router = APIRouter(prefix="/v1/workflow", dependencies=[JSON])


@router.post("/run")
async def run(body: WorkflowRun, request: Request, caller: Caller) -> Response:
    asked = _asked(body)
    caller.bill()
    if body.is_async:
        return answers.coze(execute_id=number(), **_debug(body.workflow_id))
    output = "".join(reply(asked, request.state.fault.bytes))
    usage = {"input_count": len(asked), "output_count": len(output)}
    usage["token_count"] = sum(usage.values())
    return answers.coze(compact({"output": output}), usage=usage, **_debug(body.workflow_id))


@router.post("/stream_run")
async def stream_run(body: StreamRun, request: Request, caller: Caller) -> Response:
    asked = _asked(body)
    caller.bill()
    return _streamed(request, caller.state, body.workflow_id, asked)


@router.post("/stream_resume")
async def stream_resume(body: Resume, request: Request, caller: Caller) -> Response:
    interrupt = caller.state.coze.interrupt(body.workflow_id, body.event_id)
    if interrupt is None:
        raise Refused("this workflow has no such event_id", CozeCode.NOT_FOUND)
    if interrupt["type"] != body.interrupt_type:
        raise Refused(f"interrupt_type is {interrupt['type']} here, not {body.interrupt_type}")
    if interrupt["resumed"]:
        raise Refused("this event_id was resumed before", CozeCode.ALREADY_OVER)
    caller.bill()
    caller.state.coze.resumed(body.event_id)
    return _streamed(request, caller.state, body.workflow_id, body.resume_data)


def _streamed(request: Request, state: State, workflow_id: str, asked: str) -> Response:
    fault = request.state.fault
    asks_back = fault.stream == "requires_action"
    event_id = state.coze.interrupted(workflow_id, QUESTION) if asks_back else None
    return stream(request, _events(workflow_id, asked, event_id, fault), headers=answers.log_header())


def _asked(body: StreamRun) -> str:
    """The parameters as text; they come as an object, or as an object's JSON."""
    if body.bot_id and body.app_id:
        raise Refused("bot_id and app_id must not both be given")
    if not isinstance(body.parameters, str):
        return compact(body.parameters or {})
    try:
        content = json.loads(body.parameters)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise Refused("parameters must be a JSON object, or its text")
    return compact(content)


def _debug(workflow_id: str) -> dict[str, str]:
    execution = f"execute_id={number()}&space_id={number()}&workflow_id={workflow_id}"
    return {"debug_url": f"https://www.coze.cn/work_flow?{execution}"}


def _events(workflow_id: str, asked: str, event_id: str | None, fault: Fault) -> Iterator[str]:
    """Numbered from 0; `event_id` is there when the workflow asks back."""
    for place, (name, data) in enumerate(_steps(workflow_id, asked, event_id, fault)):
        yield f"id: {place}\nevent: {name}\ndata: {compact(data)}\n\n"


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
            error = {"error_code": CozeCode.BROKEN, "error_message": "the box was told to fail"}
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
