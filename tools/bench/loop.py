"""An asyncio program's loop: how long it stands still, and what a request costs in it."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from tools.cloud import Cloud
from tools.common.progress import Tell

from .figure import Figure, Turns
from .programs import library, run
from .server import ACCEPTED, CannedServer

SILENT_S = 2
CHATS, ROUNDS = 3, 60
QUICK_S = 0.005


def measure(tell: Tell) -> list[Figure]:
    """The rows of this topic."""
    tell(f"loop: {CHATS} chats with a server that is silent for {SILENT_S} s, and requests in turns")
    with Cloud() as cloud, CannedServer(ACCEPTED, pause=QUICK_S) as server:
        cloud.add_coze_token("token")
        cloud.misbehave(delay=SILENT_S)
        return figures(*stalls_and_posts(cloud, server, CHATS, ROUNDS))


def stalls_and_posts(
    silent: Cloud, quick: CannedServer, chats: int, rounds: int
) -> tuple[list[int], list[tuple[int, int]]]:
    """In us: each chat's longest stall of the loop, and each round's blocking and asyncio request."""
    request = [silent.url, quick.url, [str(silent.ca_pem), quick.ca], chats, rounds]
    with tempfile.TemporaryDirectory(prefix="muster-loop-") as folder:
        told = run("loop", request, [library(Path(folder) / "lib")])
    return told["stalls"], told["posts"]


def figures(stalls: list[int], posts: list[tuple[int, int]]) -> list[Figure]:
    """From the microseconds of stalls_and_posts()."""
    stall, turns = min(stalls) / 1000, Turns(posts)
    more = statistics.median(waiting - blocking for blocking, waiting in posts) / 1000
    return [
        Figure(
            f"asyncio loop's longest stall, server silent for {SILENT_S} s in a Coze chat",
            "",
            "30 ms",
            f"{stall:.0f} ms",
            stall <= 30,
            f"the TLS handshake is in it. The least of {len(stalls)} chats: what muster does to a loop it "
            "does each time, a busy computer now and then.",
        ),
        Figure(
            "second asyncio request on a kept connection",
            "the blocking one",
            "2 ms more",
            f"{more:.2f} ms more: {turns.theirs / 1000:.2f} ms, {turns.ours / 1000:.2f} ms",
            more <= 2,
            f"{len(posts)} rounds in turns in the VM; the server answers after {QUICK_S * 1000:.0f} ms.",
        ),
    ]
