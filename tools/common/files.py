"""Files that hold secrets: only their owner reads them, and a file is there whole or as it was before."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Writes the file; raises OSError with a sentence that names it."""
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)  # a device or a pipe, which must not be replaced
            return
        target = path.resolve()  # a link stays one
        file, part = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with open(file, "wb") as f:
                f.write(content)
                f.flush()
                os.fsync(file)
            os.replace(part, target)
        except BaseException:
            os.unlink(part)
            raise
    except OSError as e:
        raise OSError(f"{path} cannot be written: {e.strerror or e}") from None
