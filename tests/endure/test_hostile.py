"""Hostile servers in short; python3 -m tools test --full tries every position, place and call."""

import contextlib
import random
import socket
import sys
import threading
import urllib.request
from types import SimpleNamespace

import pytest
from endure import hostile
from endure.authorities import Authorities
from endure.hostilities import FAILS, OK, REFUSED, Stage

from tools.cli.verdict import SEED
from tools.common.vm import find_micropython

CASES = 386


def test_no_hostile_server_gets_more_than_an_error():
    verdict = hostile.run(full=False, tell=print)
    assert not verdict.failures, "\n".join(verdict.failures)
    assert verdict.cases == CASES * (2 if find_micropython() else 1)
    assert verdict.losses == 0 and f"seed {SEED}" in verdict.note


@pytest.fixture
def stage(tmp_path):
    with contextlib.ExitStack() as stack:
        stage = Stage(False, random.Random(1), stack, Authorities(tmp_path))
        stage.add("nothing", "report", "", frozenset({"data"}))
        stage.add("something", "report", "", FAILS, timeout=1)
        yield stage


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
    found = list(hostile._problems(stage, [FINE, {**ERROR, **came}]))
    assert len(found) == (problem is not None)
    assert problem is None or (problem in found[0] and "report: something" in found[0])


def test_who_was_told_what_he_must_not_know_is_named(stage):
    url = stage.other.at("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert list(hostile._left_behind(stage)) == []
    urllib.request.urlopen(url).close()
    assert "redirected to was told something" in next(hostile._left_behind(stage))


def test_a_connection_that_is_left_open_is_named(stage, monkeypatch):
    monkeypatch.setattr(hostile, "LEAVING_S", 0.1)
    port = stage.plain.port
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(b"GET / HTTP/1.1\r\n")
        while not stage.plain.seen():
            pass
        assert list(hostile._left_behind(stage)) == ["a connection was left open"]


def test_a_device_that_hangs_is_named(stage, monkeypatch):
    monkeypatch.setattr(hostile, "RUN_TIMEOUT_S", 0.5)
    monkeypatch.setattr(hostile, "GROUPS", (lambda s: s.add("never", "get", s.tls.at(OK), REFUSED),))
    sleep = [sys.executable, "-c", "import time; time.sleep(9)"]
    cases, failures = hostile._device("it", sleep, False, 1, print, threading.Event())
    assert cases == 0 and failures == ["it: ended in never: it hangs"]


def test_ctrl_c_does_not_wait_for_the_devices(monkeypatch, tmp_path):
    client = tmp_path / "client.py"
    client.write_text("import time; time.sleep(1000)")
    monkeypatch.setattr(hostile, "CLIENT", client)
    monkeypatch.setattr(hostile, "GROUPS", ())
    monkeypatch.setattr(hostile, "find_micropython", lambda: SimpleNamespace(command=[sys.executable]))

    def interrupted(text):
        if text.endswith("on CPython"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hostile.run(full=False, tell=interrupted)
