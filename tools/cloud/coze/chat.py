"""Chats with a bot and with a workflow (发起对话, 执行对话流)."""

import time
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from .. import answers
from ..codes import CozeCode
from ..misbehave import Fault
from ..notation import compact, number
from ..refusals import Refused
from ..state import State
from ..streaming import reply, stream
from ..strict import JSON, Text
from .bodies import Body, EnterMessage, Ext, Parameters
from .caller import Caller

CHAT_MESSAGES, WORKFLOW_MESSAGES = 100, 50
# A longer answer is several messages: each ends with all of its text in one event.
MESSAGE_PIECES = 5
FAILURE = {"code": CozeCode.BROKEN, "msg": "the box was told to fail"}


class Chat(Body):
    bot_id: Text
    user_id: Text
    additional_messages: list[EnterMessage] = Field(default_factory=list)
    stream: bool = False
    custom_variables: dict[str, str] | None = None
    auto_save_history: bool = True
    meta_data: dict[str, str] | None = None
    extra_params: dict[str, str] | None = None
    shortcut_command: dict[str, Any] | None = None
    parameters: Parameters | None = None
    enable_card: bool | None = None
    publish_status: Text | None = None
    bot_version: Text | None = None
    connector_id: str | None = None
    conversation_id: Annotated[str | None, Field(description="only the query's counts")] = None


class Asked(Body):
    conversation_id: Text
    chat_id: Text


class WorkflowChat(Body):
    workflow_id: Text
    additional_messages: list[EnterMessage]
    parameters: Parameters | None = None
    app_id: Text | None = None
    bot_id: Text | None = None
    conversation_id: Text | None = None
    ext: Ext = None
    workflow_version: Text | None = None
    connector_id: str | None = None


router = APIRouter(dependencies=[JSON])
polls = APIRouter()
Asking = Annotated[Asked, Query()]


@router.post("/v3/chat")
async def chat(
    body: Chat,
    request: Request,
    caller: Caller,
    conversation_id: Annotated[str | None, Query(description="empty is absent, as the SDK sends it")] = None,
) -> Response:
    _check_count(body.additional_messages, CHAT_MESSAGES)
    if not (body.stream or body.auto_save_history):
        raise Refused("stream=false needs auto_save_history=true", CozeCode.NEEDS_HISTORY)
    caller.bill()
    about, fault = _about(conversation_id, body.bot_id), request.state.fault
    steps = _steps(about, _question(body.additional_messages), "[DONE]", fault)
    if not body.stream:
        # The answer's text is asked for later, by calls that report no device.
        said = list(steps)
        begun, ended, messages = _outcome(said)
        caller.state.coze.keep_chat(begun, ended, messages, fault.pause * len(said))
        return answers.coze(begun)
    return stream(request, _events(steps), headers=answers.log_header())


@polls.api_route("/v3/chat/retrieve", methods=["GET", "POST"])
async def retrieve(asked: Asking, caller: Caller) -> Response:
    return answers.coze(_known(caller.state, asked)["chat"])


@polls.api_route("/v3/chat/message/list", methods=["GET", "POST"])
async def list_messages(asked: Asking, caller: Caller) -> Response:
    return answers.coze(_known(caller.state, asked)["messages"])


@router.post("/v3/chat/cancel")
async def cancel(body: Asked, caller: Caller) -> Response:
    chat = _known(caller.state, body)["chat"]
    if chat["status"] != "in_progress":
        text = f"this chat is {chat['status']} and cannot be canceled"
        raise Refused(text, CozeCode.NOT_TO_CANCEL)
    canceled = {**chat, "status": "canceled"}
    caller.state.coze.keep_chat(canceled, canceled, [])
    return answers.coze(canceled)


@router.post("/v1/workflows/chat")
async def workflow_chat(body: WorkflowChat, request: Request, caller: Caller) -> Response:
    _check_count(body.additional_messages, WORKFLOW_MESSAGES)
    if body.app_id and body.bot_id:
        raise Refused("bot_id and app_id must not both be given")
    caller.bill()
    about = _about(body.conversation_id, body.bot_id)
    done = {"debug_url": f"https://www.coze.cn/work_flow?execute_id={number()}"}
    steps = _steps(about, _question(body.additional_messages), done, request.state.fault)
    return stream(request, _events(steps), headers=answers.log_header())


def _known(state: State, asked: Asked) -> dict[str, Any]:
    row = state.coze.chat(asked.conversation_id, asked.chat_id)
    if row is None:
        raise Refused("no chat without stream has these ids", CozeCode.NOT_FOUND)
    return row


def _check_count(messages: list[EnterMessage], limit: int) -> None:
    if len(messages) > limit:
        raise Refused(f"{len(messages)}, at most {limit} are allowed", CozeCode.TOO_MANY_MESSAGES)


def _question(messages: list[EnterMessage]) -> str:
    return (messages[-1].content or "") if messages else ""


def _about(conversation_id: str | None, bot_id: str | None) -> dict[str, Any]:
    """A Chat object without its status."""
    conversation_id = conversation_id or number()
    return {
        "id": number(),
        "conversation_id": conversation_id,
        "bot_id": bot_id or "",
        "created_at": int(time.time()),
        "last_error": {"code": 0, "msg": ""},
        "usage": {"token_count": 0, "output_count": 0, "input_count": 0},
        "section_id": conversation_id,
    }


def _outcome(steps: list[tuple[str, Any]]) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """The Chat object at first and at last, and the whole messages, for one who asks for them later."""
    chats = [data for name, data in steps if name.startswith("conversation.chat.") and "status" in data]
    begun, ended = chats[1], chats[-1]
    if ended is begun:
        # It failed without a Chat object.
        ended = {**begun, "status": "failed", "last_error": FAILURE}
    return begun, ended, [data for name, data in steps if name == "conversation.message.completed"]


def _events(steps: Iterable[tuple[str, Any]]) -> Iterator[str]:
    # No space after the colons, as the service itself writes them.
    return (f"event:{name}\ndata:{compact(data)}\n\n" for name, data in steps)


def _steps(about: dict[str, Any], question: str, done: Any, fault: Fault) -> Iterator[tuple[str, Any]]:
    def ends(status: str, **more: Any) -> tuple[str, Any]:
        return f"conversation.chat.{status}", {**about, "status": status, **more}

    yield ends("created")
    yield ends("in_progress")
    pieces = reply(question, fault.bytes)
    for start in range(0, len(pieces), MESSAGE_PIECES):
        yield from _message(about, pieces[start : start + MESSAGE_PIECES])
        if fault.stream == "error":
            # Nothing follows it: not even `done`.
            yield "error", FAILURE
            return
        if fault.stream in ("failed", "failed-bare", "requires_action"):
            break
    if fault.stream == "failed":
        yield ends("failed", last_error=FAILURE, failed_at=int(time.time()))
    elif fault.stream == "failed-bare":
        yield "conversation.chat.failed", FAILURE
    elif fault.stream == "requires_action":
        call = {"id": number(), "type": "reply_message", "function": None}
        action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [call]}}
        yield ends("requires_action", required_action=action)
    else:
        yield "conversation.message.completed", _finish(about)
        count = len("".join(pieces))
        usage = {"token_count": count + len(question), "output_count": count, "input_count": len(question)}
        yield ends("completed", completed_at=int(time.time()), usage=usage)
    yield "done", done


def _message(about: dict[str, Any], pieces: list[str]) -> Iterator[tuple[str, Any]]:
    """The pieces of one message, and then the whole of it."""
    known = _text_message(about, "answer")
    for piece in pieces:
        yield "conversation.message.delta", {**known, "content": piece}
    whole = {**known, "content": "".join(pieces), "created_at": int(time.time())}
    yield "conversation.message.completed", whole


def _finish(about: dict[str, Any]) -> dict[str, Any]:
    finish = {"msg_type": "generate_answer_finish", "data": "", "from_module": None, "from_unit": None}
    return {**_text_message(about, "verbose"), "content": compact(finish), "created_at": int(time.time())}


def _text_message(about: dict[str, Any], kind: str) -> dict[str, Any]:
    known = {name: about[name] for name in ("conversation_id", "bot_id", "section_id")}
    return {
        "id": number(),
        "role": "assistant",
        "type": kind,
        "content_type": "text",
        "chat_id": about["id"],
        **known,
    }
