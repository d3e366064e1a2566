"""The set-up of .venv, in a copy of the project in which the sets are empty and the command line an echo."""

import os
import shutil
import subprocess
import sys

import pytest

from tools.common import extras
from tools.common.paths import ROOT

ECHO = """\
import os, sys
from tools.common.extras import need
if "draw" in sys.argv:
    need("draw")
print(os.environ.get("MUSTER_PROGRAM"), sys.prefix, *sys.argv[1:])
"""
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the command is another there")


def copied(root):
    shutil.copytree(ROOT / "tools/common", root / "tools/common")
    for name in ("__init__.py", "__main__.py", "command.py"):
        shutil.copy(ROOT / "tools" / name, root / "tools")
    for folder in ("cli", "requirements"):
        (root / "tools" / folder).mkdir()
    for name in ("requirements/commands.txt", "requirements/draw.txt", "cli/__init__.py"):
        (root / "tools" / name).touch()
    (root / "tools/cli/__main__.py").write_text(ECHO)
    return root


def started(project, *arguments):
    command = [sys.executable, "-m", "tools", *arguments]
    # Without PYTHONPATH, by which the project itself would be found.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=project, env=environment, **pipes)


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """A project, and what became of the two commands that set it up at once, after one that was killed."""
    project = copied(tmp_path_factory.mktemp("raced") / "the project")
    killed = started(project)
    assert "setting up" in killed.stderr.readline()
    killed.kill()
    killed.communicate()

    first = started(project, "one", "two")
    assert "setting up" in first.stderr.readline()
    second = started(project, "one", "two")
    assert "another command sets up" in second.stderr.readline()
    ends = [(process.communicate(timeout=100), process.returncode) for process in (first, second)]
    return project, ends


@pytest.fixture
def finished(raced):
    """A project of which the set-up is done: it takes seconds, so it is done once."""
    project, _ = raced
    return project


def test_the_second_of_two_waits_and_a_killed_one_holds_nobody_up(raced):
    project, ends = raced
    venv = project / ".venv"
    assert ends == [((f"None {venv} one two\n", ""), 0)] * 2

    done = subprocess.run([venv / "bin/muster", "1 2", "3"], cwd="/", capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"muster {venv} 1 2 3\n", "")


def test_another_set_is_installed_when_it_is_first_needed(finished):
    for words in ("installing what the command needs besides", ""):
        said, errors = (process := started(finished, "draw")).communicate(timeout=100)
        assert (process.returncode, said) == (0, f"None {finished / '.venv'} draw\n")
        assert words in errors and bool(words) == bool(errors)


def test_a_finished_venv_needs_no_lock_and_another_that_cannot_be_made_is_a_sentence(finished):
    (finished / ".venv.lock").unlink()
    (finished / ".venv.lock").mkdir()  # which nobody can write, not even root
    assert started(finished).wait(100) == 0
    (finished / "tools/requirements/commands.txt").write_text("# others\n")
    said, errors = (process := started(finished)).communicate(timeout=100)
    assert process.returncode == 1 and not said
    assert ".venv.lock cannot be written" in errors and "let the owner of that folder" in errors


@pytest.mark.parametrize(
    ("pips", "uvs", "expected"),
    [
        ({"PIP_INDEX_URL": "https://a/simple"}, {}, {"UV_DEFAULT_INDEX": "https://a/simple"}),
        ({"PIP_EXTRA_INDEX_URL": "https://a https://b"}, {}, {"UV_INDEX": "https://a https://b"}),
        ({"PIP_INDEX_URL": "https://a", "PIP_CERT": "a.pem"}, {}, {"SSL_CERT_FILE": "a.pem"}),
        ({"PIP_INDEX_URL": "https://a"}, {"UV_INDEX_URL": "https://b"}, {"UV_DEFAULT_INDEX": None}),
        (
            {"PIP_INDEX_URL": "https://a"},
            {"UV_DEFAULT_INDEX": "https://b"},
            {"UV_DEFAULT_INDEX": "https://b"},
        ),
        ({"PIP_CONFIG_FILE": "pip.conf"}, {}, {"UV_DEFAULT_INDEX": "https://c/simple"}),
        (
            {"PIP_CONFIG_FILE": "pip.conf", "PIP_INDEX_URL": "https://a"},
            {},
            {"UV_DEFAULT_INDEX": "https://a"},
        ),
    ],
)
def test_uv_uses_the_mirror_that_is_set_for_pip(monkeypatch, tmp_path, pips, uvs, expected):
    if "PIP_CONFIG_FILE" in pips and not shutil.which("pip3"):
        pytest.skip("no pip to read its files")
    for name in os.environ:
        if name.startswith(("PIP_", "UV_")) or name == "SSL_CERT_FILE":
            monkeypatch.delenv(name)
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://c/simple\n")
    monkeypatch.chdir(tmp_path)
    for name, value in {**pips, **uvs}.items():
        monkeypatch.setenv(name, value)
    environment = extras.for_uv()
    assert {name: environment.get(name) for name in expected} == expected


def test_an_environment_of_somebody_else_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    extras.need("test")
    assert not list(tmp_path.iterdir())


def test_the_tests_set_holds_what_draws(monkeypatch, tmp_path):
    monkeypatch.setattr(extras, "_install", lambda *what, python: None)
    extras.interpreter(tmp_path).parent.mkdir()
    extras.interpreter(tmp_path).touch()
    extras.install(tmp_path, "test")
    assert extras.is_complete(tmp_path, "test") and extras.is_complete(tmp_path, "draw")
