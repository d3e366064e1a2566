"""The storm: python3 -m tools storm."""

import io
import json
import os
import re
import sys
import time

import pexpect
import pytest
from click.testing import CliRunner

from tools.board import Board
from tools.cli import storm, weather
from tools.common.paths import ROOT
from tools.common.vm import find_micropython

vm = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")


@vm
def test_boards_come_back_after_a_storm(trial):
    boards, minutes = (4, 3) if trial.full else (2, 0.1)
    arguments = ("--boards", str(boards), "--minutes", str(minutes), "--seed", str(trial.seed), "--json")
    done = CliRunner().invoke(storm.storm, arguments)
    told = json.loads(done.stdout)
    trial.cases, trial.failures, trial.losses = told["tried"], told["failures"], told["losses"]
    trial.note = told["note"]
    assert trial.cases and (told["boards"], told["seed"]) == (boards, trial.seed)
    assert done.exit_code == (1 if trial.failures or trial.losses else 0)
    # Without a terminal, the last picture ends with its line.
    assert "┘\nstorm: " in done.stderr


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

    monkeypatch.setattr(weather, "Board", Forgetful)
    monkeypatch.setattr(weather, "BOARD_FAULTS", (weather.POWER,))
    monkeypatch.setattr(weather, "PATIENCE_S", 15)
    seen = weather.Storm(2, 6, 1, lambda storm: None)
    seen.rage()
    assert seen.losses
    assert any("secret is lost" in failure for failure in seen.failures)
    assert any("secret was fetched" in failure for failure in seen.failures)


def test_an_early_heartbeat_is_seen():
    period, jitter, coarse = weather.PERIOD_S, weather.JITTER_S, weather.COARSE_S
    soon = 100 + period - jitter - coarse
    assert weather.early([100, soon + 0.1], []) == []
    assert len(weather.early([100, soon - 0.1], [])) == 1
    # Switched on again in between, it knows what its flash knows.
    assert weather.early([100, 101], [(100.5, 99)]) == []
    assert len(weather.early([100, 101], [(100.5, 104)])) == 1
    assert len(weather.early([100, 100.5], [(97, 99)])) == 1


@vm
@pytest.mark.parametrize(("moment", "later_s"), [("the boards enrol", 0), ("s left", 1)])
def test_ctrl_c_ends_it_politely(moment, later_s):
    arguments = ["-m", "tools.cli", "storm", "--boards", "1"]
    said = io.StringIO()
    # What the terminal echoes may stand within a character.
    how = {"encoding": "utf-8", "codec_errors": "replace", "dimensions": (24, 120), "timeout": 60}
    with pexpect.spawn(sys.executable, arguments, cwd=ROOT, env=os.environ, **how) as terminal:
        terminal.logfile_read = said
        terminal.expect_exact(moment)
        time.sleep(later_s)
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.getvalue())
    assert terminal.exitstatus == 130, text
    assert "interrupted; faults of 1 board and" in text
    assert "Traceback" not in text and "Aborted" not in text and "secret" not in text


def test_what_a_storm_needs_is_told(monkeypatch):
    monkeypatch.setattr(storm, "find_micropython", lambda: None)
    done = CliRunner().invoke(storm.storm)
    assert done.exit_code == 1 and "a storm needs MicroPython" in done.output


@pytest.mark.parametrize(
    "arguments", [("--boards", "0"), ("--seed", "0"), ("--minutes", "0"), ("--minutes", "nan")]
)
def test_what_is_called_wrongly_is_told(arguments):
    done = CliRunner().invoke(storm.storm, arguments)
    assert done.exit_code == 2 and "Error: " in done.output
