"""A device, in MicroPython and on CPython, in the hands of hostile servers on real sockets.

Of every case comes a TransportError or a CloudError within the deadline, and nothing else; the socket is
closed, the memory is back where it was, and nobody who was not verified saw a secret.
In short it tries some of each; python3 -m tools test --full tries every position, place and call.
"""

import contextlib
import json
import random
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from endure.hostilities import FAILS, GROUPS, OK, SENT, Stage, good
from endure.vm.hostile import SECRETS

from tools.common import vm

DEVICE = Path(__file__).parent / "vm" / "hostile.py"
HEAP = 512 * 1024
RUN_TIMEOUT_S = 900
LEAVING_S = 10
LATE_MS = 2000  # a busy machine's
# What a stale pointer may keep from the collector. Over so many cases a leak would be more.
MEMORY = 16384


@pytest.fixture
def stage(trial, authorities):
    with contextlib.ExitStack() as stack:
        yield Stage(trial.full, random.Random(trial.seed), stack, authorities)


@pytest.mark.parametrize("interpreter", vm.machines())
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.__name__)
def test_no_hostile_server_gets_more_than_an_error(trial, stage, interpreter, group, tmp_path):
    for cases in (good, group, good):
        cases(stage)
    came, end = live(vm.command(DEVICE, heap=HEAP, machine=interpreter), stage, tmp_path)
    trial.cases = len(came)
    trial.failures += [*problems(stage, came, end), *left_behind(stage)]


def live(command, stage, folder, timeout_s=RUN_TIMEOUT_S):
    """What came of the cases, as far as the device lived; and what it said last."""
    ca = str(stage.authorities.folder / "ca.pem")
    cases = folder / "cases"
    with cases.open("w") as lines:
        for case in stage.cases:
            told = {"call": case.call, "url": case.url, "timeout": case.timeout, "names": case.names}
            lines.write(json.dumps(told | {"ca": ca}) + "\n")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    end = ""
    try:
        with cases.open() as lines:
            output = subprocess.run(
                command, stdin=lines, env=vm.variables(), timeout=timeout_s, **pipes
            ).stdout
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


def problems(stage, came, end=""):
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


def left_behind(stage, leaving_s=LEAVING_S):
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
        if any(secret in text for text in seen["received"] for secret in SECRETS):
            yield f"a secret left before the handshake was over: {seen['received']}"


# Whether what is wrong would be seen

FINE = {"kind": "data", "text": "", "took": 1, "files": 3, "memory": 100}
ERROR = {"kind": "TransportError", "text": "no", "took": 1, "files": 3, "memory": 100}


@pytest.mark.parametrize(
    ("came", "problem"),
    [
        ({}, None),
        ({"took": 2900, "memory": 16000, "text": "x" * 1000}, None),
        ({"kind": "data"}, "data"),
        ({"kind": "CloudError"}, "CloudError"),
        ({"kind": "an exception of the kind MemoryError"}, "MemoryError"),
        ({"took": 3100}, "3100 ms"),
        ({"text": "it is s3cr3t-d3v1c3"}, "tells a secret"),
        ({"text": "x" * 1001}, "too much"),
        ({"files": 4}, "4 files"),
        ({"memory": 17000}, "17000 bytes"),
    ],
)
def test_the_judge_misses_nothing(stage, came, problem):
    stage.add("nothing", "report", "", frozenset({"data"}))
    stage.add("something", "report", "", FAILS, timeout=1)
    found = list(problems(stage, [FINE, {**ERROR, **came}]))
    assert len(found) == (problem is not None)
    assert problem is None or (problem in found[0] and "report: something" in found[0])


def test_who_was_told_what_he_must_not_know_is_named(stage):
    url = stage.other.at("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert list(left_behind(stage)) == []
    urllib.request.urlopen(url).close()
    assert "redirected to was told something" in next(left_behind(stage))


def test_a_connection_that_is_left_open_is_named(stage):
    with socket.create_connection(("127.0.0.1", stage.plain.port)) as s:
        s.sendall(b"GET / HTTP/1.1\r\n")
        while not stage.plain.seen():
            pass
        assert list(left_behind(stage, leaving_s=0.1)) == ["a connection was left open"]


def test_a_device_that_hangs_is_named(stage, tmp_path):
    stage.add("never", "get", stage.tls.at(OK))
    sleep = [sys.executable, "-c", "import time; time.sleep(9)"]
    came, end = live(sleep, stage, tmp_path, timeout_s=0.5)
    assert came == [] and list(problems(stage, came, end)) == ["ended in never: it hangs"]
