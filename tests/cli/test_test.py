"""The command that runs the checks and the tests."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from tools.cli.test import checks_pass
from tools.common.paths import ROOT


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "tools.cli", "test", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_each_check_tells_what_it_found(tmp_path, monkeypatch, capsys):
    for name, text in (
        ("lib/muster/__init__.py", "import threading\n"),
        ("tools/wrong.py", "count: int = 'one'\n"),
        ("boot.py", "import os\n"),
        ("main.py", "a  =  1\n"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert not checks_pass()
    said = capsys.readouterr().out
    assert said.count(": failed\n") == 5 and "passed" not in said
    for found in ("--> main.py:1:", "`os` imported but unused", "tools/wrong.py:1: error"):
        assert found in said
    assert said.count("lib/muster/__init__.py:1: error") == 2  # the board has no threading


@pytest.mark.parametrize(
    ("arguments", "status"), [(["-k", "passes"], 0), (["-k", "fails"], 1), (["--no-such-option"], 2)]
)
def test_the_exit_status_says_what_became_of_the_tests(tmp_path, arguments, status):
    (tmp_path / "test_it.py").write_text(
        "def test_passes():\n    pass\n\ndef test_fails():\n    assert False\n"
    )
    process = start(str(tmp_path), *arguments)
    said, _ = process.communicate(timeout=100)
    assert process.returncode == status, said


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to no single process")
def test_ctrl_c_lets_the_tests_tidy_up(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import time\ndef test_long():\n    try:\n        print('begun')\n        time.sleep(100)\n"
        "    finally:\n        print('tidied up')\n"
    )
    process = start(str(tmp_path), "-s")
    assert any("begun" in line for line in process.stdout)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 130 and "tidied up" in said
