"""The commands where the modules and calls that only Unix has are absent."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tools.common.paths import ROOT

CONFIG = {"productId": "1", "productKey": "k3y", "deviceNo": "2", "cmei": "", "firmwareVersion": "3"}
PROFILE = """\
[baidu]
access_key_id = "key"
secret_access_key = "secret"
fc = "vendor"
pk = "speaker"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "keys.csv").write_text("ak,sk\nAI-0001,k1\n")
    (tmp_path / "maker.toml").write_text(PROFILE)
    (tmp_path / "maker.toml").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(map(str, (ROOT / "tests/cli/windows", ROOT, ROOT / "lib")))
    )


def start(*arguments):
    command = [sys.executable, "-u", "-m", "tools.cli", *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(*arguments):
    process = start(*arguments)
    said, errors = process.communicate(timeout=100)
    assert "Traceback" not in errors, errors
    return process.returncode, said, errors


ABSENT = """
import os, select, signal
assert not hasattr(os, "fork") and not hasattr(os, "killpg") and not hasattr(os, "getuid")
assert not hasattr(select, "poll") and not hasattr(signal, "pthread_sigmask")
for name in ("fcntl", "termios", "pty", "tty", "resource", "pwd", "grp"):
    try:
        exec(f"import {name}")
    except ModuleNotFoundError as e:
        assert e.name == name
    else:
        raise AssertionError(name)
"""


def test_what_windows_lacks_is_absent():
    subprocess.run([sys.executable, "-c", ABSENT], check=True)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("image --config config.json -o muster.img", "muster.img: "),
        ("flash --help", "--firmware"),
        ("deploy --help", "--prune"),
        ("repl --help", "Ctrl-]"),
        ("ports", ""),
        ("cmei 11123456", "111234560000011"),
        ("identities --count 3 --serial A-001 -o batch.csv", "batch.csv"),
        ("roots --help", "--common"),
        ("fleet --help", "import"),
        ("fleet import keys.csv --profile maker.toml --dry-run", "AI-0001"),
        ("simulate --devices 1000 --days 1", "1,000 devices, 1 day"),
        ("completion bash", "_muster_completion"),
    ],
)
def test_what_works(command, words):
    status, said, errors = run(*command.split())
    assert status == 0, errors
    assert words in said + errors


@pytest.mark.parametrize(
    "command",
    ["flash --board ESP32_GENERIC --config config.json", "deploy", "repl"],
    ids=lambda c: c.split()[0],
)
def test_a_port_that_is_not_there_is_a_sentence(command):
    status, said, errors = run(*command.split(), "--port", "COM77")
    assert status == 1 and "COM77" in said + errors


@pytest.mark.parametrize("command", ["demo", "board --data board", "storm"], ids=lambda c: c.split()[0])
def test_what_plays_a_board_names_wsl(command):
    status, _, errors = run(*command.split())
    assert status == 1 and "WSL" in errors


def test_the_cloud_serves_and_ends():
    process = start("cloud", "--data", "cloud")
    try:
        assert any("Ctrl-C ends it" in line for line in process.stdout), process.stderr.read()
        process.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGINT)
        _, errors = process.communicate(timeout=100)
        assert "Traceback" not in errors
        assert os.name == "nt" or process.returncode == 0
    finally:
        process.kill()
