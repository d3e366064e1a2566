"""What goes onto a board: boot.py, main.py, the library, the configuration and the CA roots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.common import littlefs
from tools.common.paths import ROOT
from tools.factory.library import CLOUDS, built, compiled, data_files, library, released
from tools.factory.trust import Roots, root_files

# The vfs partition of the ESP32 port on 4 MB of flash.
BLOCKS = 512
STATE = "/state/"  # what the device itself wrote
CLOCK = "/lib/muster/clock.py"


def board_image(
    config: Mapping | Path,
    roots: Roots = (),
    before: Mapping[str, bytes] | None = None,
    more: Mapping[str, bytes] | None = None,
    blocks: int = BLOCKS,
    source: bool = False,
) -> bytes:
    """An image of the whole product, as board_files() collects it and as old as its newest source.

    before: the files that were on flash, of which the device's own records are kept. more: further files.
    """
    kept = {path: data for path, data in (before or {}).items() if path.startswith(STATE)}
    files = board_files(config, roots, source=source)
    return littlefs.build({**kept, **files, **(more or {})}, blocks, built())


def board_files(
    config: Mapping | Path, roots: Roots = (), root: Path = ROOT, source: bool = False
) -> dict[str, bytes]:
    """The files of a board: path -> content.

    config: the configuration, or the path of its JSON file. roots: see root_files(). source: .py in place of
    .mpy. Names that begin with "." stay out. Raises ValueError for a root that cannot be used, and for what
    does not compile.
    """
    content = _json(config) if isinstance(config, Mapping) else config.read_bytes()
    files = _read(root, [root / "boot.py", root / "main.py", *data_files(root)])
    sources = _read(root, library(_clouds(content), root))
    if CLOCK in sources:
        sources[CLOCK] = released(sources[CLOCK], root)
    if source:
        files |= sources
    else:
        with ThreadPoolExecutor() as pool:
            done = pool.map(compiled, sources.values(), [name.removeprefix("/lib/") for name in sources])
            files |= {name.removesuffix(".py") + ".mpy": mpy for name, mpy in zip(sources, done, strict=True)}
    return {**files, "/config.json": content, **root_files(roots)}


def _read(root: Path, paths: list[Path]) -> dict[str, bytes]:
    return {f"/{path.relative_to(root).as_posix()}": path.read_bytes() for path in paths}


def _json(config: Mapping) -> bytes:
    return json.dumps(config, ensure_ascii=False).encode()


def _clouds(config: bytes) -> list[str]:
    """The clouds that a configuration uses besides China Mobile; none where it does not say."""
    try:
        named = json.loads(config).get("clouds", [])
    except (ValueError, AttributeError):
        return []
    return [cloud for cloud in CLOUDS if cloud in named]
