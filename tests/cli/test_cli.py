"""The command line as a person types it."""

import os
import signal
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from tools import __main__ as start
from tools.cli import main as cli
from tools.common.paths import ROOT

CONFIG = '{"productId": "1", "productKey": "k3y", "deviceNo": "2", "cmei": "", "firmwareVersion": "3"}'


def tools(*arguments):
    command = [sys.executable, "-m", "tools.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)


def test_help():
    done = tools("--help")
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith("Usage: python3 -m tools [OPTIONS] COMMAND")


@pytest.mark.parametrize("command", cli.main.list_commands(None))
def test_help_of_a_command(command):
    done = CliRunner().invoke(cli.main, [command, "--help"], prog_name="python3 -m tools")
    assert done.exit_code == 0 and not done.stderr
    assert done.stdout.startswith(f"Usage: python3 -m tools {command} ")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["nothing"], 2, "No such command"),
        (["demo", "--vm", "pypy"], 2, "not one of"),
        (["cloud", "--devices", "/nowhere.csv"], 2, "does not exist"),
        (["cloud", "--port", "70000"], 2, "70000"),
        (
            ["cloud", "--devices", "README.md"],
            1,
            "productId and productKey and deviceNoType and deviceNo are not among them",
        ),
        (["board", "--config", "/nowhere.json"], 2, "does not exist"),
        (["board", "--config", "LICENSE", "--roots", "LICENSE", "--data", "/tmp"], 1, "is not JSON"),
    ],
)
def test_what_is_called_wrongly_is_told_in_a_sentence(arguments, status, words, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(cli.main, arguments)
    assert done.exit_code == status, done.output
    assert words in done.stderr and "Traceback" not in done.output


def test_a_terminal_without_the_letters_ends_no_command(tmp_path):
    def typed(*arguments):
        command = [sys.executable, "-m", "tools.cli", *arguments]
        poor = os.environ | {"PYTHONIOENCODING": "ascii"}
        done = subprocess.run(command, cwd=ROOT, env=poor, capture_output=True, timeout=100)
        assert b"Traceback" not in done.stderr and b"codec" not in done.stdout + done.stderr
        return done.returncode, done.stdout

    config = tmp_path / "config.json"
    config.write_text(CONFIG)
    port = "/dev/a-port-with-a-name-too-long-to-show-all-of-it"
    status, said = typed("flash", "--board", "ESP32_GENERIC", "--config", str(config), "--port", port)
    assert status == 1 and b"\\u2026-long-to-show" in said and b"there is no port" in said


def test_a_root_that_is_no_certificate_is_named(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(CONFIG)
    done = tools("board", "--config", str(config), "--roots", str(config), "--data", str(tmp_path / "board"))
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


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps no signal waiting")
def test_ctrl_c_while_a_command_is_loaded_is_status_130_without_a_word():
    def interrupt():
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        os.kill(os.getpid(), signal.SIGINT)

    command = [sys.executable, "-m", "tools.cli", "cmei", "11123456"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=interrupt)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_ctrl_c_while_the_standard_library_is_loaded_is_status_130_without_a_word(tmp_path):
    (tmp_path / "shutil.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    command = [sys.executable, "-m", "tools", "cmei", "11123456"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(("answer", "status"), [(KeyboardInterrupt, 130), (EOFError, 1)])
def test_ctrl_c_at_a_question_is_status_130(monkeypatch, answer, status):
    def asked(prompt):
        raise answer

    monkeypatch.setattr("click.termui.visible_prompt_func", asked)
    delete = click.Command("delete", callback=lambda: click.confirm("Delete it?", abort=True))
    with pytest.raises(SystemExit) as ended:
        cli.Sentences(commands={"delete": delete}).main(["delete"])
    assert ended.value.code == status


def test_a_finished_venv_needs_no_lock_and_another_that_cannot_be_made_is_a_sentence(tmp_path, monkeypatch):
    def create(venv):
        start.interpreter(venv).parent.mkdir(parents=True)
        start.interpreter(venv).touch()

    monkeypatch.setattr(start, "ROOT", tmp_path)
    monkeypatch.setattr(start, "create", create)
    monkeypatch.setattr(start, "install", lambda venv: None)
    python = start.ready()
    (tmp_path / ".venv.lock").unlink()
    (tmp_path / ".venv.lock").mkdir()  # which nobody can write, not even root
    assert start.ready() == python == start.interpreter(tmp_path / ".venv")
    (tmp_path / ".venv" / "muster-requirements").write_text("others")
    with pytest.raises(SystemExit, match=r"\.venv\.lock cannot be written .* let the owner of that folder"):
        start.ready()


def test_the_command_line_leaves_the_library_to_the_commands():
    # Processes that they start may want it in a world of their own, and load this first.
    code = "import sys, tools.cli.main; sys.exit('muster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
