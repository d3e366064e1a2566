"""What `board --setup` puts around a board: networks, and a product where none is given."""

from __future__ import annotations

import contextlib
import json
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.cloud import Cloud, Device

# Invented, like their passwords: one of each kind that a page meets.
AIR: tuple[dict, ...] = (
    {"ssid": "Home", "key": "letmein-2026", "rssi": -42, "channel": 6, "join_s": 2},
    {"ssid": "客厅", "key": "ketingmima", "rssi": -51, "channel": 11, "join_s": 2, "move_s": 2},
    {"ssid_hex": "书房".encode("gbk").hex(), "key": "shufangmima", "rssi": -58, "channel": 6, "join_s": 2},
    {"ssid": "Cafe", "rssi": -63, "channel": 6, "join_s": 2},
    {"ssid": "<script>alert(1)</script>", "key": "only-a-name", "rssi": -66, "channel": 1, "join_s": 2},
    {"ssid": "Mute", "key": "no-addresses", "rssi": -70, "channel": 6, "join_s": 2, "answers": False},
    {"ssid": "Attic", "key": "far-far-away", "rssi": -88, "channel": 6, "join_s": 2},
    {"ssid": "Cellar", "key": "out-of-sight", "rssi": -60, "channel": 6, "join_s": 2, "hidden": True},
)
REMARKS = {
    "客厅": "on another channel: the page loses the board for two seconds",
    "书房": "its name is GBK",
    "Cafe": "open",
    "<script>alert(1)</script>": "a name, and no more",
    "Mute": "its router gives no address",
    "Attic": "weak",
    "Cellar": "hidden: its name has to be typed",
}
TRY = "To try as well: a wrong password, a name that is not there, and the page without JavaScript."
WIDE = 0x2E80  # characters from here on take two columns
EXAMPLE = Device("1234567890123", secrets.token_hex(8), "SN", "AI-SPEAKER-0001")


@contextlib.contextmanager
def example() -> Iterator[tuple[Path, list[Path]]]:
    """The configuration of a product for homes, and its roots: files. Its platform is in a box meanwhile."""
    with tempfile.TemporaryDirectory(prefix="muster-setup-") as name, Cloud([EXAMPLE]) as cloud:
        config = Path(name, "config.json")
        key = secrets.token_hex(5).upper()
        config.write_text(json.dumps(EXAMPLE.config(cloud.url, setup={"key": key})))
        yield config, [cloud.ca_pem]


def told() -> str:
    """The networks of AIR with their passwords, and what to try."""
    lines = ["networks in reach, and their passwords:"]
    for network in AIR:
        name = network.get("ssid") or bytes.fromhex(network["ssid_hex"]).decode("gbk")
        width = 28 - sum(ord(character) >= WIDE for character in name)
        lines.append(f"  {name:<{width}}{network.get('key', ''):<16}{REMARKS.get(name, '')}".rstrip())
    return "\n".join([*lines, TRY])
