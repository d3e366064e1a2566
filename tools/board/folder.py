"""The folder of a virtual board: small files that its chip's modules and its supervisor share."""

from __future__ import annotations

import contextlib
from pathlib import Path

from filelock import FileLock, Timeout


class BoardError(RuntimeError):
    """The board cannot do what was asked of it; the text says why, and what it printed last."""


class BoardFolder:
    """One board's at a time; made when it is not there. Raises BoardError while another board has it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = FileLock(path / "lock", mode=0o600, thread_local=False)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise BoardError(
                f"{path} is in use by another board: stop that one, or give this one a folder of its own."
            ) from None

    def read(self, name: str) -> bytes | None:
        with contextlib.suppress(OSError):
            return (self.path / name).read_bytes()
        return None

    def write(self, name: str, data: str | bytes) -> None:
        put(self.path / name, data.encode() if isinstance(data, str) else data)

    def link(self, name: str, target: str) -> Path:
        """Makes name lead to target, whatever it led to before."""
        path = self.path / name
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        return path

    def forget(self, *names: str) -> None:
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def release(self) -> None:
        self._lock.release()


def put(path: Path, data: bytes) -> None:
    """Makes or replaces a file, whole or not at all. Only its owner may read it: it can hold keys."""
    part = path.with_name(path.name + "~")
    try:
        part.touch(mode=0o600)
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
