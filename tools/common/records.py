"""What a device has written of its own onto its flash, read without the library's help.

The format is that of lib/muster/store.py: two slots, and in each CRC-32, sequence number, length, JSON.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

HEADER = struct.Struct("<IIH")


def newest(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """The newest whole record of that name, such as "credentials", among a board's files; {} without one."""
    found = {}
    for slot in (0, 1):
        raw = files.get(f"/state/{name}.{slot}", b"")
        if len(raw) >= HEADER.size:
            crc, sequence, length = HEADER.unpack_from(raw)
            end = HEADER.size + length
            if len(raw) >= end and zlib.crc32(raw[4:end]) == crc:
                found[sequence] = json.loads(raw[HEADER.size : end])
    return found[max(found)] if found else {}
