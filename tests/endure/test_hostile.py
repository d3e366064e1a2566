"""Hostile servers in short; python3 -m tools test --full tries every position, place and call."""

import contextlib
import random
import socket
import sys
import urllib.request

import pytest
from endure import hostile, hostilities

from tools.common.vm import find_micropython


@pytest.fixture
def stage(trial, authorities):
    with contextlib.ExitStack() as stack:
        yield hostilities.Stage(trial.full, random.Random(trial.seed), stack, authorities)


@pytest.fixture(params=["CPython", "MicroPython"])
def command(request):
    """Of a device."""
    if request.param == "CPython":
        return [sys.executable, hostile.hostile_vm.__file__]
    micropython = find_micropython()
    if micropython is None:
        pytest.skip("no MicroPython here")
    return [*micropython.command, "-X", f"heapsize={hostile.HEAP}", hostile.hostile_vm.__file__]


@pytest.mark.parametrize("group", hostilities.GROUPS, ids=lambda group: group.__name__)
def test_no_hostile_server_gets_more_than_an_error(trial, stage, command, group, tmp_path):
    for cases in (hostilities.good, group, hostilities.good):
        cases(stage)
    came, end = hostile.live(command, stage, tmp_path)
    trial.cases = len(came)
    trial.failures += [*hostile.problems(stage, came, end), *hostile.left_behind(stage)]


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
    stage.add("something", "report", "", hostilities.FAILS, timeout=1)
    found = list(hostile.problems(stage, [FINE, {**ERROR, **came}]))
    assert len(found) == (problem is not None)
    assert problem is None or (problem in found[0] and "report: something" in found[0])


def test_who_was_told_what_he_must_not_know_is_named(stage):
    url = stage.other.at("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert list(hostile.left_behind(stage)) == []
    urllib.request.urlopen(url).close()
    assert "redirected to was told something" in next(hostile.left_behind(stage))


def test_a_connection_that_is_left_open_is_named(stage):
    with socket.create_connection(("127.0.0.1", stage.plain.port)) as s:
        s.sendall(b"GET / HTTP/1.1\r\n")
        while not stage.plain.seen():
            pass
        assert list(hostile.left_behind(stage, leaving_s=0.1)) == ["a connection was left open"]


def test_a_device_that_hangs_is_named(stage, tmp_path):
    stage.add("never", "get", stage.tls.at(hostilities.OK))
    sleep = [sys.executable, "-c", "import time; time.sleep(9)"]
    came, end = hostile.live(sleep, stage, tmp_path, timeout_s=0.5)
    assert came == [] and list(hostile.problems(stage, came, end)) == ["ended in never: it hangs"]
