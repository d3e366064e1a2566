"""Changed files onto a running board.

mpremote's transport, or ampy's, carries what the programs ask of the board. Every changed file is written
whole into a folder of its own and compared there. From then on it is an update that needs no trial: one
rename makes muster/trial.py the board's boot.py, which moves all files to their places, at once or, when the
power goes while it runs, at the next start. So a board has all of the old product or all of the new.
"""

from __future__ import annotations

import ast
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from muster import trial

from tools.factory import programs
from tools.factory.keys import FOLDER as KEYS
from tools.factory.library import OLDEST, PAGE
from tools.factory.product import board_files
from tools.factory.programs import LIBRARY, ROOTS
from tools.factory.raw_repl import RawRepl, literal

# Called with a file's path, how many of its bytes were sent, and those of all files.
Sent = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Changes:
    """What differs on a board. sent: path -> bytes. removed: paths. configured: whether it has a config.json.

    home: where the board takes muster from.
    """

    sent: dict[str, int]
    removed: list[str]
    configured: bool
    home: str

    @property
    def hidden(self) -> bool:
        """Whether the board takes muster from elsewhere, so that what was put there does not run."""
        return not self.home.startswith(LIBRARY)


def deploy(
    board: RawRepl,
    told: Sent,
    config: Path | None = None,
    roots: Sequence[Path] = (),
    mpy: bool | None = None,
    prune: bool = False,
    dry_run: bool = False,
    keys: Sequence[Path] = (),
    main: Path | None = None,
) -> Changes:
    """Puts the files that have changed onto a board, of which the program is stopped; see stopped().

    config, roots, keys: its own stay where none are given. mpy: .mpy or .py; None as the board has it.
    main: the program that becomes main.py; None for ours.
    prune: removes what is in /lib/muster, with roots in /roots, with keys in /keys, and should not be there;
    and the set-up page.
    Raises ValueError for a board that cannot take them, RuntimeError for what fails there, and Lost.
    """
    version = _check_version(board)
    if not dry_run:
        board.run(programs.CLEAN)
    block, free, parts, home, there = _survey(board)
    if mpy is None:
        mpy = any(path.startswith(LIBRARY) and path.endswith(".mpy") for path in there)
    has_keys = any(path.startswith(KEYS) for path in there)
    public = None if has_keys and not keys else keys
    files = board_files(config or parts, roots, source=not mpy, keys=public, main=main)
    if config is None:
        del files["/config.json"]
    _check_bytecode(files, version)
    ours = {LIBRARY: True, PAGE: True, ROOTS: bool(roots), KEYS: bool(keys)}
    pruned = tuple(folder for folder, given in ours.items() if prune and given)
    sent = sorted(path for path in files if there.get(path) != _digest(files[path]))
    gone = sorted(_gone(files, there, pruned))
    if not dry_run and (sent or gone):
        _check_room(files, sent, block, free)
        _stage(board, files, sent, _plan(files, sent, gone, there), told)
        _commit(board)
    configured = "/config.json" in {**files, **there}
    return Changes({path: len(files[path]) for path in sent}, gone, configured, home)


def _said(output: str) -> list[Any]:
    """The tuples that a program has printed, without the lines of the chip's own log between them."""
    try:
        return [ast.literal_eval(line) for line in output.splitlines() if line.startswith("(")]
    except (ValueError, SyntaxError):
        raise RuntimeError("the chip's log came in between what the board said: run deploy again.") from None


def _check_version(board: RawRepl) -> int:
    """The version of .mpy files that the board takes; raises ValueError if it is too old for muster."""
    [(name, version, mpy)] = _said(board.run(programs.IDENTIFY))
    if name != "micropython" or version[:2] < OLDEST:
        runs = f"{'MicroPython' if name == 'micropython' else name} {version[0]}.{version[1]}"
        oldest = f"MicroPython {OLDEST[0]}.{OLDEST[1]}"
        raise ValueError(f"the board runs {runs}, and muster needs {oldest} or later: flash that first.")
    return mpy & 0xFF


def _check_bytecode(files: Mapping[str, bytes], version: int) -> None:
    wrong = [p for p, data in files.items() if p.endswith(".mpy") and data[1:2] != bytes([version])]
    if wrong:
        raise ValueError(
            f"the board takes .mpy files of version {version}, and {wrong[0]} is none: deploy with --source, "
            "and with the source of your own in its place."
        )


def _survey(board: RawRepl) -> tuple[int, int, dict[str, Any], str, dict[str, str]]:
    """The board's block size, its free blocks, its configuration's parts, muster's home, path -> SHA-256."""
    (block, free, parts, home), *found = _said(board.run(programs.SURVEY))
    return block, free, parts, home, dict(found)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _gone(files: Mapping[str, bytes], there: Mapping[str, str], pruned: tuple[str, ...]) -> set[str]:
    """What is to be removed: in any case the .py that would be loaded in place of its .mpy.

    pruned: the folders in which nothing else stays.
    """
    gone = {path for path in there if path not in files and path.endswith(".py") and _other(path) in files}
    if pruned:
        gone |= {
            path for path in there if path not in files and (path.startswith(pruned) or _other(path) in files)
        }
    return gone


def _other(path: str) -> str:
    """The .mpy of a .py, and the reverse."""
    stem, suffix = os.path.splitext(path)
    return stem + {".py": ".mpy", ".mpy": ".py"}.get(suffix, "")


def _folders(sent: Sequence[str]) -> list[str]:
    return sorted({str(folder) for path in sent for folder in PurePosixPath(path).parents} - {"/"})


def _check_room(files: Mapping[str, bytes], sent: Sequence[str], block: int, free: int) -> None:
    """Raises ValueError when what is sent does not fit beside what is there."""
    # LittleFS keeps pointers in a file's blocks, pairs of blocks for folders, and wants some to move them.
    blocks = sum(len(files[path]) // (block - 8) + 1 for path in sent) + 2 * len(_folders(sent)) + 6
    if blocks > free:
        raise ValueError(
            f"the board's flash has {free * block // 1024:,} KB left, and {blocks * block // 1024:,} KB are "
            "needed until the new files have replaced the old. Nothing was changed: remove files of your own "
            "there, or give --mpy, which takes half the room."
        )


def _plan(
    files: Mapping[str, bytes], sent: Sequence[str], gone: Sequence[str], there: Mapping[str, str]
) -> bytes:
    """What muster/trial.py reads: the build, which is none, and a line for each file."""
    lines = ["0"]
    for i, path in enumerate(sent):
        how = "boot" if path == "/boot.py" else "moved" if path in there else "added"
        lines.append(f"{how} {len(files[path])} {i} {path}")
    lines += [f"removed 0 - {path}" for path in gone]
    return "".join(f"{line}\n" for line in lines).encode()


def _stage(board: RawRepl, files: Mapping[str, bytes], sent: Sequence[str], plan: bytes, told: Sent) -> None:
    """Writes what is sent beside what is there, and has it compared there."""
    staged = {str(i): files[path] for i, path in enumerate(sent) if path != "/boot.py"}
    staged |= {
        "boot.new": files["/boot.py"],
        "boot.stub": trial.STUB.encode(),
        "plan": plan,
        "trial.py": Path(trial.__file__).read_bytes(),
    }
    board.run(programs.STAGE.format(folders=_folders(sent)))
    total = sum(map(len, staged.values()))
    for parts, data in _chunks(staged, board.chunk):
        put(board, parts, data)
        last = parts[-1][0]
        told(sent[int(last)] if last.isdecimal() else "/boot.py", len(data), total)
    whole = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in staged.values()))
    if _said(board.run(programs.COMPARE.format(names=list(staged)))) != [(whole.hexdigest(),)]:
        raise RuntimeError(
            "what was sent arrived damaged, and nothing was changed: is the cable good? Run deploy again."
        )


def _chunks(staged: Mapping[str, bytes], size: int) -> Iterator[tuple[list[tuple[str, int]], bytes]]:
    """The files one behind the other, so many bytes at a time: (of which of them how many, the bytes)."""
    parts: list[tuple[str, int]] = []
    chunk = b""
    for name, data in staged.items():
        while len(chunk) + len(data) > size:
            room = size - len(chunk)
            yield [*parts, (name, room)], chunk + data[:room]
            parts, chunk, data = [], b"", data[room:]
        parts.append((name, len(data)))
        chunk += data
    yield parts, chunk


def put(board: RawRepl, parts: Sequence[tuple[str, int]], data: bytes) -> None:
    deflating = zlib.compressobj(9, zlib.DEFLATED, -programs.WINDOW)
    deflated = deflating.compress(data) + deflating.flush()
    board.run(b"write(%b, %b)" % (repr(parts).encode(), literal(deflated)))


def _commit(board: RawRepl) -> None:
    """Puts what was staged in its places: from here on a power cut does not stop it."""
    if _said(board.run(programs.COMMIT)) != [(False,)]:
        raise RuntimeError("the board could not move the new files to their places: flash its image anew.")
