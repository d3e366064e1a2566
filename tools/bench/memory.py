"""What a device needs: bytes of flash, bytes of heap."""

from __future__ import annotations

import re
import secrets
import tempfile
from pathlib import Path

from tools.board import Board, BoardError
from tools.chaos.soak import Program
from tools.cloud import Cloud, Device
from tools.factory import littlefs, product
from tools.progress import Tell

from .figure import Figure
from .machine import library, run

KB = 1024
HEARTBEATS = 10_000
# A board's heap is looked for in steps of a kilobyte.
LEAST, MOST = 16, 512
EMPTY = {"/main.py": b"print('empty')\n"}
BOOT_S = 20


def measure(tell: Tell) -> list[Figure]:
    """The rows on flash and heap."""
    key = secrets.token_hex(8)
    devices = [Device("1234567890123", key, "SN", f"BENCH-{n}") for n in range(3)]
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name, Cloud(devices) as cloud:
        folder = Path(name)
        figures = on_flash()
        tell("memory: an agent in the heap")
        figures += agent(cloud, devices[0], folder)
        tell("memory: the smallest heap of a board")
        figures.append(smallest(cloud, devices[1], folder))
        tell(f"memory: {HEARTBEATS:,} heartbeats")
        figures.append(growth(cloud, devices[2], folder))
    return figures


def on_flash() -> list[Figure]:
    figures = []
    for what, clouds, target in (("China Mobile only", [], 20), ("all four clouds", product.CLOUDS, 36)):
        sizes = [len(product.compiled(path.read_bytes(), path.name)) for path in product.library(clouds)]
        found = f"{sum(sizes) / KB:.1f} KB in {len(sizes)} files"
        figures.append(Figure(f".mpy on flash: {what}", "", f"{target} KB", found, sum(sizes) <= target * KB))
    return figures


def agent(cloud: Cloud, device: Device, folder: Path) -> list[Figure]:
    ours = library(folder / "lib", [])
    config = device.config(cloud.url, roots=str(cloud.ca_pem))
    request = [config, str(folder / "credentials")]
    run("agent", request, [ours])  # enrols
    told = run("agent", request, [ours])
    kept = [size_of(ours / module) for module in told["kept"]]
    files = kept + [size_of(ours / module) for module in told["let go of"]]
    loaded = sum(files)
    ratio = told["agent"] / loaded
    return [
        Figure("import muster", "", "1 KB", f"{told['import']:,} bytes", told["import"] <= KB),
        Figure(
            "an Agent ready to report",
            "the .mpy files that it loads",
            "",
            f"{ratio:.2f} times: {told['agent'] / KB:.1f} KB, {loaded / KB:.1f} KB in {len(files)} files",
            None,
            "heap of the 64-bit VM, where a reference takes twice the bytes that it takes on an ESP32. It "
            "grows in steps: MicroPython doubles its table of names when that is full. What checks the "
            "configuration is loaded and let go of again: beside the other "
            f"{len(kept)} files alone it is {told['agent'] / sum(kept):.2f} times.",
        ),
    ]


def size_of(module: Path) -> int:
    file = module.with_suffix(".mpy")
    return (file if file.exists() else module / "__init__.mpy").stat().st_size


def smallest(cloud: Cloud, device: Device, folder: Path) -> Figure:
    config = device.config(cloud.url, wifi=[{"ssid": "muster-lab", "key": "password"}])
    whole = least_kb(folder, product.board_image(config, [cloud.ca_pem]), r"muster: reported")
    empty = least_kb(folder, littlefs.build(EMPTY, product.BLOCKS, 0), "empty")
    return Figure(
        "smallest heap: boot, enrol, report over TLS",
        "a board with an empty main.py",
        "",
        f"{whole} KB, {empty} KB",
        None,
        "the Python heap of the 64-bit virtual board, its own modules for the chip included; TLS memory "
        "is outside it.",
    )


def least_kb(folder: Path, image: bytes, success: str) -> int:
    """The kilobytes of heap from which on a board with this image comes so far."""
    low, high = LEAST, MOST
    while high - low > 1:
        middle = (low + high) // 2
        with tempfile.TemporaryDirectory(dir=folder) as flash:
            if comes_so_far(Board(Path(flash), image, heap=middle * KB), success):
                high = middle
            else:
                low = middle
    return high


def comes_so_far(board: Board, success: str) -> bool:
    try:
        with board:
            found = board.wait_for(re.compile(f"{success}|Error|>>> |warning"), timeout=BOOT_S)
    except BoardError:
        return False
    return re.fullmatch(success, found[0]) is not None


def growth(cloud: Cloud, device: Device, folder: Path) -> Figure:
    program = Program(cloud, device, folder)
    try:
        program.do("kept", 1)  # being asked leaves something in the heap, once
        first, _ = program.do("kept", 9)
        last, _ = program.do("kept", HEARTBEATS - 10)
    finally:
        program.end()
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
