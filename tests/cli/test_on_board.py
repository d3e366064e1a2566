"""The library's tests, and figures, on a board that is plugged in: a virtual one, which stays as it was."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from xml.etree import ElementTree

import on_board
import pytest
from click.testing import CliRunner
from devices import DEVICE, hourly

from tools.board import Board
from tools.cli.main import Commands
from tools.cloud import Cloud
from tools.common import vm
from tools.common.paths import ROOT
from tools.common.vm import find_micropython
from tools.factory.guest import Guest
from tools.factory.product import board_image

pytestmark = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")

# What it prints on the board while it runs.
LONG = "tests/lib/test_platform.py::test_an_agent_lives_through_whatever_the_platform_does"
IN_THE_MIDDLE = re.compile("muster: .*500")
AFTER = "tests/lib/test_hmac.py"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A board that has enrolled and reported, with every part of the library."""
    with Cloud([DEVICE], issued_days_ago=30) as cloud:
        config = hourly(cloud, clouds=["coze", "baidu", "feishu"])
        with Board(tmp_path_factory.mktemp("running"), board_image(config, [cloud.ca_pem])) as board:
            board.wait_for("the next report is due")
            yield board


@contextlib.contextmanager
def left_as_it_was(board):
    """The board's files, its NVS and its clock are as before, and its program starts again."""
    before, nvs, clock = kept(board), nvs_of(board), ahead(board)
    yield
    board.wait_for("SW_CPU_RESET")
    board.wait_for("the next report is due")
    assert kept(board) == before and len([path for path in before if path.startswith("/state/")]) == 3
    assert nvs_of(board) == nvs
    assert abs(ahead(board) - clock) < 2


def kept(board):
    """All but the record of its resets."""
    return {path: data for path, data in board.files().items() if not path.startswith("/state/last")}


def nvs_of(board):
    return json.loads(board._folder.read("nvs") or "{}")


def ahead(board):
    return float(board._folder.read("time"))


def start(board, *arguments):
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tools.cli",
            "test",
            "--port",
            board.port,
            "-p",
            "no:cacheprovider",
            *arguments,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def results(path):
    """{test: "passed", "failure" or "skipped"} of a report in JUnit's form."""
    cases = ElementTree.parse(path).iter("testcase")
    return {case.get("name"): case[0].tag if len(case) else "passed" for case in cases}


def test_the_same_results_as_in_the_vm(running, tmp_path):
    chosen = [f"tests/lib/test_{name}.py" for name in ("last", "operator", "sse")]
    chosen.append("tests/lib/test_store.py::test_a_chip_s_own_nvs_keeps_a_record")
    here = [sys.executable, "-m", "pytest", *chosen, "-k", "[MicroPython]", "-p", "no:cacheprovider"]
    beside = subprocess.Popen([*here, f"--junitxml={tmp_path}/vm"], cwd=ROOT, stdout=subprocess.DEVNULL)
    with left_as_it_was(running):
        process = start(running, *chosen, "--junitxml", str(tmp_path / "board"))
        said, _ = process.communicate(timeout=100)
    assert process.returncode == 0, said
    assert "MicroPython 1." in said and "muster 0." in said and "its files are not" not in said
    assert beside.wait(100) == 0
    expected, found = results(tmp_path / "vm"), results(tmp_path / "board")
    other = {name: result for name, result in found.items() if result != expected[name]}
    assert other == {"test_without_a_board_it_does_nothing[MicroPython]": "skipped"}
    assert found.keys() == expected.keys() and "passed" in found.values()


def test_after_ctrl_c_in_the_middle_the_board_is_as_it_was(running):
    with left_as_it_was(running):
        process = start(running, LONG, AFTER)
        running.wait_for(IN_THE_MIDDLE)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=100)
    assert process.returncode == 130, said


def test_a_reset_in_the_middle_fails_the_test_that_it_hit_and_the_others_go_on(running):
    with left_as_it_was(running):
        process = start(running, LONG, AFTER)
        running.wait_for(IN_THE_MIDDLE)
        running.reset()
        said, _ = process.communicate(timeout=100)
        running.wait_for("raw REPL")
    assert process.returncode == 1, said
    assert "in the middle of this test the board was reset" in said and "1 failed, 9 passed" in said


WRONG = {
    "assertion": ("print('said')\n    assert 1 == 2", "said\nTraceback"),
    "memory": ("bytearray(1 << 30)", "ran out of the board's memory"),
    "flash": ("open('/written', 'w')", "OSError: 30"),
    "part": ("import muster.no_such_part", "the board's library has no muster.no_such_part"),
    "fine": ("assert __import__('random').getrandbits(30) == %d", ""),
}


def test_whatever_a_test_does_is_told_and_reaches_no_file(running, tmp_path, monkeypatch):
    monkeypatch.setattr(on_board, "TESTS", tmp_path)
    seed = f"import random; random.seed({os.environ['MUSTER_SEED']}); print(random.getrandbits(30))"
    drawn = int(vm.run(seed).stdout)
    for name, (program, _) in WRONG.items():
        program = program % drawn if "%d" in program else program
        (tmp_path / f"test_{name}.py").write_text(f"def test_it():\n    {program}\n")
    board = on_board.OnBoard(Config(running.port))
    with left_as_it_was(running), Guest(running.port) as board.guest:
        board.library = board.guest.ask("library")
        assert on_board.differs(board.library["files"]) == []
        assert on_board.differs(board.library["files"] | {"log.mpy": "of another release"}) == ["log.mpy"]
        for name, (_, words) in WRONG.items():
            told = ""
            try:
                board.run(f"test_{name}", "test_it", {})
            except (pytest.fail.Exception, pytest.skip.Exception) as e:
                told = str(e)
            assert words in told and bool(words) == bool(told), (name, told)


class Config:
    """pytest's, as far as it matters."""

    option = None

    def __init__(self, port):
        self.port = port

    def getoption(self, name):
        return getattr(self, name, None)


def test_figures_of_a_board(running):
    with left_as_it_was(running):
        done = CliRunner().invoke(Commands(), ["bench", "--port", running.port, "--json"])
    assert done.exit_code == 0, done.output
    found = {figure["what"]: figure["found"] for figure in json.loads(done.stdout)}
    assert found["reset to the first heartbeat"].endswith(" s")
    for what in ("HS256 token", "RS256 signature of 2048 bits", "TLS handshake", "flash: a file of 4 KB"):
        assert " ms" in found[what], found
    for what in ("heap held by import muster", "after an enrolment and a report", "free heap"):
        assert found[what].endswith(" bytes"), found
    assert found["native memory during a TLS session"] == "this board does not tell"
