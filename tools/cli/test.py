"""python3 -m tools test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import click

from tools.common.extras import STUBS, need
from tools.common.paths import ROOT

# They mostly wait for each other's clocks and sockets: six at a time keep two cores busy. Neighbours stay
# together, since they share what a file of tests starts.
ALL = ("-n", "6", "--dist", "worksteal")
RUFF = {"format": ("ruff", "format", "--check", "."), "lint": ("ruff", "check", ".")}
BOARD = ("lib/muster", "boot.py", "main.py")


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--full", is_flag=True, help="Tries all that a device must outlive, with a fresh seed.")
@click.option("--port", help="Runs the library's tests on the board at this serial port, from its memory.")
@click.option(
    "--host", help="With --port: this computer's address, as the board reaches it, if none is found."
)
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED)
def test(full: bool, port: str | None, host: str | None, pytest_arguments: tuple[str, ...]) -> None:
    """Runs the formatter, the linter, the type checks and every test.

    With arguments, which go to pytest, it runs only what they choose.

    With --port it runs the library's tests on a board, with the library that is there. Nothing is written to
    its flash; in the end its own program starts again.

    \b
    Examples:
      python3 -m tools test
      python3 -m tools test --full
      python3 -m tools test tests/lib/test_jwt.py -k rs256
      python3 -m tools test --port /dev/ttyUSB0 -k jwt
    """
    if host and not port:
        raise click.UsageError("--host says nothing without --port: the board's.")
    need("test")
    os.chdir(ROOT)
    if port:
        sys.exit(run_pytest(*_on_board(port, host), *pytest_arguments, *_where(pytest_arguments)))
    passed = bool(pytest_arguments) or checks_pass()
    status = run_pytest(*(pytest_arguments or ALL), *(["--full"] if full else []))
    sys.exit(status or int(not passed))


def _on_board(port: str, host: str | None) -> list[str]:
    return ["--port", port, *(["--host", host] if host else [])]


def _where(pytest_arguments: tuple[str, ...]) -> list[str]:
    """The library's tests, unless the arguments name some."""
    named = any(Path(argument.split("::")[0]).exists() for argument in pytest_arguments)
    return [] if named else ["tests/lib"]


def checks_pass() -> bool:
    """Runs the checks at the same time, and shows what each found. Returns whether they found nothing."""
    checks = {title: _start(*command) for title, command in RUFF.items()}
    checks["types of tools"] = _start("mypy", "--ignore-missing-imports", "tools")
    checks |= {f"types of lib with MicroPython {version}": _start_for_board(version) for version in STUBS}
    passed = True
    for title, check in checks.items():
        said, _ = check.communicate()
        found = said if check.returncode else ""
        if title.startswith("types of lib"):
            found = _in_library(said)
        click.echo(f"{title}: {'failed' if found else 'passed'}\n{found}", nl=False)
        passed = passed and not found
    return passed


def _start(*command: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _start_for_board(version: str) -> subprocess.Popen[str]:
    """mypy with the stubs of the ESP32 port, which know what a board does not have."""
    stubs = str(Path(sys.prefix, "stubs", version))
    options = ("--no-site-packages", "--follow-imports", "silent", "--cache-dir", f".mypy_cache/{version}")
    return _start("mypy", *options, "--custom-typeshed-dir", stubs, *BOARD, MYPYPATH=stubs)


def _in_library(said: str) -> str:
    """What mypy found in the library; the stubs have faults of their own."""
    if "source files" not in said:
        return said
    return "".join(line for line in said.splitlines(True) if line.startswith(("lib", "boot", "main")))


def run_pytest(*arguments: str) -> int:
    """Runs pytest. Returns the exit status: 0, 1 failed, 2 called wrongly, 130 after Ctrl-C."""
    # Without bytecode each of the hundreds of processes that tests start would compile all of it anew.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    pytest = subprocess.Popen([sys.executable, "-m", "pytest", *arguments], env=environment)
    interrupted = []
    # pytest gets Ctrl-C from the terminal as well, and ends what it has started.
    signal.signal(signal.SIGINT, lambda *_: interrupted.append(True))
    signal.signal(signal.SIGTERM, lambda *_: pytest.terminate())
    status = pytest.wait()
    if interrupted:
        return 130
    return {0: 0, 4: 2}.get(status, 1)
