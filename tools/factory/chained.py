"""A file that only grows: lines of JSON, each with a digest of all lines before it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.common.files import sync_folder

# Of a digest, which is there against mishaps and not against forgers.
DIGITS = 16


class ChainError(ValueError):
    """A line is damaged, or lines before it are missing; the text names the line."""


class ChainedLines:
    """Such a file, open. What append() was given is on disk when it returns, or at no time.

    ends: the digests up to each line. Lines of earlier versions have no digest, and stand first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ends: list[str] = []
        self._file = path.open("a+b", buffering=0)
        self._digest = hashlib.sha256()

    @property
    def end(self) -> str:
        """The digest of all lines so far."""
        return self._digest.hexdigest()[:DIGITS]

    def load(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each line: where it is, for people, and what it says. Raises ChainError."""
        self._file.seek(0)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            self._file.truncate(len(whole))  # cut off by a crash: nobody has been told what it says
        # Killed before its own fsync, a run leaves lines that a power cut could still take away.
        os.fsync(self._file.fileno())
        sync_folder(self.path)
        chained = False
        for number, line in enumerate(whole.splitlines(), 1):
            where = f"line {number} of {self.path}"
            entry = _parsed(line, where)
            chained = chained or "after" in entry
            if chained and entry.get("after") != self.end:
                raise ChainError(
                    f"{where} does not follow what stands before it: lines are missing or were changed, "
                    "which may say which board has which row; mend it from a copy"
                )
            self._take(line + b"\n")
            yield where, entry

    def append(self, entry: dict[str, Any]) -> None:
        """Raises OSError, and is closed then: only who opens it next finds out what is on disk."""
        if self._file.closed:
            raise ValueError(f"{self.path} is closed; open it again once it can be written")
        # A name of a file that is not UTF-8, say: its escape is JSON's too.
        text = json.dumps({**entry, "after": self.end}, ensure_ascii=False)
        line = text.encode("utf-8", "backslashreplace") + b"\n"
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            os.fsync(self._file.fileno())
        except BaseException:
            self.close()
            raise
        self._take(line)

    def close(self) -> None:
        self._file.close()

    def _take(self, line: bytes) -> None:
        self._digest.update(line)
        self.ends.append(self.end)


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
        if isinstance(entry, dict):
            return entry
    except ValueError:
        pass
    raise damaged(where)


def damaged(where: str) -> ChainError:
    return ChainError(f"{where} is damaged, and may say which board has which row; mend it from a copy")
