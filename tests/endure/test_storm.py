"""The storm: python3 -m tools storm."""

import io
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

from tools.board import Board
from tools.cli import storm
from tools.cli.verdict import SEED, Verdict
from tools.common.paths import ROOT
from tools.common.vm import find_micropython

vm = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")


@vm
def test_boards_come_back_after_a_storm(trial):
    boards, seconds = (4, 180) if trial.full else (2, 6)
    verdict = storm.weather(boards, seconds, trial.seed, lambda storm: None)
    assert verdict.cases > 0
    trial.cases, trial.failures = verdict.cases, verdict.failures
    trial.losses, trial.note = verdict.losses, verdict.note


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
    verdict = storm.weather(2, 6, SEED, lambda storm: None)
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
    program = "from tools.cli.storm import storm; storm(prog_name='storm')"
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


@pytest.mark.parametrize(
    "arguments", [("--boards", "0"), ("--seed", "0"), ("--minutes", "0"), ("--minutes", "nan")]
)
def test_what_is_called_wrongly_is_told(arguments):
    done = CliRunner().invoke(storm.storm, arguments)
    assert done.exit_code == 2 and "Error: " in done.output
