"""The terminals in which a person types the commands of a page."""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys

import pexpect
from click.testing import CliRunner

from tools.cli.main import Commands

TOOLS = "python3 -m tools "
END_S = 100  # of a command that has to end
PYTHON = shlex.quote(sys.executable)
SHELL = {"shell": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}


class Terminals:
    """Types commands in a folder, which stands for /tmp as well, and ends at last what still runs.

    They are typed as they stand, but for what must differ: `instead` has for each text what is here instead.
    """

    def __init__(self, folder):
        self.folder = folder
        self.typed = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.instead = {
            "/tmp/": f"{folder}/",
            "8443": str(self.port),
            "--count 5000": "--count 3",  # drawing so many labels takes a minute
            TOOLS: f"exec {PYTHON} -m tools.cli ",
            ".venv/bin/mpremote": f"exec {PYTHON} -m mpremote",
        }
        self._running = contextlib.ExitStack()

    def write(self, name, text):
        """Writes a file of a page."""
        (self.folder / name).write_text(self.here(text))

    def here(self, text):
        """The text of a page, with what is here instead."""
        written = "|".join(map(re.escape, self.instead))
        return re.sub(written, lambda found: self.instead[found[0]], text)

    def type(self, command):
        """Types a command, of which there are four kinds:

        - a cloud or a board runs until Ctrl-C: this returns when it says so, or where its set-up page is;
        - a prompt waits for what is typed at it: this returns its terminal, of pexpect;
        - another one of muster's ends, and runs in this process: to start Python for each takes longer;
        - any other is the shell's, and ends.

        What ends has to do so with status 0. This returns what it printed.
        """
        self.typed.append(command)
        if re.match(TOOLS + "(cloud|board) ", command):
            return self._start(command, "set-up page: http" if "--setup" in command else "Ctrl-C")
        if command.startswith(TOOLS + "repl "):
            return self._open(command)
        if command.startswith(TOOLS):
            arguments = shlex.split(self.here(command.removeprefix(TOOLS)))
            done = CliRunner().invoke(Commands(), arguments, prog_name=TOOLS.strip(), catch_exceptions=False)
            status, said = done.exit_code, done.output
        else:
            done = subprocess.run(self.here(command), **SHELL, timeout=END_S)
            status, said = done.returncode, done.stdout
        assert status == 0, f"{command}\n{said}"
        return said

    def _start(self, command, ready):
        process = subprocess.Popen(self.here(command), **SHELL)
        self._running.callback(end, process)
        said = ""
        while ready not in said:
            printed = process.stdout.readline()
            said += printed
            assert printed, f"{command}\n{said}it ended with status {process.wait()}"
        return said

    def _open(self, command):
        terminal = pexpect.spawn("/bin/sh", ["-c", self.here(command)], encoding="utf-8", timeout=END_S)
        self._running.callback(terminal.close, force=True)
        return terminal

    def __enter__(self):
        self._running.callback(os.chdir, os.getcwd())
        os.chdir(self.folder)
        return self

    def __exit__(self, *failure):
        return self._running.__exit__(*failure)


def end(process):
    """Types Ctrl-C, which is no failure."""
    process.send_signal(signal.SIGINT)
    try:
        said, _ = process.communicate(timeout=END_S)
    finally:
        process.kill()
    print(said)  # pytest shows it where the test fails
    assert process.returncode == 0, said
