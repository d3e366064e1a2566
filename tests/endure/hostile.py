"""Hostile servers, over real sockets, against a device in MicroPython and one on CPython.

Of every case comes a TransportError or a CloudError within the deadline, and nothing else; the socket is
closed, the memory is back where it was, and nobody who was not verified saw a secret.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from endure.authorities import Authorities
from endure.hostilities import GROUPS, SECRETS, SENT, Stage

from tools.cli.verdict import SEED, Verdict
from tools.common.paths import ROOT
from tools.common.vm import find_micropython

CLIENT = Path(__file__).with_name("hostile_vm.py")
HEAP = "512k"
RUN_TIMEOUT_S = 900
LEAVING_S = 10
LOOK_S = 0.5
LATE_MS = 2000  # a busy machine's
# What a stale pointer may keep from the collector. Over so many cases a leak would be more.
MEMORY = 16384


def run(full: bool, tell: Callable[[str], None], seed: int = SEED) -> Verdict:
    commands = {"CPython": [sys.executable, str(CLIENT)]}
    micropython = find_micropython()
    if micropython is not None:
        commands["MicroPython"] = [*micropython.command, "-X", f"heapsize={HEAP}", str(CLIENT)]
    over = threading.Event()
    with ThreadPoolExecutor() as pool:
        devices = [pool.submit(_device, *item, full, seed, tell, over) for item in commands.items()]
        try:
            done = [device.result() for device in devices]
        finally:
            over.set()  # Ctrl-C is for all
    note = f"seed {seed}; each on {' and '.join(commands)}"
    return Verdict(
        "hostile", sum(cases for cases, _ in done), [f for _, failures in done for f in failures], note=note
    )


def _device(
    machine: str,
    command: list[str],
    full: bool,
    seed: int,
    tell: Callable[[str], None],
    over: threading.Event,
) -> tuple:
    """(how many cases were tried, what was wrong) of one device."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        stage = Stage(full, random.Random(seed), stack, Authorities(Path(folder)))
        for group in GROUPS:
            group(stage)
        tell(f"{len(stage.cases)} cases on {machine}")
        ca = str(Path(folder) / "ca.pem")
        lines = [
            {"call": c.call, "url": c.url, "ca": ca, "timeout": c.timeout, "names": c.names}
            for c in stage.cases
        ]
        cases = Path(folder) / "cases"
        cases.write_text("".join(json.dumps(line) + "\n" for line in lines))
        told, end = _live(command, cases, over)
        failures = [f"{machine}: {problem}" for problem in _problems(stage, told)]
        if len(told) < len(stage.cases):
            failures.append(f"{machine}: ended in {stage.cases[len(told)].name}: {end}")
        tell(f"{machine} has lived through {len(told)}")
    return len(told), failures


def _live(command: list[str], cases: Path, over: threading.Event) -> tuple[list[dict], str]:
    """What came of the cases, as far as the device lived; and what it said last."""
    environment = dict(os.environ, MICROPYPATH=f"{ROOT / 'lib'}:.frozen", PYTHONPATH=str(ROOT / "lib"))
    pipes: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    end, give_up, output = "", time.monotonic() + RUN_TIMEOUT_S, None
    with cases.open() as lines, subprocess.Popen(command, stdin=lines, env=environment, **pipes) as device:
        while output is None:
            try:
                output, _ = device.communicate(timeout=LOOK_S)
            except subprocess.TimeoutExpired:
                if over.is_set() or time.monotonic() > give_up:
                    device.kill()
                    end = "it hangs"
    told: list[dict] = []
    # MicroPython makes something of half a pair that is no UTF-8.
    for line in output.decode("utf-8", "surrogatepass").split("\n"):
        try:
            told.append(json.loads(line))
        except ValueError:
            end += line + " "
    return told, end.strip()[-400:]


def _problems(stage: Stage, told: list[dict]) -> Iterator[str]:
    files = memory = None
    for case, came in zip(stage.cases, told, strict=False):
        where = f"{case.call}: {case.name[:200]}: "
        if came["kind"] not in case.expected:
            yield where + f"{came['kind']} ({came['text'][:200]}), not {' or '.join(sorted(case.expected))}"
        if came["took"] > case.timeout * 1000 + LATE_MS:
            yield where + f"{came['took']} ms, with a deadline of {case.timeout} s"
        if any(secret in came["text"] for secret in SENT[case.call]) or len(came["text"]) > 1000:
            yield where + f"tells a secret, or too much: {came['text'][:300]}"
        if case.name == "nothing":
            files, memory = came["files"], came["memory"]
        if came["files"] != files:
            yield where + f"{came['files']} files are open, and not {files}"
        if came["memory"] > memory + MEMORY:
            yield where + f"{came['memory']} bytes are in use, and not {memory}"
            memory = came["memory"]
    yield from _left_behind(stage)


def _left_behind(stage: Stage) -> Iterator[str]:
    """What the servers say: who is still there, and who was told too much."""
    until = time.monotonic() + LEAVING_S
    for server in stage.servers():
        while not all(seen["client_left"] or seen["over"] for seen in server.seen()):
            if time.monotonic() > until:
                yield "a connection was left open"
                break
            time.sleep(0.01)
    if stage.line.left_open:
        yield f"{stage.line.left_open} connections over a bad line were left open"
    for kind, server in [
        *stage.bad.items(),
        ("redirected to", stage.other),
        ("redirected to", stage.other_tls),
    ]:
        if any(seen["received"] for seen in server.seen()):
            yield f"a server that is {kind} was told something: {server.seen()}"
    for seen in stage.rude.seen():
        if any(secret in text for text in seen["received"] for secret in SECRETS):
            yield f"a secret left before the handshake was over: {seen['received']}"
