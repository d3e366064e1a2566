"""Streamed chats with Coze: how soon the first piece comes, and how many connections they take."""

from __future__ import annotations

import ssl
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
from muster import http
from muster.clouds.coze import Coze

from tools.cloud import Cloud
from tools.common.progress import Tell

from .figure import Figure, Turns
from .fleet import process
from .programs import library, run
from .server import CannedServer

# What cozepy is built on warns at its import.
with warnings.catch_warnings(record=True):
    import cozepy
    from cozepy.request import SyncHTTPClient

TEN, ROUNDS = 10, 60
BOT, CHILD, QUESTION, TOKEN = "7379462189365198898", "child-1", "今天天气怎么样？", "token"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def measure(tell: Tell) -> list[Figure]:
    """The rows of this topic."""
    with CannedServer(*answer()) as server:
        tell(f"chat: {TEN} chats in the VM")
        in_the_vm(server, TEN)
        connections = server.connections
        tell("chat: the first piece in the VM")
        [_, *alone] = in_the_vm(server, 1 + ROUNDS)
        tell("chat: the first piece by muster and by cozepy, in turns")
        # Threads of one process wait for each other.
        with process() as other:
            turns = Turns(other.submit(in_turns, server.url, server.ca).result())
    soon, slower = statistics.median(alone) / 1000, 1 / turns.ratio
    return [
        Figure(
            f"TLS connections for {TEN} streamed chats",
            "",
            "1",
            str(connections),
            connections == 1,
            "each part of an answer comes in a TLS record of its own, its last chunk too.",
        ),
        Figure(
            "first piece of a streamed chat, kept connection, VM",
            "",
            "1.2 ms",
            f"{soon:.2f} ms",
            soon <= 1.2,
            "from the call to the first text; the server on loopback answers at once.",
        ),
        Figure(
            "first piece of a streamed chat, kept connection, CPython",
            f"cozepy {cozepy.VERSION}",
            "0.8 times its time",
            f"{slower:.2f} times: {turns.ours * 1000:.2f} ms, {turns.theirs * 1000:.2f} ms",
            slower <= 0.8,
            f"{len(turns.pairs)} rounds in turns",
        ),
    ]


def answer() -> list[bytes]:
    """A chat's answer as the clouds in a box give it, in the parts that it is sent in."""
    with Cloud() as cloud:
        cloud.add_coze_token(TOKEN)
        said = requests.post(
            f"{cloud.url}/v3/chat",
            json={
                "bot_id": BOT,
                "user_id": CHILD,
                "stream": True,
                "additional_messages": [{"role": "user", "content": QUESTION, "content_type": "text"}],
            },
            headers={"Authorization": f"Bearer {TOKEN}"},
            verify=str(cloud.ca_pem),
            timeout=10,
        )
    said.raise_for_status()
    events = [event + b"\n\n" for event in said.content.split(b"\n\n") if event]
    return [HEAD, *(b"%x\r\n%s\r\n" % (len(event), event) for event in events), b"0\r\n\r\n"]


def in_the_vm(server: CannedServer, count: int) -> list[int]:
    """The microseconds to the first piece of each of so many chats, over one session."""
    with tempfile.TemporaryDirectory(prefix="muster-chat-") as folder:
        return run("chat", [server.url, server.ca, count], [library(Path(folder) / "lib")])


def in_turns(url: str, ca: str) -> list[tuple[float, float]]:
    """The seconds to the first piece by muster and by cozepy, over connections that both have kept."""
    with SyncHTTPClient(verify=ssl.create_default_context(cafile=ca)) as client:
        peer = cozepy.Coze(cozepy.TokenAuth(TOKEN), base_url=url, http_client=client)
        ask = cozepy.Message.build_user_question_text(QUESTION)
        coze = Coze(http.Session(ca), token=TOKEN, base_url=url)

        def ours() -> Iterator[str]:
            return coze.chat_text(BOT, CHILD, QUESTION)

        def theirs() -> Iterator[str]:
            for event in peer.chat.stream(bot_id=BOT, user_id=CHILD, additional_messages=[ask]):
                if event.event == cozepy.ChatEventType.CONVERSATION_MESSAGE_DELTA and event.message:
                    yield event.message.content

        [_, *pairs] = [(first(ours), first(theirs)) for _ in range(1 + ROUNDS)]
    return pairs


def first(chat: Callable[[], Iterator[str]]) -> float:
    """Seconds to the first piece of a chat, which is then read to its end."""
    start = time.perf_counter()
    pieces = chat()
    piece = next(pieces)
    took = time.perf_counter() - start
    if not piece + "".join(pieces):
        raise ValueError("the chat's answer is empty")
    return took
