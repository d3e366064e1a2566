"""The packages in .venv, in three sets, each locked in tools/requirements: commands, test and draw.

This file runs on whatever Python a stranger has, before anything is installed: only the standard library, and
nothing newer than Python 3.10.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from tools.common.paths import ROOT

REQUIREMENTS = ROOT / "tools" / "requirements"
COMMANDS = "commands"
HOLDS = {"test": ("draw",)}  # a set, and others that are part of it

# For the type check: what the ESP32 port has, in the oldest and the newest MicroPython that lib/ is for. They
# stand for each other's modules, and for the standard library's, so each has a folder of its own.
STUBS = {
    "1.26": ["micropython-esp32-stubs==1.26.0.post1", "micropython-stdlib-stubs==1.26.0.post3"],
    "1.29": ["micropython-esp32-stubs==1.29.0.post1", "micropython-stdlib-stubs==1.29.0.post2"],
}

# What uv calls a setting of pip. pip chooses among all its indexes, uv only if it is told to.
UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
}
UV_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
ALL_INDEXES = {"UV_INDEX_STRATEGY": "unsafe-best-match"}


def need(name: str) -> None:
    """Installs the set "test" or "draw", unless it is there. Ends the program with a sentence if it cannot.

    In an environment that the command line did not make, its owner installs what is needed.
    """
    venv = Path(sys.prefix)
    if not _mark(venv, COMMANDS).exists() or is_complete(venv, name):
        return
    with alone(venv.with_name(".venv.lock")):
        if not is_complete(venv, name):
            say(f"installing what the command needs besides: {REQUIREMENTS / name}.txt (once)")
            install(venv, name)
    importlib.invalidate_caches()


def fetch(packages: Sequence[str], folder: Path) -> bool:
    """Installs packages into a folder, without what they depend on. Returns whether they could be had."""
    try:
        _install("--target", str(folder), *packages, python=Path(sys.executable))
    except SystemExit:
        return False
    return True


def fail(sentence: str) -> NoReturn:
    raise SystemExit(f"muster: {sentence}")


def say(text: str) -> None:
    print(f"muster: {text}", file=sys.stderr, flush=True)


def interpreter(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def create(venv: Path) -> None:
    """Makes an empty environment, in place of what is there."""
    shutil.rmtree(venv, ignore_errors=True)
    uv = shutil.which("uv")
    if uv:
        command = [uv, "venv", "--python", sys.executable, str(venv)]
    else:
        command = [sys.executable, "-m", "venv", str(venv)]
    status, said = _run(command)
    if status != 0:
        shutil.rmtree(venv, ignore_errors=True)
        if "ensurepip" in said or "No module named venv" in said:
            fail(
                "this Python cannot make virtual environments. On Debian and Ubuntu:\n"
                f"  apt install python3-venv\nthen run the command again. ({sys.executable})"
            )
        fail(f"{' '.join(command)} failed:\n{said}")


def install(venv: Path, name: str) -> None:
    """Installs a set, and marks it as complete."""
    python = interpreter(venv)
    _install("--requirement", str(REQUIREMENTS / f"{name}.txt"), python=python)
    if name == "test":
        for version, packages in STUBS.items():
            _install("--target", str(venv / "stubs" / version), *packages, python=python)
    for done in (name, *HOLDS.get(name, ())):
        _mark(venv, done).write_text(_wanted(done))


def is_complete(venv: Path, name: str) -> bool:
    mark = _mark(venv, name)
    return interpreter(venv).exists() and mark.exists() and mark.read_text() == _wanted(name)


def _mark(venv: Path, name: str) -> Path:
    return venv / f"muster-{name}"


def _wanted(name: str) -> str:
    """What a set's mark says: it is another when the set, or the Python, has changed."""
    stubs = repr(STUBS) if name == "test" else ""
    content = (REQUIREMENTS / f"{name}.txt").read_bytes() + f"{stubs}{sys.version}".encode()
    return hashlib.sha256(content).hexdigest()


def _install(*what: str, python: Path) -> None:
    """Runs uv, or pip where there is no uv. A set names all that it depends on, so nothing is resolved."""
    uv = shutil.which("uv")
    if uv:
        command = [uv, "pip", "install", "--no-deps", "--python", str(python), *what]
    else:
        # What is never loaded is never compiled.
        pip = (str(python), "-m", "pip", "--disable-pip-version-check")
        command = [*pip, "install", "--no-deps", "--no-compile", *what]
    status, said = _run(command, for_uv() if uv else os.environ)
    if status != 0:
        reason = "".join(re.findall("^ERROR:.*\n", said, re.MULTILINE)) or said
        fail(
            f"{'uv' if uv else 'pip'} could not install what is needed:\n{reason}"
            "Is the network up? Run the command again."
        )


def for_uv() -> dict[str, str]:
    """The environment for uv: what is set for pip counts for it too, unless it has indexes of its own."""
    if any(name in os.environ for name in UV_INDEXES):
        return dict(os.environ)
    settings = _pip_settings()
    known = {uvs: settings[pips] for pips, uvs in UV_NAMES.items() if pips in settings}
    return {**ALL_INDEXES, **known, **os.environ}


def _pip_settings() -> dict[str, str]:
    """What is set for pip: in its files, where there is a pip to read them, and above them in variables."""
    pip = shutil.which("pip3") or shutil.which("pip")
    listed = _run([pip, "config", "list"])[1] if pip else ""
    in_files = re.findall(r"^(?:global|install)\.([a-z-]+)=(\'.*\')$", listed, re.MULTILINE)
    settings = {name: ast.literal_eval(value) for name, value in in_files}
    for name, value in os.environ.items():
        if name.startswith("PIP_"):
            settings[name[4:].lower().replace("_", "-")] = value
    return {name: " ".join(value.split()) for name, value in settings.items()}


def _run(command: Sequence[str], environment: Mapping[str, str] = os.environ) -> tuple[int, str]:
    """Runs a program that does not outlive this one, whatever ends it. Returns its status, and what it said.

    On a terminal its newest line shows.
    """
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    said = []
    try:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                said.append(line)
                _show("muster: " + line[:70].strip())
        process.wait()
    finally:
        _show("")
        if process.poll() is None:
            _kill(process)
    return process.returncode, "".join(said)


def _kill(process: subprocess.Popen[str]) -> None:
    if os.name == "nt":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _show(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Two commands that are started at once must not both fill the .venv: the second waits.

    SQLite locks a file alike on every system, and its lock ends with the process, whatever kills that.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(contextlib.closing(sqlite3.connect(path, 0.2, isolation_level=None)))
            if not _lock(file):
                say(f"another command sets up {path.with_suffix('')}; this one waits")
                while not _lock(file):
                    pass
        except sqlite3.Error as e:
            fail(
                f"{path} cannot be written ({e}), and .venv beside it must be made or renewed: "
                "let the owner of that folder run the command once."
            )
        yield


def _lock(file: sqlite3.Connection) -> bool:
    try:
        file.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as e:
        if "locked" not in str(e):
            raise
        return False
    return True
