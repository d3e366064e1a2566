"""A program in the MicroPython VM, or in CPython, as every part of the tools starts it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.common import vm

ECHO = """
import json, sys
print("a log line")
print(json.dumps([json.loads(sys.stdin.readline()), sys.argv[1:]]))
"""
HERE = vm.machines()
needs_micropython = pytest.mark.skipif(vm.MICROPYTHON not in HERE, reason="no MicroPython here")


@pytest.fixture
def program(tmp_path):
    """A function that writes a program and returns its file."""

    def write(text):
        file = tmp_path / "program.py"
        file.write_text(text)
        return file

    return write


@pytest.mark.parametrize("on", HERE)
def test_a_program_is_asked_and_its_last_line_is_the_answer(program, on):
    request = {"text": "心跳", "n": 1}
    for asked in (ECHO, program(ECHO)):
        assert vm.ask(asked, request, "a", 2, machine=on) == [request, ["a", "2"]]


@pytest.mark.parametrize("on", HERE)
def test_a_program_that_fails_is_told_with_what_it_printed(program, on):
    file = program("print('before')\nraise OSError('no space')")
    assert vm.run(file, machine=on).returncode == 1
    with pytest.raises(RuntimeError, match=r"(?s)^program.py ended with status 1: before.*no space"):
        vm.ask(file, None, machine=on)
    with pytest.raises(RuntimeError, match=r"^the program ended with status 3: "):
        vm.ask("import sys; sys.exit(3)", None, machine=on)


@pytest.mark.parametrize("on", HERE)
def test_modules_are_found_at_the_paths_and_files_in_the_folder(tmp_path, on):
    assert "muster" in vm.run("import muster; print(muster)", machine=on).stdout
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "found.py").write_text("HERE = 'here'")
    seen = vm.run(
        "import os, found; print(os.getcwd(), found.HERE, os.getenv('EXTRA'))",
        paths=["near"],
        folder=tmp_path,
        environment={"EXTRA": "more"},
        machine=on,
    )
    assert seen.stdout.split() == [str(tmp_path), "here", "more"], seen


@pytest.mark.parametrize("on", HERE)
def test_one_that_does_not_end_is_ended(on):
    with pytest.raises(subprocess.TimeoutExpired):
        vm.run("while True: pass", timeout=0.2, machine=on)


@needs_micropython
def test_the_heap_is_as_large_as_is_said():
    program = "import gc; gc.collect(); print(gc.mem_free() + gc.mem_alloc())"
    small, large = (int(vm.run(program, heap=size).stdout) for size in (1 << 17, 1 << 20))
    assert 100_000 < small < 1 << 17 < 900_000 < large < 1 << 20


@needs_micropython
def test_what_is_no_utf_8_comes_back():
    program = "import json, sys; print(json.loads(sys.stdin.readline()))"
    done = vm.run(program, stdin=json.dumps("\ud83d") + "\n")
    assert ascii(done.stdout) == r"'\ud83d\n'"


def test_without_micropython_it_is_said_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "micropython_run", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert vm.machines() == [vm.CPYTHON]
    with pytest.raises(RuntimeError, match="install one with VfsLfs2 as `micropython` on PATH"):
        vm.run("print(1)")


def test_the_variables_name_every_path_and_what_is_frozen_last():
    found = vm.variables([Path("/a"), "b"])
    assert found["MICROPYPATH"] == "/a:b:.frozen" and found["PYTHONPATH"] == "/a:b"
