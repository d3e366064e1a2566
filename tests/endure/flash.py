"""muster.store.FileStore in the MicroPython VM, on a file system whose flash fails as it is told."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tools.common.paths import ROOT
from tools.common.vm import find_micropython

PROGRAM = Path(__file__).parent / "vm" / "flash.py"
TIMEOUT_S = 300
SOUND = {
    "erases": False,
    "cut_at": 0,
    "torn": 0.0,
    "fails": (0, 0),
    "errno": 0,
    "make": False,
    "path": "/state/record",
}


def on_flash(image: Path, kind: str, block: int, *do: tuple, **how: Any) -> dict | None:
    """What vm/flash.py tells of doing that, on flash that fails so; None when its power was cut."""
    micropython = find_micropython()
    assert micropython is not None
    request = {**SOUND, "image": str(image), "kind": kind, "block": block, "do": do, **how}
    done = subprocess.run(
        [*micropython.command, PROGRAM],
        input=json.dumps(request) + "\n",
        env=os.environ | {"MICROPYPATH": f"{ROOT / 'lib'}:.frozen"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    if done.returncode == 0:
        return json.loads(done.stdout)
    if how.get("cut_at") and not done.stderr and not done.stdout:
        return None
    raise RuntimeError(f"{PROGRAM.name} ended with status {done.returncode}: {done.stdout}{done.stderr}")
