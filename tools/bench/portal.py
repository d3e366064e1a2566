"""What the set-up page costs: heap, flash, bytes to a phone, and how long it stops an asyncio program."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.common import vm
from tools.common.paths import ROOT
from tools.common.progress import Tell
from tools.factory import page, product
from tools.factory.library import OPTIONAL

from .figure import Figure
from .programs import PROGRAMS, library
from .size import size

KB = 1024
NETWORKS, CLIENTS, PAGES = 20, 4, 20
HEAP = 1 << 20  # of the VM
HOST = "127.0.0.1"
SLOW = b"GET / HTTP/1.1\r\nHost: " + HOST.encode() + b"\r\nAccept: " + b"x" * 300
# Of an earlier build of it. In the 64-bit VM a board's bytes of heap are one and a half times as many.
MOST_HEAP, MOST_CODE = round(25.5 * KB), 9_800
MOST_MS, MOST_STALL_MS = 143, 14


def measure(tell: Tell) -> list[Figure]:
    """The rows of this topic."""
    tell(f"portal: the set-up page with {NETWORKS} networks, for {CLIENTS} clients")
    told, took = visited(CLIENTS, PAGES)
    packed = page.built(ROOT / "firmware" / "setup.html")
    return [heap(told), code(len(packed)), sent(packed), served(told, took)]


def visited(clients: int, pages: int) -> tuple[dict[str, Any], list[float]]:
    """What vm/portal.py told, and the seconds that each page took in an asyncio program."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name, _serving(Path(name)) as (program, port):
        with contextlib.ExitStack() as crowd:
            for _ in range(clients - 1):
                client = crowd.enter_context(socket.create_connection((HOST, port)))
                client.sendall(SLOW)
            fetch(port)
        _next(program)
        _opened(program)
        took = [fetch(port) for _ in range(pages)]
        _next(program)
        told, _ = program.communicate(timeout=60)
        if program.returncode != 0:
            raise RuntimeError(f"portal.py ended with status {program.returncode}: {told}")
        return json.loads(told), took


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    packed = folder / "setup.html.gz"
    packed.write_bytes(page.built(ROOT / "firmware" / "setup.html"))
    ours = library(folder / "lib", ["setup"])
    ports = {"80": _free(socket.SOCK_STREAM), "53": _free(socket.SOCK_DGRAM)}
    program = subprocess.Popen(
        vm.command(PROGRAMS / "portal.py", heap=HEAP),
        env=vm.variables([ours.name]),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert program.stdin
        print(json.dumps([ports, packed.name, NETWORKS]), file=program.stdin, flush=True)
        _opened(program)
        yield program, ports["80"]
    finally:
        program.kill()
        program.wait()


def _free(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind((HOST, 0))
        return s.getsockname()[1]


def _opened(program: subprocess.Popen[str]) -> None:
    """Waits until it says that the page is open."""
    assert program.stdout
    said = program.stdout.readline()
    if "set up" not in said:
        raise RuntimeError(f"portal.py: {said}{program.communicate()[0]}")


def _next(program: subprocess.Popen[str]) -> None:
    assert program.stdin
    print(file=program.stdin, flush=True)


def fetch(port: int) -> float:
    """Fetches the page. Returns the seconds that it took."""
    started = time.monotonic()
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    connection.request("GET", "/", headers={"Host": HOST})
    text = gzip.decompress(connection.getresponse().read())
    connection.close()
    if text.count(b"<option") != NETWORKS:
        raise RuntimeError("the page does not show its networks")
    return time.monotonic() - started


def heap(told: dict[str, Any]) -> Figure:
    whole = told["import"] + told["heap"]
    return Figure(
        f"heap of the set-up page with {CLIENTS} clients and {NETWORKS} networks",
        "",
        f"{MOST_HEAP:,} bytes",
        f"{whole:,} bytes: {told['import']:,} to import it, {told['heap']:,} more at most",
        whole <= MOST_HEAP,
        "in the 64-bit VM, over a board's that joins; 32 bits need two thirds. The fourth client puts an "
        "end to the slowest.",
    )


def code(packed: int) -> Figure:
    files = [ROOT / "lib" / name for name in OPTIONAL["setup"]]
    mpy, more = size(files), set(product.library(["setup"])) - set(product.library([])) - set(files)
    whole = mpy + packed
    return Figure(
        "flash of the set-up page",
        "",
        f"{MOST_CODE:,} bytes",
        f"{whole:,} bytes: .mpy {mpy:,} in {len(files)} files, the page {packed:,}",
        whole <= MOST_CODE,
        f"{len(more)} files more; a product without it has none of them",
    )


def sent(packed: bytes) -> Figure:
    plain = len(gzip.decompress(packed))
    most = len(packed) + page.LIVE
    return Figure(
        f"bytes of the set-up page as sent, with {NETWORKS} networks",
        f"its plain text, {plain:,}",
        f"{page.MOST:,} bytes",
        f"{most:,} bytes",
        most <= page.MOST,
        "compressed when the image is made; the live end is sent as it is",
    )


def served(told: dict[str, Any], took: list[float]) -> Figure:
    ms, stall = statistics.median(took) * 1000, told["stall"] / 1000
    return Figure(
        "set-up page served in an asyncio program",
        "",
        f"{MOST_MS} ms, longest stall of the loop {MOST_STALL_MS} ms",
        f"{ms:.0f} ms, {stall:.0f} ms",
        ms <= MOST_MS and stall <= MOST_STALL_MS,
        f"the median of {len(took)} in the VM, and the longest of them all",
    )
