"""The count of what was tried, and its table."""

import os
import subprocess
import sys

import pytest

from tools.common.paths import ROOT

PART = """
import pytest

def test_of_two(trial):
    trial.tried("one", [])
    trial.tried("another", ["it is wrong", "it is worse"])

def test_that_loses(trial):
    trial.tried("one", [], losses=1)

def test_that_ends_before(trial):
    trial.note = f"seed {trial.seed}"
    raise RuntimeError

@pytest.mark.full
def test_that_takes_long(trial):
    trial.tried("one", [])
"""


@pytest.mark.parametrize(("options", "tried", "left_out"), [([], "3", True), (["--full"], "4", False)])
def test_the_table_counts_what_was_tried_and_what_failed(tmp_path, options, tried, left_out):
    (tmp_path / "test_part.py").write_text(PART)
    command = ["-m", "pytest", "-p", "endure.trials", "-c", os.devnull, "-p", "no:cacheprovider", *options]
    done = subprocess.run(
        [sys.executable, *command, "--rootdir", tmp_path, tmp_path],
        env=os.environ | {"PYTHONPATH": str(ROOT / "tests"), "MUSTER_SEED": "5"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    [row] = [line.split() for line in done.stdout.splitlines() if line.startswith("part  ")][1:]
    assert row == ["part", tried, "3", "1", "0", "s", "seed", "5"]
    assert (
        "another: it is wrong\nanother: it is worse" in done.stdout and "1 secrets were lost" in done.stdout
    )
    assert ("1 deselected" in done.stdout) == left_out
