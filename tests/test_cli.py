"""The command line as a person types it."""

import subprocess
import sys

import pytest

from tools import cli
from tools.__main__ import ROOT

CONFIG = '{"productId": "1", "productKey": "k3y", "deviceNo": "2", "cmei": "", "firmwareVersion": "3"}'


def tools(*arguments):
    command = [sys.executable, "-m", "tools.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("command", [(), *[(name,) for name in cli.main.list_commands(None)]])
def test_help(command):
    done = tools(*command, "--help")
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith("Usage: python3 -m tools")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["nothing"], 2, "No such command"),
        (["demo", "--vm", "pypy"], 2, "not one of"),
        (["cloud", "--devices", "/nowhere.csv"], 2, "does not exist"),
        (["cloud", "--port", "70000"], 2, "70000"),
        (["cloud", "--devices", "README.md"], 1, "column productId is missing"),
        (["board", "--config", "/nowhere.json"], 2, "does not exist"),
        (["board", "--config", "LICENSE", "--roots", "LICENSE", "--dir", "/tmp"], 1, "is not JSON"),
    ],
)
def test_what_is_called_wrongly_is_told_in_a_sentence(arguments, status, words):
    done = tools(*arguments)
    assert done.returncode == status, done.stdout + done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr + done.stdout


def test_a_root_that_is_no_certificate_is_named(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(CONFIG)
    done = tools("board", "--config", str(config), "--roots", str(config), "--dir", str(tmp_path / "board"))
    assert done.returncode == 1 and "is not a certificate" in done.stderr
    assert "k3y" not in done.stdout + done.stderr


def test_a_state_that_is_damaged_is_named(tmp_path):
    (tmp_path / "cloud.sqlite3").write_bytes(b"no database" * 500)
    done = tools("cloud", "--data", str(tmp_path))
    assert done.returncode == 1 and "cloud.sqlite3" in done.stderr and "Traceback" not in done.stderr
    (tmp_path / "cloud.sqlite3").unlink()
    (tmp_path / "ca.pem").write_text("nothing")
    (tmp_path / "ca.key").write_text("nothing")
    done = tools("cloud", "--data", str(tmp_path))
    assert done.returncode == 1 and "ca.pem" in done.stderr and "Traceback" not in done.stderr


def test_the_command_line_leaves_the_library_to_the_commands():
    # Processes that they start may want it in a world of their own, and load this first.
    code = "import sys, tools.cli; sys.exit('muster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
