"""How much flash the library takes."""

from __future__ import annotations

import json
from pathlib import Path

from tools.common.progress import Tell
from tools.factory import product

from .figure import Figure

KB = 1024
PACKAGE = product.ROOT / "chinamobile.json"
MOST, MOST_KB = 34_000, 54


def measure(tell: Tell) -> list[Figure]:
    """The rows on flash."""
    tell("size: the .mpy files")
    some, every = makers(), product.library(product.CLOUDS)
    small, large = size(some), size(every)
    return [
        Figure(
            f".mpy of all that {PACKAGE.name} installs",
            "",
            f"{MOST:,} bytes",
            f"{small:,} bytes in {len(some)} files",
            small <= MOST,
        ),
        Figure(
            ".mpy of all four clouds",
            "",
            f"{MOST_KB} KB",
            f"{large / KB:.1f} KB in {len(every)} files",
            large <= MOST_KB * KB,
        ),
    ]


def makers() -> list[Path]:
    """The sources that a maker of China Mobile's devices installs."""
    return [product.ROOT / source for _, source in json.loads(PACKAGE.read_text())["urls"]]


def size(sources: list[Path]) -> int:
    """The bytes of their .mpy files."""
    lib = product.ROOT / "lib"
    return sum(len(product.compiled(path.read_bytes(), str(path.relative_to(lib)))) for path in sources)
