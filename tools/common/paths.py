"""Where the project lies, and where its tools keep what must outlive a run."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def state_folder() -> Path:
    """A folder of the user's own."""
    return Path(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")) / "muster"
