"""The command line as a person types it."""

import os
import re
import shutil
import signal
import subprocess
import sys

import click
import muster
import pytest
from click.testing import CliRunner

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
    assert "..." not in done.stdout.split("\n\n", 2)[2]  # no sentence is cut off


def test_version():
    assert tools("--version").stdout == f"muster {muster.__version__}\n"
    assert (
        re.search('^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)[1] == muster.__version__
    )


def test_every_command_has_a_file_of_its_name():
    files = {path.stem for path in (ROOT / "tools/cli").glob("[a-z]*.py")} - {
        "at_home",
        "main",
        "story",
        "weather",
    }
    assert files == set(cli.main.list_commands(None))


@pytest.mark.parametrize("command", cli.main.list_commands(None))
def test_help_of_a_command_has_a_sentence_and_an_example(command):
    done = CliRunner().invoke(cli.main, [command, "--help"], prog_name="python3 -m tools")
    assert done.exit_code == 0 and not done.stderr
    usage, sentence, *_ = done.stdout.split("\n\n")
    assert usage.startswith(f"Usage: python3 -m tools {command} ") and sentence.rstrip().endswith(".")
    assert re.search(f"(python3 -m tools|muster) {command}\\b", done.stdout[len(usage) :])


def test_commands_load_nothing_heavy_before_they_run():
    # So that help and completion are quick.
    code = """import sys, tools.cli.main as cli
before = {*sys.modules}
for name in cli.main.list_commands(None):
    cli.main.get_command(None, name)
    print(name, *{module.split(".")[0] for module in {*sys.modules} - before})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    slow = {
        "esptool",
        "fastapi",
        "matplotlib",
        "mpremote",
        "numpy",
        "requests",
        "serial",
        "tenacity",
        "uvicorn",
    }
    loaded = {command: slow & {*names} for command, *names in map(str.split, done.stdout.splitlines())}
    assert not {command: heavy for command, heavy in loaded.items() if heavy}


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("muster sto", ["storm"]),
        ("muster image --bo", ["--board"]),
        ("muster image --board ESP32_GENERIC_S", ["ESP32_GENERIC_S2", "ESP32_GENERIC_S3"]),
        ("muster completion ", ["bash", "zsh", "fish"]),
    ],
)
@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_bash_completes_the_command(tmp_path, typed, found):
    (tmp_path / "muster").write_text(
        f'#!/bin/sh\nMUSTER_PROGRAM=muster exec {sys.executable} -m tools.cli "$@"\n'
    )
    (tmp_path / "muster").chmod(0o755)
    words = typed.split(" ")
    script = f"""
        eval "$(muster completion bash)"
        [[ $(complete -p muster) =~ -F\\ ([^ ]+) ]] && function=${{BASH_REMATCH[1]}}
        COMP_WORDS=({typed} {'""' if not words[-1] else ""})
        COMP_CWORD={len(words) - 1}
        $function muster
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == found, done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["nothing"], 2, "No such command"),
        (["falsh"], 2, "No such command 'falsh'. Did you mean 'flash'?"),
        (["demo", "--vm", "pypy"], 2, "not one of"),
        (["cloud", "--devices", "/nowhere.csv"], 2, "does not exist"),
        (["cloud", "--port", "70000"], 2, "70000"),
        (
            ["cloud", "--devices", "README.md"],
            1,
            "productId and productKey and deviceNoType and deviceNo are not among them",
        ),
        (["cloud", "--data", "/proc/nowhere"], 1, "/proc/nowhere cannot be used: No such file or directory."),
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
    given = ["board", "--config", str(config), "--roots", str(config), "--data", str(tmp_path / "board")]
    done = CliRunner().invoke(cli.main, given)
    assert done.exit_code == 1 and "is not a certificate" in done.stderr
    assert "k3y" not in done.output


def test_a_state_that_is_damaged_is_named(tmp_path):
    def said():
        done = CliRunner().invoke(cli.main, ["cloud", "--data", str(tmp_path)])
        assert done.exit_code == 1 and isinstance(done.exception, SystemExit), done.output
        return done.stderr

    (tmp_path / "cloud.sqlite3").write_bytes(b"no database" * 500)
    assert "cloud.sqlite3" in said()
    (tmp_path / "cloud.sqlite3").unlink()
    (tmp_path / "ca.pem").write_text("nothing")
    (tmp_path / "ca.key").write_text("nothing")
    assert "ca.pem" in said()


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


def test_the_command_line_leaves_the_library_to_the_commands():
    # Processes that they start may want it in a world of their own, and load this first.
    code = "import sys, tools.cli.main; sys.exit('muster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
