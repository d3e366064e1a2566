"""Runs the command line, once .venv is ready: see tools/__main__.py."""

import os
import sys

from tools.cli.completion import VARIABLE
from tools.cli.main import main

if __name__ == "__main__":
    # What a terminal's encoding does not have must not end a command.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    main(prog_name=os.environ.get("MUSTER_PROGRAM", "python3 -m tools"), complete_var=VARIABLE)
