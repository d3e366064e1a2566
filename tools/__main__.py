"""Sets up .venv, then hands over to the command line.

This file runs on whatever Python a stranger has, before anything is installed: only the standard library, and
nothing newer than Python 3.10.
"""

import os
import signal

if __name__ == "__main__" and os.name != "nt":
    # While modules are loaded it would end in their tracebacks: Ctrl-C waits for tools/cli/main.py.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])

import sys

if sys.version_info < (3, 10):  # noqa: UP036  (asked before a line that it could not read)
    have = sys.version.split()[0]
    sys.exit(f"muster: Python 3.10 or later is needed; this is {have} ({sys.executable}).")

import shlex
import subprocess
from pathlib import Path

from tools.common import extras
from tools.common.paths import ROOT


def ready() -> Path:
    """The .venv's Python, made or renewed when what the commands need, or the Python, has changed."""
    venv = ROOT / ".venv"
    if not extras.is_complete(venv, extras.COMMANDS):
        if os.name != "nt":
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        with extras.alone(ROOT / ".venv.lock"):
            if not extras.is_complete(venv, extras.COMMANDS):
                extras.say(f"setting up {venv} (once, less than a minute)")
                extras.create(venv)
                write_command(venv)
                extras.install(venv, extras.COMMANDS)
    return extras.interpreter(venv)


def write_command(venv: Path) -> None:
    """Writes the command `muster`. The Python that sets up .venv runs it, since it may have to renew that."""
    command = [sys.executable, str(ROOT / "tools" / "command.py")]
    scripts = extras.interpreter(venv).parent
    if os.name == "nt":
        (scripts / "muster.cmd").write_text(f"@{subprocess.list2cmdline(command)} %*\n")
    else:
        (scripts / "muster").write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        (scripts / "muster").chmod(0o755)


def main() -> None:
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
