"""A device, in MicroPython or on CPython, in the hands of hostile servers on real sockets; and what is wrong.

Of every case comes a TransportError or a CloudError within the deadline, and nothing else; the socket is
closed, the memory is back where it was, and nobody who was not verified saw a secret.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from endure import hostile_vm
from endure.hostilities import SENT, Stage

from tools.common.paths import ROOT

HEAP = "512k"
RUN_TIMEOUT_S = 900
LEAVING_S = 10
LATE_MS = 2000  # a busy machine's
# What a stale pointer may keep from the collector. Over so many cases a leak would be more.
MEMORY = 16384


def live(command: list, stage: Stage, folder: Path, timeout_s: float = RUN_TIMEOUT_S) -> tuple[list, str]:
    """What came of the cases, as far as the device lived; and what it said last."""
    ca = str(stage.authorities.folder / "ca.pem")
    cases = folder / "cases"
    with cases.open("w") as lines:
        for case in stage.cases:
            told = {"call": case.call, "url": case.url, "timeout": case.timeout, "names": case.names}
            lines.write(json.dumps(told | {"ca": ca}) + "\n")
    environment = dict(os.environ, MICROPYPATH=f"{ROOT / 'lib'}:.frozen", PYTHONPATH=str(ROOT / "lib"))
    pipes: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    end = ""
    try:
        with cases.open() as lines:
            output = subprocess.run(command, stdin=lines, env=environment, timeout=timeout_s, **pipes).stdout
    except subprocess.TimeoutExpired as e:
        output, end = e.stdout or b"", "it hangs "
    came = []
    # MicroPython makes something of half a pair that is no UTF-8.
    for line in output.decode("utf-8", "surrogatepass").split("\n"):
        try:
            came.append(json.loads(line))
        except ValueError:
            end += line + " "
    return came, end.strip()[-400:]


def problems(stage: Stage, came: list[dict], end: str = "") -> Iterator[str]:
    """What must not have come of the cases."""
    files = memory = 0
    for case, found in zip(stage.cases, came, strict=False):
        where = f"{case.call}: {case.name[:200]}: "
        if found["kind"] not in case.expected:
            expected = " or ".join(sorted(case.expected))
            yield where + f"{found['kind']} ({found['text'][:200]}), not {expected}"
        if found["took"] > case.timeout * 1000 + LATE_MS:
            yield where + f"{found['took']} ms, with a deadline of {case.timeout} s"
        if any(secret in found["text"] for secret in SENT[case.call]) or len(found["text"]) > 1000:
            yield where + f"tells a secret, or too much: {found['text'][:300]}"
        if case.name == "nothing":
            files, memory = found["files"], found["memory"]
        if found["files"] != files:
            yield where + f"{found['files']} files are open, and not {files}"
        if found["memory"] > memory + MEMORY:
            yield where + f"{found['memory']} bytes are in use, and not {memory}"
            memory = found["memory"]
    if len(came) < len(stage.cases):
        yield f"ended in {stage.cases[len(came)].name}: {end}"


def left_behind(stage: Stage, leaving_s: float = LEAVING_S) -> Iterator[str]:
    """What the servers say: who is still there, and who was told too much."""
    until = time.monotonic() + leaving_s
    for server in stage.servers():
        while not all(seen["client_left"] or seen["over"] for seen in server.seen()):
            if time.monotonic() > until:
                yield "a connection was left open"
                break
            time.sleep(0.01)
    if stage.line.left_open:
        yield f"{stage.line.left_open} connections over a bad line were left open"
    redirected = [("redirected to", server) for server in (stage.other, stage.other_tls)]
    for kind, server in [*stage.bad.items(), *redirected]:
        if any(seen["received"] for seen in server.seen()):
            yield f"a server that is {kind} was told something: {server.seen()}"
    for seen in stage.rude.seen():
        if any(secret in text for text in seen["received"] for secret in hostile_vm.SECRETS):
            yield f"a secret left before the handshake was over: {seen['received']}"
