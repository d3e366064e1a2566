"""The set-up page as a board serves it, made from firmware/setup.html.

The file is gzip with an empty end of 13 bytes: one more block, CRC-32 and size. The board sends what comes
before them, then what is live, in a block that is not compressed, and an end that fits (muster.portal.web).
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
import zlib
from pathlib import Path

MOST = 5120  # bytes as sent, with what the board adds
LIVE = 1160  # what it adds for twenty networks whose names have twelve bytes each
# What a buyer is told: states of the device, and the last two of the page.
STATES = (
    *("trying", "joined", "reached", "unreached", "refused", "absent", "silent", "failed", "busy"),
    *("scanning", "lost"),
)
LANGUAGES = ("zh", "en")

_GZIP = bytes.fromhex("1f8b08000000000002ff")  # no name and no time: the same page gives the same bytes
_EMPTY_BLOCK = bytes.fromhex("010000ffff")
_POLICY = 'Content-Security-Policy content="'
# What the board and a browser without JavaScript need of it, once each.
_NEEDED = ("<style>", "<script>", " method=post action=/", "name=name", "name=key", _POLICY + '"')
# What would be loaded from elsewhere, be markup made of a network's name, or end what the board goes on with.
_REFUSED = ("src=", "href=http", "url(", "@import", "innerHTML", "</form>", "</main>", "</body>", "</html>")


def built(page: Path) -> bytes:
    """The file /setup.html.gz. Raises ValueError if the page is too large or not as the board needs it."""
    text = _small(page.read_text("utf-8"))
    _check(text, page.name)
    policy = "default-src 'none';connect-src 'self';form-action 'self';base-uri 'none'"
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(_inside(text, kind).encode()).digest()).decode()
        policy += f";{kind}-src 'sha256-{digest}'"
    packed = _packed(text.replace(_POLICY, _POLICY + policy).encode())
    if len(packed) + LIVE > MOST:
        raise ValueError(
            f"{page.name}: the page takes {len(packed) + LIVE} bytes as sent, with twenty networks; "
            f"expected {MOST} at most: shorten its texts or its style."
        )
    return packed


def _small(text: str) -> str:
    """The page without comments and indentation. A comment in its script has a line of its own."""
    text = re.sub(r"(?s:<!--.*?-->|/\*.*?\*/)|^\s*//.*$", "", text, flags=re.MULTILINE)
    text = "\n".join(filter(None, map(str.strip, text.splitlines())))
    style = _inside(text, "style")
    return text.replace(style, re.sub(r'("[^"]*")|\s*([{};,])\s*|(?<=:)\s+', r"\1\2", style))


def _inside(text: str, tag: str) -> str:
    return text.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]


def _check(text: str, name: str) -> None:
    for needed in _NEEDED:
        if text.count(needed) != 1:
            raise ValueError(f"{name}: {needed!r} stands there {text.count(needed)} times; expected once.")
    for refused in _REFUSED:
        if refused in text:
            raise ValueError(f"{name}: {refused!r} stands there; the page must do without it.")
    for state in STATES:
        rule = re.search(rf"\[data-state={state}\]{{([^}}]*--[^}}]*)}}", text)
        for language in LANGUAGES:
            if not rule or not re.search(rf'--{language}:"[^"]+"', rule[1]):
                raise ValueError(f"{name}: the state {state!r} has no text --{language}; write one.")


def _packed(page: bytes) -> bytes:
    compress = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
    blocks = compress.compress(page) + compress.flush(zlib.Z_SYNC_FLUSH)
    return _GZIP + blocks + _EMPTY_BLOCK + struct.pack("<II", zlib.crc32(page), len(page))
