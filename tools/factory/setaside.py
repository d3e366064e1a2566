"""What a device keeps, on this computer's disk while its flash is written anew."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from tools.common import files
from tools.common.paths import state_folder


def records(mac: str) -> dict[str, bytes]:
    """The records that an earlier flashing had read, and did not bring back. Raises ValueError."""
    path = _path(mac)
    try:
        return {name: bytes.fromhex(record) for name, record in json.loads(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as e:
        raise ValueError(
            f"{path}, which keeps the device's secret since it was last flashed, cannot be read: {e}. "
            "Mend it, or remove it to have the device fetch its secret anew."
        ) from None


@contextlib.contextmanager
def kept(mac: str, records: Mapping[str, bytes]) -> Iterator[None]:
    """Keeps the device's records on disk until its flash has them again: unless the block fails."""
    path = _path(mac)
    try:
        if records:
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, json.dumps({name: data.hex() for name, data in records.items()}))
        else:
            path.unlink(missing_ok=True)
    except OSError as e:
        raise ValueError(
            f"nothing was written, since what the device keeps could not be put aside for it: {e}"
        ) from None
    yield
    path.unlink(missing_ok=True)


def _path(mac: str) -> Path:
    return state_folder() / f"{mac.replace(':', '-')}.json"
