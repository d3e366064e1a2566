"""An asyncio program's loop: how long it stands still, and what a request costs in it."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from tools.cloud import Cloud
from tools.common.certificates import keep_root, make_server
from tools.common.progress import Tell

from .figure import Figure
from .programs import library, run
from .server import Canned
from .wire import ANSWER

SILENT_S = 2
CHATS, ROUNDS = 3, 60
QUICK_S = 0.005


def measure(tell: Tell) -> list[Figure]:
    """The rows of this topic."""
    with tempfile.TemporaryDirectory(prefix="muster-loop-") as name, Cloud() as cloud:
        folder = Path(name)
        cloud.add_coze_token("token")
        cloud.misbehave(delay=SILENT_S)
        root = keep_root(folder, "muster bench")
        with Canned(make_server("127.0.0.1", signer=root).context(), ANSWER, pause=QUICK_S) as server:
            tell(f"loop: {CHATS} chats with a server that is silent for {SILENT_S} s, and requests in turns")
            quick = f"https://127.0.0.1:{server.port}/"
            both = [str(cloud.ca_pem), str(folder / "ca.pem")]
            told = run("loop", [cloud.url, quick, both, CHATS, ROUNDS], [library(folder / "lib")])
    return figures(told["stalls"], told["posts"])


def figures(stalls: list[int], posts: list[tuple[int, int]]) -> list[Figure]:
    """stalls, posts: as vm/loop.py prints them."""
    stall = min(stalls) / 1000
    more = statistics.median(waiting - blocking for blocking, waiting in posts) / 1000
    blocking, waiting = (statistics.median(side) / 1000 for side in zip(*posts, strict=True))
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
            f"{more:.2f} ms more: {waiting:.2f} ms, {blocking:.2f} ms",
            more <= 2,
            f"{len(posts)} rounds in turns in the VM; the server answers after {QUICK_S * 1000:.0f} ms.",
        ),
    ]
