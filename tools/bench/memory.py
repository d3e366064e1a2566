"""How much heap a device needs."""

from __future__ import annotations

import json
import re
import secrets
import tempfile
from pathlib import Path

from tools.cloud import Cloud, Device
from tools.common.progress import Tell
from tools.factory import product

from .figure import Figure
from .heartbeats import Program
from .programs import least_heap, library, run
from .server import ACCEPTED, CannedServer

KB = 1024
HEARTBEATS = 10_000
REPORT_HEAP, HELD = 84_000, 45_000


def measure(tell: Tell) -> list[Figure]:
    """The rows on the heap."""
    key = secrets.token_hex(8)
    devices = [Device("1234567890123", key, "SN", f"BENCH-{n}") for n in range(2)]
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name, Cloud(devices) as cloud:
        folder = Path(name)
        tell("memory: the heap in which a device enrols and reports")
        figures = [importing(folder), *report(cloud, devices[0], folder)]
        tell("memory: the heap for two POSTs")
        figures.append(posts())
        tell(f"memory: {HEARTBEATS:,} heartbeats")
        figures.append(growth(cloud, devices[1], folder))
    return figures


def importing(folder: Path) -> Figure:
    ours = library(folder / "lib", [])
    size = run("tokens_peer", {"module": "muster"}, [ours])["size"]
    return Figure("import muster", "", "1 KB", f"{size:,} bytes", size <= KB)


def report(cloud: Cloud, device: Device, folder: Path) -> list[Figure]:
    flash = folder / "flash"
    ours = library(flash / "lib", [])
    for name in ("roots", "state"):
        (flash / name).mkdir()
    (flash / "roots" / "ca.der").write_bytes(cloud.ca_der)
    (flash / "config.json").write_text(json.dumps(device.config(cloud.url)))
    request = [str(flash), threshold()]
    least = least_heap("memory_report", request, [ours])
    held = run("memory_report", request, [ours], 128 * KB)
    bare = "an Agent in the 64-bit VM without a board's modules, the library as .mpy, one root"
    return [
        Figure(
            "least heap to enrol and report over TLS",
            "",
            f"{REPORT_HEAP:,} bytes, goal 77,000",
            f"{least:,} bytes",
            least <= REPORT_HEAP,
            f"{bare}, boot.py's gc.threshold({threshold()}); in less, something is said of memory, be it a "
            "warning. A 32-bit board takes about 0.68 of it. TLS takes native memory outside the heap.",
        ),
        Figure(
            "heap held between heartbeats",
            "",
            f"{HELD:,} bytes",
            f"{held:,} bytes",
            held <= HELD,
            "the same program, after its report and gc.collect(). An Agent within twice its .mpy files is "
            "no target any more: what is packed there becomes references of 8 bytes here, twice an ESP32's.",
        ),
    ]


def threshold() -> str:
    """What boot.py gives gc.threshold()."""
    found = re.search(r"gc\.threshold\((.+)\)\n", (product.ROOT / "boot.py").read_text())
    if found is None:
        raise ValueError("boot.py has no gc.threshold()")
    return found[1]


def posts() -> Figure:
    with CannedServer(ACCEPTED) as server:
        least = least_heap("memory_posts", [server.url, server.ca], [product.ROOT / "lib"])
    return Figure(
        "least heap for two verified HTTPS POSTs, from source",
        "",
        "80 KB",
        f"{least / KB:.1f} KB",
        least <= 80 * KB,
        "micropython-lib's aiohttp is on no index that pip knows, so nothing stands beside it.",
    )


def growth(cloud: Cloud, device: Device, folder: Path) -> Figure:
    with Program(cloud, device, folder) as program:
        program.do("kept", 1)  # being asked leaves something in the heap, once
        first = program.do("kept", 9)
        last = program.do("kept", HEARTBEATS - 10)
    if last["errors"]:
        raise RuntimeError(f"heartbeats failed: {last['errors']}")
    grown = last["heap"] - first["heap"]
    return Figure(
        f"heap growth over {HEARTBEATS:,} heartbeats",
        "",
        "0 bytes",
        f"{grown:,} bytes: {last['heap'] / KB:.1f} KB after the last, as after the tenth",
        grown <= 0,
    )
