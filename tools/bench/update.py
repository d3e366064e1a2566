"""What an update costs: bytes on the wire, flash operations, heap, flash for its code, and a signature."""

from __future__ import annotations

import hashlib
import secrets
import select
import socket
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import rsa

from tools.cloud import Cloud, Device
from tools.common import littlefs
from tools.common.progress import Tell
from tools.factory import keys, product, release

from .figure import Figure
from .memory import threshold
from .programs import least_heap, library, run
from .server import LoopbackServer
from .size import size

KB = 1024
HEAP = 32 << 20  # of the VM with a flash of 2 MB in it
VERIFIED = 25
PRODUCT, PRODUCT_KEY = "1234567890123", secrets.token_hex(8)
ONE = "/main.py"
MOVES = {"stage": "stage and commit", "move": "move", "confirm": "confirm", "back": "go back"}
# An earlier build of it: flash operations for each of 33 files, and bytes of .mpy.
EARLIER = {"stage": 792 / 33, "move": 105 / 33, "confirm": 47 / 33, "back": 62 / 33}
CODE, MOST_CODE = ("update", "staging", "manifest", "trial"), 7500
MOST_HEAP = 20 * KB


class Relay(LoopbackServer):
    """Carries connections to another server of this computer. bytes: how many it carried, both ways."""

    def __init__(self, url: str) -> None:
        super().__init__(self._carry)
        self.bytes = 0
        self._port = urlsplit(url).port

    def _carry(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            others = {client: server, server: client}
            while True:
                for end in select.select(list(others), [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    self.bytes += len(data)
                    others[end].sendall(data)


@dataclass(frozen=True)
class Taken:
    """An update of so many files: bytes on the wire, and what vm/update.py told."""

    files: int
    bytes: int
    told: Mapping[str, Any]


class UpdateBench:
    """Devices whose product is updated, the box that they report to, and the folder of its releases."""

    def __init__(self, folder: Path, cloud: Cloud, relay: Relay) -> None:
        self.folder, self.cloud, self.relay = folder, cloud, relay
        self.key = rsa.generate_private_key(65537, keys.BITS)
        self.builds = 0

    def device(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The configuration and the files of one more device."""
        self.builds += 1
        device = Device(PRODUCT, PRODUCT_KEY, "SN", f"UPDATE-{self.builds}")
        self.cloud.add_device(**vars(device))
        config = device.config(
            self.cloud.url, updates={"url": f"{self.relay.url}/release/{release.MANIFEST}"}
        )
        public = {"maker": keys.public_pem(self.key.public_key())}
        return config, product.board_files(config, {"ca": self.cloud.ca_pem}, keys=public)

    def release(self, files: Mapping[str, bytes], config: Mapping[str, Any]) -> str:
        """Offers these files. Returns the manifest."""
        folder, build = self.folder / "release", self.builds
        release.make(folder, self.key, files, config, f"1.{build}", build)
        return (folder / release.MANIFEST).read_text()

    def take(self, whole: bool) -> Taken:
        """Has a device take a release in which all is changed but the key, or one file."""
        config, before = self.device()
        after = changed(before) if whole else {**before, ONE: before[ONE] + b"\n"}
        token = self.release(after, config)
        differ = [path for path in after if after[path] != before[path]]
        image = self.folder / "flash.img"
        image.write_bytes(littlefs.build(before, product.BLOCKS, product.built()))
        there = self.relay.bytes
        request = [str(image), digests(before, differ), digests(after, differ), PRODUCT, token, VERIFIED]
        told = run("update", request, [library(self.folder / "lib", ["updates"])], HEAP)
        return Taken(len(differ), self.relay.bytes - there, told)

    def heaps(self) -> tuple[int, int, list[int]]:
        """The least heap of a device that reports, and of one that also takes a release in which all is
        changed; and what it holds after a report and after each of two looks for that release."""
        flash = self.folder / "flash"
        config, files = self.device()
        for path, data in {**files, "/state/none": b"", "/update/none": b""}.items():
            local = flash / path.lstrip("/")
            local.parent.mkdir(parents=True, exist_ok=True)
            local.write_bytes(data)
        self.release(changed(files), config)
        request = [str(flash), threshold()]
        ours = [flash / "lib"]
        held = run("memory_release", request, ours, 1 << 20)
        least = [least_heap(program, request, ours) for program in ("memory_report", "memory_release")]
        return least[0], least[1], held


def changed(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The product with every file changed, but for the key and the configuration."""
    same = (keys.FOLDER, release.CONFIG)
    return {path: data if path.startswith(same) else data + b"\n" for path, data in files.items()}


def digests(files: Mapping[str, bytes], paths: list[str]) -> dict[str, str]:
    return {path: hashlib.sha256(files[path]).hexdigest() for path in paths}


def measure(tell: Tell) -> list[Figure]:
    """The rows of this topic."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        folder = Path(name)
        (folder / "release").mkdir()
        with Cloud(release=folder / "release") as cloud, Relay(cloud.url) as relay:
            bench = UpdateBench(folder, cloud, relay)
            tell("update: a release that changes one file, and one that changes all")
            one, every = bench.take(False), bench.take(True)
            tell("update: the heap in which a device takes a release")
            heaps = bench.heaps()
    return [wire(one, every), flash(one, every), *heap(*heaps), code(), verification(every)]


def wire(one: Taken, every: Taken) -> Figure:
    return Figure(
        "bytes on the wire for an update",
        "",
        "",
        f"{one.bytes:,} for one file of {every.files}, {every.bytes:,} for all",
        None,
        "both ways, TLS and one handshake included",
    )


def flash(one: Taken, every: Taken) -> Figure:
    def words(taken: Taken) -> str:
        return ", ".join(f"{taken.told[move]} to {words}" for move, words in MOVES.items())

    most = {move: round(a_file * every.files) for move, a_file in EARLIER.items()}
    return Figure(
        "flash operations for an update",
        "",
        f"an earlier build's for {every.files} files: {' / '.join(map(str, most.values()))}",
        f"all {every.files} files: {words(every)}; one file: {words(one)}",
        all(every.told[move] <= most[move] for move in MOVES),
        "programs and erases of LittleFS as the ESP32 port mounts it; a trial also writes a byte a start",
    )


def heap(reports: int, takes: int, held: list[int]) -> list[Figure]:
    report, first, second = held
    return [
        Figure(
            "least heap to take a release, over that of a report",
            "",
            f"{MOST_HEAP:,} bytes",
            f"{takes - reports:,} bytes: {takes:,}, {reports:,}",
            takes - reports <= MOST_HEAP,
            "a product with updates in the 64-bit VM, as memory measures it; the release changes every file",
        ),
        Figure(
            "heap held after a release was fetched, over that before",
            "",
            "0 bytes",
            f"{second - first:,} bytes",
            second <= first,
            f"after the first since a start {first - report:,}: MicroPython keeps every name that it reads",
        ),
    ]


def code() -> Figure:
    with_it, without = set(product.library(["updates"])), set(product.library([]))
    muster = product.ROOT / "lib" / "muster"
    sizes = {name: size([muster / f"{name}.py"]) for name in CODE}
    other = size(list(with_it - without - {muster / f"{name}.py" for name in CODE}))
    every = size([muster / "last.py"]), size([muster / "safe.py"])
    return Figure(
        ".mpy of signed updates",
        "",
        f"{MOST_CODE:,} bytes",
        f"{sum(sizes.values()):,} bytes: {', '.join(f'{name} {size:,}' for name, size in sizes.items())}",
        sum(sizes.values()) <= MOST_CODE,
        f"a product with updates also has {other:,} bytes of what others have for tokens and streams; every "
        f"product has last, {every[0]:,}, and safe, {every[1]:,}",
    )


def verification(every: Taken) -> Figure:
    signature, manifest = (statistics.median(every.told[what]) / 1000 for what in ("signature", "manifest"))
    return Figure(
        "a manifest verified in the VM",
        "",
        "",
        f"{manifest:.1f} ms, of that {signature:.1f} ms its RS256 signature of {keys.BITS} bits",
        None,
        f"the median of {VERIFIED}",
    )
