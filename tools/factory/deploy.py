"""Changed files onto a running board, and its prompt: python3 -m tools deploy, repl.

mpremote's transport, or ampy's, carries what the programs below ask of the board. Every changed file is
written whole into a folder of its own and compared there. Then one rename makes a program the board's boot.py
that moves all of them to their places, boot.py itself the last: it is run at once and, when the power goes
while it runs, at the next start. So a board has all of the old product or all of the new.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import os
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from tools.common.printable import printable
from tools.factory.product import CLOUDS, board_files
from tools.factory.raw_repl import VIA, Ampy, Lost, Mpremote, opened

OLDEST = (1, 26)
# Deflate's window there, as a power of two.
WINDOW = 12
# What ends a literal or the raw REPL takes for itself, and an octal digit behind it. Any other byte stands in
# MicroPython's source as it is (py/lexer.c: "so that we remain 8-bit clean").
NOT_LITERAL = re.compile(rb'([\0-\4\r\n"\\])(?=([0-7]?))')

STAGING = "/deploy~"
LIBRARY = "/lib/muster/"
ROOTS = "/roots/"

IDENTIFY = "import sys; i = sys.implementation; print((i.name, tuple(i.version), getattr(i, '_mpy', 0)))"

CLEAN = f"""
import os
try:
    for name in os.listdir("{STAGING}"):
        os.remove("{STAGING}/" + name)
    os.rmdir("{STAGING}")
except OSError:
    pass
"""

# Of the configuration only its clouds are told: it holds secrets.
SURVEY = f"""{CLEAN}
import hashlib, json
try:
    with open("/config.json") as f:
        named = json.loads(f.read().lstrip("\ufeff")).get("clouds", ())
except (OSError, ValueError, AttributeError):
    named = ()
try:
    import muster
    home = muster.__file__
except Exception:
    home = "{LIBRARY}"
print((os.statvfs("/")[0], os.statvfs("/")[3], [cloud for cloud in {CLOUDS} if cloud in named], home))

buffer = memoryview(bytearray(512))
def digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        n = f.readinto(buffer)
        while n:
            h.update(buffer[:n])
            n = f.readinto(buffer)
    return h.digest()

def look(path):
    try:
        if os.stat(path)[0] & 0x4000:
            for entry in os.ilistdir(path):
                look(path + "/" + entry[0])
        else:
            print((path, digest(path).hex()))
    except OSError:
        pass
for path in ("/boot.py", "/main.py", "/config.json", "/lib", "/roots"):
    look(path)
"""

STAGE = f"""
for folder in {{folders}}:
    try:
        os.mkdir(folder)
    except OSError:
        pass
os.mkdir("{STAGING}")

import deflate, io
def write(parts, deflated):
    data = memoryview(deflate.DeflateIO(io.BytesIO(deflated), deflate.RAW, {WINDOW}).read())
    for name, size in parts:
        with open("{STAGING}/" + name, "ab") as f:
            f.write(data[:size])
        data = data[size:]
"""

COMPARE = f"""
h = hashlib.sha256()
for name in {{names}}:
    h.update(digest("{STAGING}/" + name))
print((h.digest().hex(),))
"""

# It runs from any of its steps again, and never raises: after that, main.py would not be run.
FINISH = f"""\
import os
def move(old, new):
    try:
        os.rename(old, new)
    except OSError:
        pass
for i, path in enumerate({{sent}}):
    move("{STAGING}/%d" % i, path)
for path in {{gone}}:
    try:
        os.remove(path)
    except OSError:
        pass
move("{STAGING}/boot.py", "/boot.py")
try:
    os.rmdir("{STAGING}")
except OSError:
    pass
"""

COMMIT = f"""
os.rename("{STAGING}/finish.py", "/boot.py")
with open("/boot.py") as f:
    program = f.read()
exec(program)
print(("{STAGING[1:]}" in os.listdir("/"),))
"""


@click.command()
@click.option("--port", required=True, help="The board's serial port.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Configuration for the board; by default its own is left as it is.",
)
@click.option(
    "--roots",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="CA certificates, PEM or DER: a file or a folder, as often as needed; by default its own stay.",
)
@click.option(
    "--mpy/--source",
    default=None,
    help="The library as compiled files (.mpy), or as its sources; by default as the board has it.",
)
@click.option(
    "--via",
    type=click.Choice(tuple(VIA)),
    default="mpremote",
    show_default=True,
    help="What carries them; ampy is slower.",
)
@click.option(
    "--prune",
    is_flag=True,
    help="Removes what is in /lib/muster, and with --roots in /roots, and should not be there any more.",
)
@click.option("--dry-run", is_flag=True, help="Only tells what would be sent and removed.")
@click.option(
    "--reset/--no-reset",
    default=True,
    show_default=True,
    help="Starts the board anew in the end, or leaves it at its prompt.",
)
def deploy(
    port: str,
    config: Path | None,
    roots: tuple[Path, ...],
    mpy: bool | None,
    via: str,
    prune: bool,
    dry_run: bool,
    reset: bool,
) -> None:
    """Puts the files that have changed onto a running board, and resets it.

    The board compares them itself, by SHA-256. Its program stops meanwhile. What the device wrote, such as
    its secret, is not touched, nor are files that the product does not have. If the power goes, the board
    starts with all of the old files or all of the new ones.
    """
    if config is not None:
        from muster import config as configuration

        configuration.load(str(config))
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    started = time.monotonic()
    try:
        with _stopped(port, via, reset) as board:
            version = _check_version(board)
            block, free, clouds, home, there = _survey(board)
            if mpy is None:
                mpy = any(path.startswith(LIBRARY) and path.endswith(".mpy") for path in there)
            files = board_files(config or {"clouds": clouds}, roots, source=not mpy)
            if config is None:
                del files["/config.json"]
            _check_bytecode(files, version)
            sent = sorted(path for path in files if there.get(path) != _digest(files[path]))
            gone = sorted(_gone(files, there, prune, bool(roots)))
            if not dry_run and (sent or gone):
                _check_room(files, sent, block, free)
                _stage(board, files, sent, gone, console)
                _commit(board)
    except KeyboardInterrupt:
        click.echo("Stopped: the board has all of its files as they were, or all of the new ones.", err=True)
        sys.exit(130)
    _tell(console, files, sent, gone, dry_run, time.monotonic() - started)
    if "/config.json" not in {**files, **there}:
        click.echo("the board has no /config.json: give it one with --config, and --roots as well")
    if not home.startswith(LIBRARY):
        click.echo(
            f"the board takes muster from {printable(home)}, not from {LIBRARY}: what was put there does "
            "not run. Its firmware carries muster, or a file or a folder beside main.py has that name."
        )


@click.command()
@click.option("--port", required=True, help="The board's serial port.")
def repl(port: str) -> None:
    """The board's prompt, by mpremote. Ctrl-] leaves it.

    Ctrl-C stops the agent and leaves it there as `agent`; Ctrl-D starts the board's program again.
    """
    opened(port).close()
    if not sys.stdin.isatty():
        raise click.UsageError(
            "the prompt needs a terminal; for one command: .venv/bin/mpremote connect PORT exec COMMAND"
        )
    done = subprocess.run([sys.executable, "-m", "mpremote", "connect", port, "resume", "repl"])
    sys.exit(done.returncode)


@contextlib.contextmanager
def _stopped(port: str, via: str, reset: bool) -> Iterator[Mpremote | Ampy]:
    """A board whose program is stopped. In the end it starts again, if reset, whatever happened here."""
    with contextlib.ExitStack() as connected:
        try:
            board = VIA[via](port)
            connected.callback(board.close)
            yield board
        except Lost:
            raise
        except BaseException:
            # Nobody knows where in a line or in a program it was stopped: begin anew.
            connected.close()
            with contextlib.suppress(RuntimeError):
                again = Mpremote(port)
                again.run(CLEAN)
                again.close(reset)
            raise
        connected.pop_all()
        board.close(reset)


def _said(output: str) -> list[Any]:
    """The tuples that a program has printed, without the lines of the chip's own log between them."""
    try:
        return [ast.literal_eval(line) for line in output.splitlines() if line.startswith("(")]
    except (ValueError, SyntaxError):
        raise RuntimeError("the chip's log came in between what the board said: run deploy again.") from None


def _check_version(board: Mpremote | Ampy) -> int:
    """The version of .mpy files that the board takes; raises ValueError if it is too old for muster."""
    [(name, version, mpy)] = _said(board.run(IDENTIFY))
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


def _survey(board: Mpremote | Ampy) -> tuple[int, int, list[str], str, dict[str, str]]:
    """The board's block size, its free blocks, its clouds, muster's home, and path -> SHA-256."""
    (block, free, clouds, home), *found = _said(board.run(SURVEY))
    return block, free, clouds, home, dict(found)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _gone(files: Mapping[str, bytes], there: Mapping[str, str], prune: bool, roots: bool) -> set[str]:
    """What is to be removed: in any case the .py that would be loaded in place of its .mpy."""
    gone = {path for path in there if path not in files and path.endswith(".py") and _other(path) in files}
    if prune:
        ours = (LIBRARY, ROOTS) if roots else (LIBRARY,)
        gone |= {
            path for path in there if path not in files and (path.startswith(ours) or _other(path) in files)
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


def _stage(
    board: Mpremote | Ampy,
    files: Mapping[str, bytes],
    sent: Sequence[str],
    gone: Sequence[str],
    console: Console,
) -> None:
    """Writes what is sent beside what is there, and has it compared there."""
    moved = [path for path in sent if path != "/boot.py"]
    staged = {str(i): files[path] for i, path in enumerate(moved)}
    staged["boot.py"] = files["/boot.py"]
    staged["finish.py"] = FINISH.format(sent=moved, gone=list(gone)).encode()
    board.run(STAGE.format(folders=_folders(sent)))
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=sum(map(len, staged.values())))
        for parts, data in _chunks(staged, board.CHUNK):
            last = parts[-1][0]
            progress.update(task, description=moved[int(last)] if last.isdecimal() else "/boot.py")
            _put(board, parts, data)
            progress.advance(task, len(data))
    whole = hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data in staged.values()))
    if _said(board.run(COMPARE.format(names=list(staged)))) != [(whole.hexdigest(),)]:
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


def _put(board: Mpremote | Ampy, parts: Sequence[tuple[str, int]], data: bytes) -> None:
    deflating = zlib.compressobj(9, zlib.DEFLATED, -WINDOW)
    deflated = deflating.compress(data) + deflating.flush()
    literal = NOT_LITERAL.sub(lambda found: (b"\\%03o" if found[2] else b"\\%o") % found[1][0], deflated)
    board.run(b'write(%b, b"%b")' % (repr(parts).encode(), literal))


def _commit(board: Mpremote | Ampy) -> None:
    """Puts what was staged in its places: from here on a power cut does not stop it."""
    if _said(board.run(COMMIT)) != [(False,)]:
        raise RuntimeError("the board could not move the new files to their places: flash its image anew.")


def _tell(
    console: Console,
    files: Mapping[str, bytes],
    sent: Sequence[str],
    gone: Sequence[str],
    dry_run: bool,
    seconds: float,
) -> None:
    for path in sent:
        console.print(f"{len(files[path]):>9,}  {path}", markup=False)
    for path in gone:
        console.print(f"{'removed' if not dry_run else 'remove':>9}  {printable(path)}", markup=False)
    total = (
        f"{len(sent)} file{'' if len(sent) == 1 else 's'}, {sum(len(files[path]) for path in sent):,} bytes"
    )
    if not sent and not gone:
        click.echo("nothing to send: the board has it all")
    elif dry_run:
        click.echo(f"{total} to send")
    else:
        click.echo(f"{total} sent in {seconds:.1f} s")
