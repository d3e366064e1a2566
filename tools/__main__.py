"""Sets up .venv, then hands over to the command line.

This file runs on whatever Python a stranger has, before anything is installed:
only the standard library, and nothing newer than Python 3.10.
"""

import os
import signal

if __name__ == "__main__" and os.name != "nt":
    # While modules are loaded it would end in their tracebacks: Ctrl-C waits for tools/cli.py.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])

import contextlib
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.common.paths import ROOT

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
OLDEST = (3, 10)

# What the ESP32 port has, in the oldest and the newest MicroPython that lib/ is for. They stand for
# each other's modules, and for the standard library's, so each has a folder of its own.
STUBS = {
    "1.26": ["micropython-esp32-stubs==1.26.0.post1", "micropython-stdlib-stubs==1.26.0.post3"],
    "1.29": ["micropython-esp32-stubs==1.29.0.post1", "micropython-stdlib-stubs==1.29.0.post2"],
}


def fail(sentence: str) -> None:
    raise SystemExit(f"muster: {sentence}")


def interpreter(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def create(venv: Path) -> None:
    print(f"muster: setting up {venv} (once, a minute or so)", file=sys.stderr, flush=True)
    shutil.rmtree(venv, ignore_errors=True)
    with child(sys.executable, "-m", "venv", str(venv)) as made:
        said = made.stdout.read()
    if made.returncode != 0:
        shutil.rmtree(venv, ignore_errors=True)
        if "ensurepip" in said or "No module named venv" in said:
            fail(
                "this Python cannot make virtual environments. On Debian and Ubuntu:\n"
                f"  apt install python3-venv\nthen run the command again. ({sys.executable})"
            )
        fail(f"python -m venv {venv} failed:\n{said}")


def install(venv: Path) -> None:
    pip_install(venv, "--requirement", str(REQUIREMENTS))
    for version, packages in STUBS.items():
        pip_install(venv, "--no-deps", "--target", str(venv / "stubs" / version), *packages)


def pip_install(venv: Path, *what: str) -> None:
    """Runs pip, with its progress on one line."""
    errors = []
    with child(str(interpreter(venv)), "-m", "pip", "--disable-pip-version-check", "install", *what) as pip:
        for line in pip.stdout:
            if line.startswith("ERROR:"):
                errors.append(line)
            if line.startswith(("Collecting ", "Installing collected")):
                show("muster: " + line[:70].strip())
    show("")
    if pip.returncode != 0:
        reason = "".join(errors)
        fail(f"pip could not install what is needed:\n{reason}Is the network up? Run the command again.")


@contextlib.contextmanager
def child(*command: str) -> "Iterator[subprocess.Popen]":
    """Runs a program that does not outlive this one, whatever ends it."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield process
        process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()


def show(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def ready() -> Path:
    """The .venv's Python, made or renewed when the requirements or the Python changed."""
    venv = ROOT / ".venv"
    python = interpreter(venv)
    mark = venv / "muster-requirements"
    wanted = hashlib.sha256(
        REQUIREMENTS.read_bytes() + repr(STUBS).encode() + sys.version.encode()
    ).hexdigest()

    def made() -> bool:
        return python.exists() and mark.exists() and mark.read_text() == wanted

    if not made():
        with alone(ROOT / ".venv.lock"):
            if not made():
                create(venv)
                install(venv)
                mark.write_text(wanted)
    return python


@contextlib.contextmanager
def alone(path: Path) -> "Iterator[None]":
    """Two commands started at once must not both make the .venv: the second waits."""
    if os.name == "nt":
        yield
        return
    import fcntl

    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    try:
        lock = path.open("w")
    except OSError as e:
        fail(
            f"{path} cannot be written ({e.strerror}), and .venv beside it must be made or renewed: "
            "let the owner of that folder run the command once."
        )
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    if sys.version_info < OLDEST:
        have = ".".join(map(str, sys.version_info[:2]))
        fail(f"Python {OLDEST[0]}.{OLDEST[1]} or later is needed; this is {have} ({sys.executable}).")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    python = ready()
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "lib")]))
    command = [str(python), "-m", "tools.cli", *sys.argv[1:]]
    if os.name == "nt":
        sys.exit(subprocess.run(command, env=environment).returncode)
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
