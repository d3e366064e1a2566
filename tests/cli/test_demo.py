"""python3 -m tools demo, as a person runs it; and what it says where there is no pseudo-terminal."""

import re
import subprocess
import sys

import pytest

from tools.board import Board
from tools.cli import story
from tools.cloud import Cloud
from tools.common.vm import find_micropython

# What each act has to show, in the order of the story.
ACTS = (
    ["it fetched its secret over verified TLS", "its first heartbeat was accepted"],
    ["heartbeats come every 3 ± 1 s"],
    ["the secret is on flash", "it reported again by itself", "and not before that was due"],
    ["the secret was fetched once in all", "and is still the same"],
    ["a server with a foreign certificate is refused", "and gets not a byte of a request"],
    ["a server with a misnamed certificate is refused", "and gets not a byte of a request"],
    ["with the platform back, the heartbeats go on"],
    ["a JWT signed on the board (RS256) buys a token", "a chat streams its answer"],
    ["and is billed to this device", "PyJWT accepts its HS256 token"],
    ["it opens an access point of its own, with a page", "a phone that joins it is led to the page"],
    ["which shows the networks around", "its buyer fills the form, and the page says that it is online"],
    ["the page has closed, and its heartbeat is accepted", "after a reset it joins by itself"],
    ["it verifies the release, fetches what is new, and restarts with it"],
    ["its heartbeat tells the new version", "and the platform's page shows it"],
    ["after three crashes the build before is back, by itself"],
    ["its heartbeat tells the version before", "and that release is refused for good"],
)


@pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")
def test_the_whole_story_holds():
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli", "demo"], capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    checks = re.findall(r"^  yes  (.*?)  ", done.stdout, re.MULTILINE)
    assert checks == [check for act in ACTS for check in act]
    assert done.stdout.endswith("29 held, 0 failed\n")
    assert "its clock says 2000" in done.stdout and "你好" in done.stdout
    assert "1.0, then 1.1" in done.stdout


def test_on_cpython_too_the_board_talks_to_coze(tmp_path, capsys):
    with (
        Cloud([story.DEVICE]) as cloud,
        Board(tmp_path, story.image(cloud, "cpython"), vm="cpython") as board,
    ):
        board.wait_for("reported")
        told = story.Story(cloud, board)
        told.conversation()
        assert told.verdict() and [what for what, _, _ in told.checks] == [*ACTS[7], *ACTS[8]]
    assert "4 held, 0 failed" in capsys.readouterr().out


@pytest.mark.parametrize("missing", ["fcntl", "pty", "select.poll", "termios"])
@pytest.mark.parametrize("command", [["demo"], ["board", "--data", "/tmp"]])
def test_where_there_is_no_pseudo_terminal_it_is_said_what_to_do(command, missing):
    without = f"import sys, select\nif {missing!r} == 'select.poll':\n    del select.poll\n"
    without += f"else:\n    sys.modules[{missing!r}] = None\n"
    run = f"{without}import tools.cli.main\ntools.cli.main.main({command!r})"
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "on Windows, run this command in WSL" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not done.stdout
