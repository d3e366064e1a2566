"""Where the tools keep what must outlive a run: a folder of the user's own."""

import os
from pathlib import Path


def folder() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")) / "muster"
