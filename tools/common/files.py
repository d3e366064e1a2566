"""Files that must not be lost, half written or read by others; and locks between commands that share one."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import FileLock


def write(path: Path, content: bytes | str, mode: int = 0o600) -> None:
    """Writes a file that is there whole, or as it was before: whatever fails, and after a power cut too.

    content: text becomes UTF-8. mode: by default only its owner reads it, where a system has modes.
    Raises OSError with a sentence that names the file.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)  # a device or a pipe, which must not be replaced
            return
        target = path.resolve()  # a link stays one
        file, part = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with open(file, "wb") as f:
                f.write(data)
                f.flush()
                os.fsync(file)
            os.chmod(part, mode)
            os.replace(part, target)
        except BaseException:
            os.unlink(part)
            raise
        sync_folder(target)
    except OSError as e:
        raise OSError(f"{path} cannot be written: {e.strerror or e}") from None


def read_secret(path: Path) -> bytes:
    """What stands in a file of secrets. Raises ValueError if others than its owner can reach it."""
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if os.name != "nt" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ValueError(
                f"{path} holds keys, and others than you can reach it (mode {stat.S_IMODE(mode):o}). "
                f"Close it, then give the command again:\n  chmod 600 {path}"
            )
        return file.read()


def is_tracked(path: Path) -> bool:
    """Whether git has the file, so that whoever gets the repository gets it. False where there is no git."""
    real = path.resolve()
    git = [
        "git",
        "--literal-pathspecs",
        "-C",
        str(real.parent),
        "ls-files",
        "--error-unmatch",
        "--",
        real.name,
    ]
    try:
        return subprocess.run(git, capture_output=True).returncode == 0
    except OSError:
        return False


def sync_folder(path: Path) -> None:
    """After this a power cut no longer takes away the name of a file that was made or renamed."""
    if os.name != "nt":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def lock(path: Path) -> FileLock:
    """The lock of a file, .NAME.lock beside it: acquire(timeout=0) raises TimeoutError where it is held.

    Raises OSError without the folder, which filelock would make.
    """
    if not path.parent.is_dir():
        raise OSError(f"{path} cannot be written: there is no folder {path.parent}")
    from filelock import FileLock  # every command loads this file, and few lock one

    return FileLock(path.with_name(f".{path.name}.lock"), thread_local=False)
