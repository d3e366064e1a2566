"""The memory that TLS takes outside the heap, and what of it a closed session keeps."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.common import vm
from tools.common.paths import ROOT
from tools.common.progress import Tell

from .figure import Figure
from .programs import PROGRAMS
from .server import ACCEPTED, CannedServer

KB = 1024
ROOTS = ROOT / "firmware" / "roots"
# What malloc() keeps at hand for the next one who asks is not in use.
EXACT = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0"}


def measure(tell: Tell) -> list[Figure]:
    """The one row of this topic."""
    what, target = "native memory kept after close()", "0 bytes"
    if not measurable():
        return [Figure(what, "", target, "not measured", None, "that takes glibc, and .venv's MicroPython.")]
    tell("native: the memory of TLS")
    with tempfile.TemporaryDirectory(prefix="muster-native-") as name, CannedServer(ACCEPTED) as server:
        roots = Path(shutil.copytree(ROOTS, Path(name, "roots")))
        (roots / "ca.der").write_bytes(server.der)
        count = len(list(roots.iterdir()))
        told = kept(server.url, roots)
    return [
        Figure(
            what,
            "",
            target,
            f"{told['after']:,} bytes; {told['during'] / KB:.1f} KB before it",
            told["after"] <= 0,
            f"what the C library's malloc() has in use, before a session of {count} roots connects and after "
            "it is closed, the session still there; a session before that one has made what is made once.",
        )
    ]


def measurable() -> bool:
    return hasattr(ctypes.CDLL(None), "mallinfo2") and importlib.util.find_spec("micropython_run") is not None


def kept(url: str, roots: str | Path) -> dict[str, int]:
    """The bytes of native memory that a session takes "during" its connection, and "after" close()."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("malloc.py"), PROGRAMS / "native.py", url, roots],
        env=vm.variables() | EXACT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode != 0:
        raise RuntimeError(f"native.py ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
    return json.loads(done.stdout)
