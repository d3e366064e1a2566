"""Packages from PyPI that one command needs for a while, and that not every computer can have."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps")


def install(packages: Sequence[str], folder: Path) -> bool:
    """Installs packages into the folder, without what they depend on; False if they cannot be had."""
    return subprocess.run([*PIP, "--target", folder, *packages], capture_output=True).returncode == 0
