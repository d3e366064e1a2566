"""python3 -m tools demo, as a person runs it; and what it says where there is no pseudo-terminal."""

import re
import signal
import subprocess
import sys

import pytest
import requests
from click.testing import CliRunner

from tools.board import Board
from tools.cli import story
from tools.cli.main import main
from tools.cloud import Cloud
from tools.common.vm import find_micropython

# What each act has to show, in the order of the story.
ACTS = (
    ["it fetched its secret over verified TLS", "its first heartbeat was accepted"],
    ["heartbeats come every 3 ± 1 s"],
    ["the secret is on flash", "it reported again by itself", "and not before that was due"],
    ["the secret was fetched once in all", "and is still the same"],
    ["a server with a foreign certificate is refused before a byte is sent"],
    ["a server with a misnamed certificate is refused before a byte is sent"],
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
def test_the_whole_story_holds_and_its_cloud_and_board_stay_on():
    command = [sys.executable, "-m", "tools.cli", "demo", "--keep"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        told = ""
        while "serial port  " not in told:
            line = demo.stdout.readline()
            assert line, told + demo.stderr.read()
            told += line
        url, ca = re.search(r"  page +(\S+)  \(its CA is (\S+)\)", told).groups()
        assert story.DEVICE.device_no in requests.get(url, verify=ca, timeout=20).text
        port = re.search(r"  serial port +(\S+)", told)[1]
        mpremote = [sys.executable, "-m", "mpremote", "connect", port, "eval", "6 * 7"]
        assert subprocess.run(mpremote, capture_output=True, text=True, timeout=100).stdout.strip() == "42"
        demo.send_signal(signal.SIGINT)
        _, errors = demo.communicate(timeout=100)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == 0 and not errors, told + errors
    checks = re.findall(r"^  yes  (.*?)  ", told, re.MULTILINE)
    assert checks == [check for act in ACTS for check in act]
    assert len(checks) == len(set(checks)), "each thing is said once"
    assert "\n27 held, 0 failed\n" in told
    assert "its clock says 2000" in told and "你好" in told
    assert "1.0, then 1.1" in told


def test_it_ends_with_what_to_try_next(monkeypatch, capsys):
    monkeypatch.setattr(story.Story, "tell", lambda told: told.check("a board", True))
    monkeypatch.setattr(story.Story, "at_home", lambda *_: None)
    assert story.tell("cpython")
    ended = capsys.readouterr().out.split("1 held, 0 failed\n\n")[1].splitlines()
    assert ended[0] == "What to try next:"
    for line in re.findall("python3 -m tools (.*?)  ", "\n".join(ended)):
        assert CliRunner().invoke(main, [*line.split(), "--help"]).exit_code == 0, line


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
