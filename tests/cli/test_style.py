"""The formatter, the linter, and the stubs of the ESP32 port, which know what a board does not have."""

import os
import subprocess
import sys

import pytest

from tools.__main__ import STUBS
from tools.common.paths import ROOT


def run(*command, **environment):
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("command", ["format --check", "check"])
def test_ruff(command):
    done = run("ruff", *command.split(), ".")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("version", STUBS)
def test_library_uses_only_what_the_esp32_port_has(version):
    stubs = os.path.join(sys.prefix, "stubs", version)
    done = run("mypy", "--custom-typeshed-dir", stubs, "lib/muster", "boot.py", "main.py", MYPYPATH=stubs)
    assert "source files" in done.stdout, done.stdout + done.stderr
    # The stubs have faults of their own.
    errors = [line for line in done.stdout.splitlines() if line.startswith(("lib", "boot", "main"))]
    assert not errors, "\n".join(errors)
