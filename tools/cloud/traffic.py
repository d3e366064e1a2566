"""Between the network and the clouds: logs every call, and misbehaves when told to."""

import asyncio
import json
import re
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .misbehave import Switch, hang_up
from .refusals import refusals_for
from .state import State

GONE = "the connection ended in the middle of the request"
BODY_BYTES = 1 << 20
# Ten megabytes of sound with a form around it, and all devices of a maker in one call.
LARGE_BODY_BYTES = 12 << 20
FILES = "/release/"  # below it lies no call of a vendor, only files
OnRequest = Callable[[str, str, Headers, bytes], None]
LARGE = re.compile("/v1/audio/transcriptions|/v1/connectors/[^/]+/user_configs")


class Traffic:
    """ASGI middleware: keeps bodies short, and logs and breaks every path but the box's own.

    Args:
        own: the box's own paths, which are neither logged nor broken.
        on_call: is handed each call's row when the call is over.
        on_request: is handed each call's method, path, header and body, secrets and all, before the answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        state: State,
        switch: Switch,
        own: frozenset[str],
        on_call: Callable[[dict[str, Any]], None],
        on_request: OnRequest,
    ) -> None:
        self.app, self.state, self.switch, self.own = app, state, switch, own
        self.on_call, self.on_request = on_call, on_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._answer(scope, receive, _dated(send, self.state.now))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        refusals = refusals_for(path)
        if path in self.own:
            body, lack = await _body(scope, receive)
            own = refusals.refuse_unreached(lack, 413) if lack else self.app
            return await own(scope, _replayed(body, receive), send)
        call = self.state.call_arrived(_printable(path))
        body, lack = await _body(scope, receive)
        self.on_request(scope["method"], path, Headers(scope=scope), body)

        # Always before the caller can know that it is over, so that it finds the call in the log.
        def end(**outcome: Any) -> None:
            outcome["device"] = scope["state"].get("device")
            known = {name: _printable(it) if isinstance(it, str) else it for name, it in outcome.items()}
            self.on_call(self.state.call_ended(call, received=len(body), **known))

        if lack == GONE:
            return end(reason=GONE)
        if lack:
            return await _pass_on(refusals.refuse_unreached(lack, 413), scope, receive, send, end, None)

        fault = scope["state"]["fault"] = self.switch.for_call(path)
        transport: asyncio.Transport = scope["state"]["transport"]
        if fault.delay and await _gone(receive, fault.delay):
            return end(reason=f"the caller left within a delay of {fault.delay:g} s")
        if fault.connection in ("close", "reset") and fault.after is None:
            end(reason=f"misbehaved: {fault.connection} before the answer")
            hang_up(transport, reset=fault.connection == "reset")
            await _gone(receive)
            return None

        instead = fault.answer(refusals.as_told)
        app, replayed = instead or self.app, _replayed(body, receive)
        if fault.connection is None:
            await _pass_on(
                app, scope, replayed, send, end, "misbehaved: answered as told" if instead else None
            )
            return None

        start, answer = await _collect(app, scope, replayed)
        length = len(answer) // 2 if fault.after is None else fault.after
        end(status=start["status"], reason=f"misbehaved: {fault.connection} in the middle of the answer")
        await send(start)
        await send({"type": "http.response.body", "body": answer[:length], "more_body": True})
        if fault.connection == "truncate":
            # A proper end of the TLS connection: only HTTP's own framing gives the loss away.
            transport.close()
        else:
            hang_up(transport, reset=fault.connection == "reset")
        await _gone(receive)
        return None


def _dated(send: Send, now: Callable[[], float]) -> Send:
    """Answers tell the time that it is in the box."""

    async def dated(message: Message) -> None:
        if message["type"] == "http.response.start":
            date = ("date", formatdate(now(), usegmt=True))
            message["headers"] = [*message["headers"], tuple(part.encode() for part in date)]
        await send(message)

    return dated


async def _pass_on(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, end: Callable[..., None], reason: str | None
) -> None:
    """Hands each part of an answer to the caller as it comes."""
    # Held back until there is a part: an answer in one part is logged before it is sent.
    start: Message | None = None
    status: int | None = None
    over = False

    async def part(message: Message) -> None:
        nonlocal start, status, over
        if message["type"] == "http.response.start":
            start, status = message, message["status"]
            return
        if not message.get("more_body"):
            over = True
            whole = message.get("body", b"") if start and not scope["path"].startswith(FILES) else None
            code, text = _verdict(status, whole)
            end(status=status, code=code, reason=reason or text)
        if start:
            held, start = start, None
            await send(held)
        await send(message)

    await app(scope, receive, part)
    if not over:
        end(status=status, reason="the caller left in the middle of the answer")


async def _collect(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
    """What an application answers: the message with its status and header, and the body."""
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, send)
    start, *parts = messages
    return start, b"".join(part.get("body", b"") for part in parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The request once more, for the application; after it, what the caller does next."""
    request: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def replay() -> Message:
        nonlocal request
        message, request = request, None
        return message or await receive()

    return replay


async def _body(scope: Scope, receive: Receive) -> tuple[bytes, str | None]:
    """A body as far as it was read, and why that is not all of it."""
    limit = LARGE_BODY_BYTES if LARGE.fullmatch(scope["path"]) else BODY_BYTES
    too_long = f"the body is longer than {limit} bytes"
    if int(Headers(scope=scope).get("Content-Length", 0)) > limit:
        return b"", too_long
    body = bytearray()
    try:
        async for part in Request(scope, receive).stream():
            body += part
            if len(body) > limit:
                return bytes(body), too_long
    except ClientDisconnect:
        return bytes(body), GONE
    return bytes(body), None


def _printable(text: str) -> str:
    """Text from outside as one line that a terminal shows and does not obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


async def _gone(receive: Receive, timeout: float | None = None) -> bool:
    """Waits until the caller has gone, at most for a time in seconds; True if it has."""

    async def wait() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(wait(), timeout)
    except asyncio.TimeoutError:
        return False
    return True


def _verdict(status: int | None, answer: bytes | None) -> tuple[str | None, str | None]:
    """The code and the text that an answer carries, wherever its vendor puts them; None is a stream."""
    if answer is None:
        return str(status), "streamed"
    try:
        content = json.loads(answer)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        return None, "answered something that is no JSON object"
    if isinstance(content.get("error"), dict):
        content = content["error"]
    code = next((content[name] for name in ("code", "error_code") if name in content), status)
    text = next((content[name] for name in ("message", "msg", "error_message") if content.get(name)), None)
    return str(code), text
