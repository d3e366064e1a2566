"""Clocks that are wrong, set, wrapped or at the end of their era."""

import shutil
import sys

import pytest
from endure import clocks

from tools.common.vm import find_faketime, find_micropython


@pytest.mark.skipif(find_micropython() is None or find_faketime() is None, reason="boards are needed")
def test_clocks():
    told = []
    verdict = clocks.run(full=False, tell=told.append)
    assert not verdict.failures, "\n".join(verdict.failures)
    # Seven scenarios, two epochs, two machines; the code; seven boards.
    assert verdict.cases == len(told) == 7 * 2 * 2 + 1 + 7 and not verdict.note


def test_every_edge_is_tried_in_full(tmp_path):
    names = [name for name, _ in clocks.in_hand(True, tmp_path)] + [
        name for name, _ in clocks.on_boards(True, tmp_path)
    ]
    for what in clocks.EDGES.values():
        assert sum(what in name for name in names) >= 3


def test_what_went_wrong_in_a_scenario_is_told(tmp_path):
    task = {"scenario": "days", "start": clocks.START, "epoch": 0, "folder": str(tmp_path)}
    assert clocks.live([sys.executable], {**task, "library": str(clocks.LIB)}) == []
    library = tmp_path / "lib"
    shutil.copytree(clocks.LIB, library)
    with (library / "muster" / "clock.py").open("a") as f:
        f.write("\n\ndef now():\n    return int(time.time()) + _EPOCH\n")
    assert "the clock is" in clocks.live([sys.executable], {**task, "library": str(library)})[0]
    (library / "muster" / "clock.py").write_text("no Python")
    assert "SyntaxError" in clocks.live([sys.executable], {**task, "library": str(library)})[0]


@pytest.mark.parametrize(
    "line", ["x = now / 2", "x = 1.5", "x = float(now)", "x = time.time()", "time.sleep(x)"]
)
def test_a_float_in_the_code_is_seen(line, tmp_path):
    shutil.copytree(clocks.LIB, tmp_path / "lib")
    with (tmp_path / "lib" / "muster" / "schedule.py").open("a") as f:
        f.write(f"\n\ndef later(now, time, x=None):\n    {line}\n")
    assert clocks.floats(tmp_path / "lib") == [f"a time may pass through a float: schedule: {line}"]
    assert clocks.floats() == []
