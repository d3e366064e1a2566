"""The storm and the command: python3 -m tools chaos."""

import io
import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from tools.__main__ import ROOT
from tools.board import Board, find_micropython
from tools.chaos import commands, storm
from tools.chaos.verdict import SEED, Verdict

vm = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")


@vm
def test_boards_come_back_after_a_storm():
    verdict = storm.run(full=False, tell=print)
    assert not verdict.failures and not verdict.losses
    assert verdict.cases > 0


@vm
def test_what_goes_wrong_in_a_storm_is_told(monkeypatch):
    class Forgetful(Board):
        """Its flash is erased whenever the power goes."""

        def cut_power(self):
            on = self.running
            super().cut_power()
            if on and self.operations:
                self.flash.write(self.fresh)

        def __init__(self, folder, image, **how):
            super().__init__(folder, image, **how)
            self.fresh = image

    monkeypatch.setattr(storm, "Board", Forgetful)
    monkeypatch.setattr(storm, "BOARD_FAULTS", (storm.POWER,))
    monkeypatch.setattr(storm, "PATIENCE_S", 15)
    verdict = storm.run(full=False, tell=print)
    assert verdict.losses
    assert any("secret is lost" in failure for failure in verdict.failures)
    assert any("secret was fetched" in failure for failure in verdict.failures)


def test_an_early_heartbeat_is_seen():
    period, jitter, coarse = storm.PERIOD_S, storm.JITTER_S, storm.COARSE_S
    soon = 100 + period - jitter - coarse
    assert storm.early([100, soon + 0.1], []) == []
    assert len(storm.early([100, soon - 0.1], [])) == 1
    # Switched on again in between, it knows what its flash knows.
    assert storm.early([100, 101], [(100.5, 99)]) == []
    assert len(storm.early([100, 101], [(100.5, 104)])) == 1
    assert len(storm.early([100, 100.5], [(97, 99)])) == 1


@vm
@pytest.mark.parametrize(("moment", "later_s"), [(b"the boards enrol", 0), (b"s left", 1)])
def test_ctrl_c_ends_it_politely(moment, later_s):
    ours, its = pty.openpty()
    program = "from tools.chaos.commands import chaos; chaos(prog_name='chaos')"
    environment = os.environ | {"COLUMNS": "120"}
    command = [sys.executable, "-c", program, "--boards", "1", "--seed", "1"]
    with subprocess.Popen(command, stdout=its, stderr=its, cwd=ROOT, env=environment) as process:
        os.close(its)
        said, interrupted = b"", False
        while True:
            try:
                said += os.read(ours, 65536)
            except OSError:
                break
            if not interrupted and moment in said:
                interrupted = True
                time.sleep(later_s)
                process.send_signal(signal.SIGINT)
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.decode())
    assert process.returncode == 130, text
    assert "interrupted; faults of 1 board and" in text
    assert "Traceback" not in text and "Aborted" not in text and "secret" not in text


def test_without_a_terminal_the_last_picture_ends_with_its_line(monkeypatch):
    def weather(boards, seconds, seed, look):
        look(storm.Storm(boards, seconds, random.Random(seed), Path(), lambda storm: None))
        return Verdict("storm")

    monkeypatch.setattr(storm, "weather", weather)
    console = Console(file=io.StringIO())
    storm.watch(1, 1, 1, console)
    assert console.file.getvalue().endswith("┘\n")


# The command


class Parts:
    """What stands in for a part's module."""

    def __init__(self, verdict):
        self.verdict = verdict

    def run(self, full, tell, seed):
        tell(f"full: {full}, seed: {seed}")
        if isinstance(self.verdict, BaseException):
            raise self.verdict
        return self.verdict


@pytest.fixture
def parts(monkeypatch):
    """Stands in for the parts, which are tried elsewhere."""
    known = {f"tools.chaos.{part}": Parts(Verdict(part, 1000, note="[note]")) for part in commands.PARTS}
    monkeypatch.setattr(commands.importlib, "import_module", known.__getitem__)
    return known


def chaos(*arguments):
    return CliRunner().invoke(commands.chaos, arguments)


def test_full_tries_every_part_and_prints_one_table(parts, tmp_path):
    done = chaos("--full", "--json", str(tmp_path / "table.json"))
    assert done.exit_code == 0, done.output
    assert done.output.count(f"full: True, seed: {SEED}\n") == len(commands.PARTS)
    assert [line.split()[:4] for line in done.output.splitlines()[-len(commands.PARTS) :]] == [
        [part, "1,000", "0", "0"] for part in commands.PARTS
    ]
    table = json.loads((tmp_path / "table.json").read_text())
    assert [row["part"] for row in table["parts"]] == list(commands.PARTS)
    assert f"commit {table['commit']}, MicroPython {table['micropython']}\n" in done.output
    assert table["parts"][0] | {"seconds": 0} == {
        "part": "power", "tried": 1000, "failures": [], "losses": 0, "seconds": 0, "note": "[note]",
    }  # fmt: skip


def test_one_part_alone_is_tried_in_its_short_form(parts):
    done = chaos("--part", "loop", "--part", "rot", "--seed", "7")
    assert done.output.count("full: False, seed: 7\n") == 2 and done.exit_code == 0
    assert [line.split()[0] for line in done.output.splitlines()[-2:]] == ["rot", "loop"]


def test_a_part_that_fails_or_crashes_does_not_end_the_others(parts):
    parts["tools.chaos.power"] = Parts(Verdict("power", 5, ["the lights went out (seed 7)"]))
    parts["tools.chaos.rot"] = Parts(ValueError("[oops]"))
    parts["tools.chaos.years"] = Parts(Verdict("years", 5, losses=1))
    done = chaos("--full")
    assert done.exit_code == 1
    assert "power: the lights went out (seed 7)" in done.output
    assert "rot: it crashed: ValueError: [oops]" in done.output
    assert "\nstorm" in done.output
    del parts["tools.chaos.power"], parts["tools.chaos.rot"]
    assert chaos("--part", "power").exit_code == 1
    assert chaos("--part", "years").exit_code == 1


def test_ctrl_c_leaves_the_table_so_far(parts):
    parts["tools.chaos.rot"] = Parts(KeyboardInterrupt())
    done = chaos("--full")
    assert done.exit_code == 130 and "rot: interrupted" in done.output and "\nhostile" not in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("--full", "--seed", "0"),
        ("--part", "loop", "--boards", "2"),
        ("--part", "weather"),
        ("--json", "/nowhere/table.json"),
        ("--minutes", "0"),
        ("--minutes", "nan"),
    ],
)
def test_what_is_called_wrongly_is_told(parts, arguments):
    done = chaos(*arguments)
    assert done.exit_code == 2 and "Error: " in done.output
