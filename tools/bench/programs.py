"""The programs of vm/, run in the VM with the library as a board has it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tools.common import vm
from tools.factory import product

PROGRAMS = Path(__file__).with_name("vm")
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


def run(program: str, request: object, paths: Iterable[Path], heap: int | None = None) -> Any:
    """What a program of vm/ prints last, as JSON; it is given the request as a line of JSON.

    paths: where it finds modules, the library first. heap: bytes of its Python heap.
    Raises RuntimeError if it fails.
    """
    return vm.ask(PROGRAMS / f"{program}.py", request, heap=heap, **_found(paths))


def least_heap(program: str, request: object, paths: Iterable[Path], most: int = 1 << 20) -> int:
    """The fewest bytes of Python heap, to within 256, in which a program of vm/ succeeds.

    One that says anything of memory, be it a warning, has not.
    """
    paths = list(paths)
    low, high = 0, most
    run(program, request, paths, most)
    line = json.dumps(request) + "\n"
    while high - low > STEP:
        middle = (low + high) // 2
        done = vm.run(PROGRAMS / f"{program}.py", stdin=line, heap=middle, **_found(paths))
        if done.returncode == 0 and "memory" not in (done.stdout + done.stderr).lower():
            high = middle
        else:
            low = middle
    return high


def _found(paths: Iterable[Path]) -> dict[str, Any]:
    """The library by a name as short as the board's /lib: every module has its path in the heap."""
    library, *others = paths
    return {"paths": [library.name, *others], "folder": library.parent}
