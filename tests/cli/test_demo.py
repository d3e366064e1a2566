"""python3 -m tools demo: its last part, on both machines; what comes before is tried in test_device.py."""

import pytest

from tools.cli import demo
from tools.common.vm import find_micropython


@pytest.mark.parametrize("vm", ["cpython", "micropython"])
def test_the_board_talks_to_coze(vm, monkeypatch, capsys):
    if vm == "micropython" and find_micropython() is None:
        pytest.skip("no MicroPython here")
    monkeypatch.setattr(demo.Story, "first_life", lambda story, cloud, board: board.wait_for("reported"))
    for part in ("power_cut", "impostor"):
        monkeypatch.setattr(demo.Story, part, lambda story, cloud, board: None)
    held = demo.run(vm)
    said = capsys.readouterr().out
    assert held and "4 held, 0 failed" in said, said
