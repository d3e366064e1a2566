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
    """The rows of this topic."""
    after = "native memory kept after close()", "", "0 bytes"
    during = "native memory of a session, its root alone on flash and among 13 others", "", "the same"
    if not measurable():
        why = "that takes glibc, and .venv's MicroPython."
        return [Figure(*row, "not measured", None, why) for row in (after, during)]
    tell("native: the memory of TLS")
    with tempfile.TemporaryDirectory(prefix="muster-native-") as name, CannedServer(ACCEPTED) as server:
        many = Path(shutil.copytree(ROOTS, Path(name, "roots")))
        (many / "ca.der").write_bytes(server.der)
        count = len(list(many.iterdir()))
        alone, among = kept(server.url, server.ca), kept(server.url, many)
    return [
        Figure(
            *after,
            f"{among['after']:,} bytes; {among['during'] / KB:.1f} KB before it",
            among["after"] <= 0,
            f"what the C library's malloc() has in use, before a session of {count} roots connects and after "
            "it is closed, the session still there; a session before that one has made what is made once.",
        ),
        Figure(
            *during,
            f"{alone['during'] / KB:.1f} KB and {among['during'] / KB:.1f} KB",
            among["during"] <= alone["during"],
            "measured in the same way; the first handshake of a session has found which root it is.",
        ),
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
