"""What the command `muster` in .venv runs: the same as python3 -m tools, from any folder."""

import os
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    os.environ["MUSTER_PROGRAM"] = "muster"
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    runpy.run_module("tools", run_name="__main__", alter_sys=True)
