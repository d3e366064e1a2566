"""Heartbeats by the hundred, and an asyncio loop that must turn meanwhile."""

import shutil
import sys

import pytest
from endure import loop, soak
from endure.soak import Held

from tools.bench import heartbeats
from tools.cli.verdict import Verdict
from tools.common.paths import ROOT
from tools.common.vm import find_micropython

vm = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A function that lets both run a library in which one file ends otherwise."""

    def spoilt(file, code):
        shutil.copytree(ROOT / "lib", tmp_path / "lib")
        with (tmp_path / "lib/muster" / file).open("a") as f:
            f.write(code)
        for part in (heartbeats, loop):
            monkeypatch.setattr(part, "ROOT", tmp_path)

    return spoilt


@vm
def test_hundreds_of_heartbeats_leave_nothing_behind():
    verdict = soak.run(full=False, tell=print)
    assert not verdict.failures and not verdict.losses
    assert verdict.cases == soak.SHORT + soak.ON_BOARD_SHORT


@vm
def test_connections_that_are_not_closed_are_seen(library, monkeypatch):
    leak = "\n_left = []\nConnection.close = lambda self: _left.append((self._raw, self._buffer))\n"
    library("net/connection.py", leak)
    monkeypatch.setattr(soak, "SHORT", 40)
    monkeypatch.setattr(soak, "on_board", lambda *_: None)
    failures = "\n".join(soak.run(full=False, tell=print).failures)
    assert "the heap grew" in failures and " sockets became" in failures


def test_what_is_held_afterwards_is_compared():
    before = Held(110_000, 4_000, 3, 0)
    assert list(Held(110_500, 4_100, 3, 0).compare(before)) == []
    assert len(list(Held(112_000, 5_000, 4, 1).compare(before))) == 3


def test_no_phase_of_an_exchange_stalls_a_loop():
    verdict = loop.run(full=False, tell=print)
    assert not verdict.failures
    assert verdict.cases == (len(loop.PHASES) + 2) * len(loop.machines())


def test_a_driver_that_blocks_is_seen(library, monkeypatch):
    library(
        "net/aio.py",
        "\n\nasync def run_async(generator, idle=None):\n"
        "    from .wait import run\n\n    return run(generator, idle)\n",
    )
    monkeypatch.setattr(loop, "machines", lambda: {"CPython": [sys.executable]})
    monkeypatch.setattr(loop, "TRIES", 1)
    verdict = loop.run(full=False, tell=print)
    assert verdict.cases == len(loop.PHASES) + 2
    # A busy machine may hide one behind a stall of its own, or make it end elsewhere.
    assert sum("stood still" in failure for failure in verdict.failures) > verdict.cases / 2


def test_a_part_without_micropython_says_so(monkeypatch):
    monkeypatch.setattr(soak, "find_micropython", lambda: None)
    assert soak.run(full=False, tell=print) == Verdict(
        "soak", note="not tried: there is no MicroPython for this computer"
    )
