"""The real MicroPython that runs on a laptop: where it is, and its clock."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Interpreter(NamedTuple):
    command: list[str]
    what: str


def find_micropython() -> Interpreter | None:
    """The MicroPython that boards run in: this .venv's, else one on PATH that has LittleFS, else None."""
    ours = Path(sys.executable).with_name("micropython")
    if importlib.util.find_spec("micropython_unix") and ours.exists():
        return Interpreter([str(ours)], f"MicroPython of {ours.parent.parent}")
    other = shutil.which("micropython")
    if other:
        needed = "import vfs; vfs.VfsLfs2; vfs.VfsPosix"
        if subprocess.run([other, "-c", needed], capture_output=True).returncode == 0:
            return Interpreter([other], f"MicroPython at {other}")
    return None


def choose_vm(wanted: str | None = None) -> str:
    """What a board runs in: "micropython" where there is one and nothing else is wanted, else "cpython"."""
    have = find_micropython() is not None
    if wanted == "micropython" and not have:
        raise RuntimeError(
            "no MicroPython was found for this computer: install one with VfsLfs2 as `micropython` "
            'on PATH, or use vm="cpython".'
        )
    return wanted or ("micropython" if have else "cpython")


def find_faketime() -> Path | None:
    """The library that gives the VM, mbedTLS included, a clock of its own."""
    spec = importlib.util.find_spec("libfaketime") if sys.platform == "linux" else None
    if spec is None or spec.origin is None:
        return None
    library = Path(spec.origin).with_name("vendor") / "libfaketime/src/libfaketime.so.1"
    return library if library.exists() else None


def preload(library: Path, folder: Path) -> str:
    """LD_PRELOAD for a process that starts in folder, by a link that is made there.

    A path with a blank in it cannot stand in LD_PRELOAD.
    """
    link = folder / "faketime.so"
    link.unlink(missing_ok=True)
    link.symlink_to(library)
    return f"./{link.name}"
