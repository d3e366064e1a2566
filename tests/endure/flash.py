"""muster.store.FileStore in the MicroPython VM, on a file system whose flash fails as it is told."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from tools.common import vm

PROGRAM = Path(__file__).parent / "vm" / "flash.py"
SOUND = {
    "erases": False,
    "cut_at": 0,
    "torn": 0.0,
    "fails": (0, 0),
    "errno": 0,
    "make": False,
    "path": "/state/record",
}


class Cut(Exception):
    """The power went."""


def on_flash(image: Path, kind: str, block: int, *do: tuple, **how: Any) -> dict:
    """What vm/flash.py tells of doing that, on flash that fails so."""
    request = {**SOUND, "image": str(image), "kind": kind, "block": block, "do": do, **how}
    done = vm.run(PROGRAM, stdin=json.dumps(request) + "\n", timeout=300)
    if how.get("cut_at") and done.returncode == -signal.SIGKILL:
        raise Cut
    if done.returncode != 0:
        raise RuntimeError(f"{PROGRAM.name} ended with status {done.returncode}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)
