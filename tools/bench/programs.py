"""The real MicroPython VM: a program of vm/ in it, with the library as a board has it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tools.common.vm import find_micropython
from tools.factory import product

VM = Path(__file__).with_name("vm")
STEP = 256


def library(folder: Path, clouds: Sequence[str] = product.CLOUDS) -> Path:
    """Writes the .mpy files that a board with these clouds has below the folder; returns where."""
    for path in product.library(clouds):
        compiled(path, folder, path.relative_to(product.ROOT / "lib"))
    return folder


def compiled(source: Path, folder: Path, name: Path) -> None:
    """Writes the .mpy of a source file below the folder, as name with that suffix."""
    target = folder / name.with_suffix(".mpy")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(product.compiled(source.read_bytes(), str(name)))


def run(
    program: str, request: object, paths: Iterable[Path], heap: int | None = None, timeout: float = 120
) -> Any:
    """What a program of vm/ prints last, as JSON; it is given the request as a line of JSON.

    paths: where it finds modules, the library first. heap: bytes of its Python heap.
    Raises RuntimeError if it fails.
    """
    done = _started(program, request, paths, heap, timeout)
    if done.returncode != 0:
        raise RuntimeError(f"{program}.py ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
    return json.loads(done.stdout.splitlines()[-1])


def least_heap(program: str, request: object, paths: Iterable[Path], most: int = 1 << 20) -> int:
    """The fewest bytes of Python heap, to within 256, in which a program of vm/ succeeds.

    One that says anything of memory, be it a warning, has not.
    """
    paths = list(paths)
    low, high = 0, most
    run(program, request, paths, most)
    while high - low > STEP:
        middle = (low + high) // 2
        done = _started(program, request, paths, middle, 120)
        if done.returncode == 0 and "memory" not in (done.stdout + done.stderr).lower():
            high = middle
        else:
            low = middle
    return high


def _started(
    program: str, request: object, paths: Iterable[Path], heap: int | None, timeout: float
) -> subprocess.CompletedProcess[str]:
    micropython = find_micropython()
    if micropython is None:
        raise RuntimeError("there is no MicroPython for this computer: put one with LittleFS on PATH.")
    options = ["-X", f"heapsize={heap}"] if heap else []
    ours, *others = paths
    # By a name as short as the board's /lib: every module has its path in the heap.
    found = [ours.name, *map(str, others), ".frozen"]
    return subprocess.run(
        [*micropython.command, *options, VM / f"{program}.py"],
        input=json.dumps(request) + "\n",
        cwd=ours.parent,
        env=os.environ | {"MICROPYPATH": ":".join(found)},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
