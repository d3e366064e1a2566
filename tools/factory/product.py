"""What goes onto a board: boot.py, main.py, the library, the configuration, CA roots and releases' keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.common import littlefs
from tools.common.paths import ROOT
from tools.factory import page
from tools.factory.keys import Keys, key_files
from tools.factory.library import CLOUDS, OPTIONAL, PAGE, built, compiled, data_files, library, released
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
    keys: Keys = (),
    release: Mapping[str, bytes] | None = None,
    renamed: Mapping[str, str] | None = None,
    main: Path | None = None,
) -> bytes:
    """An image of the whole product, as board_files() collects it and as old as its newest source.

    before: the files that were on flash, of which the device's own records are kept. more: further files.
    renamed: path -> the path at which it lies instead.
    """
    kept = {path: data for path, data in (before or {}).items() if path.startswith(STATE)}
    files = board_files(config, roots, source=source, keys=keys, release=release, main=main)
    names = renamed or {}
    files = {names.get(path, path): data for path, data in {**files, **(more or {})}.items()}
    return littlefs.build({**kept, **files}, blocks, built())


def board_files(
    config: Mapping | Path,
    roots: Roots = (),
    root: Path = ROOT,
    source: bool = False,
    keys: Keys | None = (),
    release: Mapping[str, bytes] | None = None,
    main: Path | None = None,
) -> dict[str, bytes]:
    """The files of a board: path -> content.

    config: the configuration, or the path of its JSON file. roots: see root_files(). source: .py in place of
    .mpy. keys: see key_files(); None if the board has its own. release: the files of one; they are taken as
    they are, and only the configuration counts besides. main: the program that becomes main.py; the root's by
    default. Names that begin with "." stay out. Raises ValueError for a root, a key or a set-up page that
    cannot be used, and for what does not compile.
    """
    content = _json(config) if isinstance(config, Mapping) else config.read_bytes()
    if release is not None:
        return {**release, "/config.json": content}
    files = _read(root, [root / "boot.py", *data_files(root)])
    files["/main.py"] = (main or root / "main.py").read_bytes()
    parts = _parts(content)
    sources = _read(root, library(parts, root, main))
    if CLOCK in sources:
        sources[CLOCK] = released(sources[CLOCK], root)
    if source:
        files |= sources
    else:
        with ThreadPoolExecutor() as pool:
            done = pool.map(compiled, sources.values(), [name.removeprefix("/lib/") for name in sources])
            files |= {name.removesuffix(".py") + ".mpy": mpy for name, mpy in zip(sources, done, strict=True)}
    if "setup" in parts:
        files[PAGE] = page.built(root / "firmware" / "setup.html")
    public = {} if keys is None else key_files(keys)
    if keys is not None and ("updates" in parts) != bool(public):
        raise ValueError(
            'keys are given, and the configuration has no "updates": add it, or leave out --keys.'
            if public
            else 'the configuration has "updates", and a board needs a public key to know releases by: '
            "`release key` makes a pair; give its .pub.pem with --keys."
        )
    return {**files, "/config.json": content, **root_files(roots), **public}


def _read(root: Path, paths: list[Path]) -> dict[str, bytes]:
    return {f"/{path.relative_to(root).as_posix()}": path.read_bytes() for path in paths}


def _json(config: Mapping) -> bytes:
    return json.dumps(config, ensure_ascii=False).encode()


def _parts(config: bytes) -> list[str]:
    """What of library.PARTS a configuration uses besides China Mobile; none where it does not say."""
    try:
        settings = json.loads(config)
        clouds = settings.get("clouds", [])
    except (ValueError, AttributeError):
        return []
    return [cloud for cloud in CLOUDS if cloud in clouds] + [part for part in OPTIONAL if settings.get(part)]
