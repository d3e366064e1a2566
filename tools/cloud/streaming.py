"""Answers that go out in parts."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping

from fastapi import Request
from fastapi.responses import StreamingResponse

SENTENCE = "今天天气很好，我们一起去公园散步吧。"


def stream(
    request: Request,
    parts: Iterable[str | bytes],
    media_type: str = "text/event-stream",
    headers: Mapping[str, str] | None = None,
) -> StreamingResponse:
    """Sends each part by itself, as slowly and as incompletely as the box was told to."""
    fault = request.state.fault
    if fault.stream == "early":
        parts = list(parts)
        parts = parts[: len(parts) // 2]

    async def paced() -> AsyncIterator[str | bytes]:
        for part in parts:
            if fault.pause:
                await asyncio.sleep(fault.pause)
            yield part

    return StreamingResponse(paced(), media_type=media_type, headers=headers)


def reply(question: str, size: int | None) -> list[str]:
    """What the model says, in the pieces it says it in.

    Args:
        size: the wanted length in UTF-8 bytes, if any; the pieces are longer then.
    """
    if size is None:
        return _cut(f"你好！你问的是“{question}”。{SENTENCE}", 4)
    count, rest = divmod(size, len(SENTENCE.encode()))
    return _cut(SENTENCE * count + "." * rest, 256)


def _cut(text: str, length: int) -> list[str]:
    return [text[start : start + length] for start in range(0, len(text), length)]
