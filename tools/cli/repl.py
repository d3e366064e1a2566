"""python3 -m tools repl: a board's prompt."""

from __future__ import annotations

import subprocess
import sys

import click

from tools.common import options


@click.command()
@options.port
def repl(port: str | None) -> None:
    """Opens the board's prompt, by mpremote. Ctrl-] leaves it.

    Ctrl-C stops the agent and leaves it there as `agent`; Ctrl-D starts the board's program again. There
    agent.status() tells how the device is, what reset the board last, and what ended its program.

    Example: python3 -m tools repl
    """
    from tools.factory.ports import the_port
    from tools.factory.raw_repl import opened

    place = the_port(port)
    opened(place).close()
    if not sys.stdin.isatty():
        raise click.UsageError(
            "the prompt needs a terminal; for one command: .venv/bin/mpremote connect PORT exec COMMAND"
        )
    done = subprocess.run([sys.executable, "-m", "mpremote", "connect", place, "resume", "repl"])
    sys.exit(done.returncode)
