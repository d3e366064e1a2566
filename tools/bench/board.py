"""What a heartbeat costs the flash, and how long the product takes onto a board and onto a rack of them."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tools.board import Board
from tools.board.firmware import firmware
from tools.cloud import Device
from tools.common import boards, littlefs, vm
from tools.common.paths import ROOT
from tools.common.progress import Tell
from tools.factory.product import BLOCKS, board_files, board_image

from .figure import Figure, Turns, times
from .line import SlowLine
from .programs import PROGRAMS

BAUD = 460800
ROOTS = ("DigiCert_Global_Root_G2", "GlobalSign_Root_CA_-_R3", "CFCA_EV_ROOT")
DEVICE = Device("1234567890123", "k3yk3yk3yk3yk3y", "SN", "AI-0001")
CONFIG = DEVICE.config("https://127.0.0.1:9")
SECRET = {
    "deviceId": "1234567890123-0001-4f2a",
    "deviceNo": DEVICE.device_no,
    "productId": DEVICE.product_id,
    "deviceSecret": "s3cr3ts3cr3ts3cr3ts3cr3ts3cr3t",
}

HEARTBEATS = 300
MOST_PROGRAMS = 3

TURNS = 3
SAMPLE = 5  # ampy takes more than a second for every file
AS_MPREMOTE, AS_AMPY = 5, 20

RACK = 8
# Of MicroPython's firmware for the ESP32 about 1.1 MB go over the line; more of it would only make the wait
# that all boards share longer.
FIRMWARE = 250_000
AT_ONCE = 1.6


def measure(tell: Tell) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        bench = BoardBench(Path(folder))
        tell(f"board: {HEARTBEATS} heartbeats")
        figures = [flash_figure(bench.heartbeats(HEARTBEATS))]
        figures.append(written_figure(*bench.written(tell)))
        figures.append(rack_figure(*bench.racks(tell)))
        return figures


# Flash operations


def flash_figure(told: Mapping[str, Sequence[Sequence[int]]]) -> Figure:
    """From what board.py tells: each heartbeat's programs, erases and bytes in each way."""

    def usual(way: str) -> int:
        return int(statistics.median(programs + erases for programs, erases, _ in told[way]))

    def words(way: str) -> str:
        programs, erases, _ = (statistics.mean(numbers) for numbers in zip(*told[way], strict=True))
        most = max(programs for programs, _, _ in told[way])
        return f"{usual(way)} (mean {programs:.2f} programs and {erases:.2f} erases, at most {most} programs)"

    most = max(programs for programs, _, _ in told["agent"])
    return Figure(
        "flash operations for a heartbeat",
        "a JSON file rewritten each time",
        f"no more, and at most {MOST_PROGRAMS} programs",
        f"{words('agent')}, {words('rewrite')}; written aside and renamed {words('rename')}",
        usual("agent") <= usual("rewrite") and most <= MOST_PROGRAMS,
        f"LittleFS as the ESP32 port mounts it; a program is one call that it makes to write, of up to 128 "
        f"bytes. The median of {len(told['agent'])} heartbeats, then what the mean and the worst hold of "
        "LittleFS tidying its directory about every 30th time: two slots make that one program longer",
    )


# Onto a board


Way = tuple[float, int]  # seconds, and bytes on the line


class BoardBench:
    """The product and what it is put onto boards from, in a folder. baud: of every line."""

    def __init__(self, folder: Path, baud: int = BAUD) -> None:
        self.folder, self.baud = folder, baud
        self._boards = 0
        self._roots = [ROOT / "firmware" / "roots" / f"{name}.der" for name in ROOTS]
        (folder / "config.json").write_text(json.dumps({**CONFIG, "deviceNo": "auto", "cmei": ""}))
        self._options = ["--config", str(folder / "config.json")]
        self._options += [word for path in self._roots for word in ("--roots", str(path))]
        self.files = board_files(folder / "config.json", self._roots)
        for path, data in self.files.items():
            local = self.local(path)
            local.parent.mkdir(parents=True, exist_ok=True)
            local.write_bytes(data)

    def local(self, path: str) -> Path:
        return self.folder / "files" / path.lstrip("/")

    def heartbeats(self, count: int) -> dict[str, list[list[int]]]:
        """What board.py tells of so many heartbeats."""
        image = self.folder / "flash.img"
        image.write_bytes(board_image(self.folder / "config.json", self._roots))
        how = {"image": str(image), "config": CONFIG, "secret": SECRET, "heartbeats": count}
        return vm.ask(PROGRAMS / "board.py", how, heap=32 << 20)  # the agent's log stands before it

    def written(self, tell: Tell) -> tuple[list[dict[str, Way]], Way]:
        """The seconds and bytes of deploy, flash and mpremote, in turns; and of ampy."""
        turns = []
        for turn in range(TURNS):
            tell(f"board: the product onto a board, {turn + 1} of {TURNS}")
            ways = {"deploy": self.deploy(), "flash": self.flash(), "mpremote": self.mpremote()}
            turns.append({**ways, "cp -r": self.at_once()})
        tell(f"board: {SAMPLE} files by ampy")
        return turns, self.ampy()

    @contextlib.contextmanager
    def board(self, **how: object) -> Iterator[tuple[Board, SlowLine]]:
        self._boards += 1
        folders = {str(Path(path).parent) for path in self.files} - {"/"}
        empty = littlefs.build({"/boot.py": b"", **{f"{path}/.keep": b"" for path in folders}}, BLOCKS, 0)
        image = None if how else empty
        with Board(self.folder / f"board{self._boards}", image, **how) as board:  # type: ignore[arg-type]
            board.wait_for("download" if how else ">>> ")
            with SlowLine(board.port, self.baud) as line:
                yield board, line

    def deploy(self) -> Way:
        return self._by_ourselves("deploy", "--mpy")

    def flash(self) -> Way:
        return self._by_ourselves("flash", "--board", "ESP32_GENERIC", "--no-wait")

    def _by_ourselves(self, *command: str) -> Way:
        with self.board() as (board, line):
            seconds = tools(*command, *self._options, "--port", line.port)
            self.check(board, self.files)
            return seconds, line.bytes

    def mpremote(self) -> Way:
        return self._one_by_one(list(self.files), "mpremote", "connect", "{port}", "cp", "{local}", ":{path}")

    def at_once(self) -> Way:
        """All of it by one mpremote, which is what a person who knows it would do."""
        with self.board() as (board, line):
            started = time.monotonic()
            names = sorted(path.name for path in (self.folder / "files").iterdir())
            sources = [str(self.local(name)) for name in names]
            run([sys.executable, "-m", "mpremote", "connect", line.port, "cp", "-r", *sources, ":"])
            seconds = time.monotonic() - started
            self.check(board, self.files)
            return seconds, line.bytes

    def ampy(self) -> Way:
        """For all files, from some of every size."""
        by_size = sorted(self.files, key=lambda path: len(self.files[path]))
        sample = [by_size[(2 * n + 1) * len(by_size) // (2 * SAMPLE)] for n in range(SAMPLE)]
        seconds, count = self._one_by_one(sample, "ampy.cli", "--port", "{port}", "put", "{local}", "{path}")
        scale = len(self.files) / SAMPLE
        return seconds * scale, round(count * scale)

    def _one_by_one(self, paths: list[str], *command: str) -> Way:
        with self.board() as (board, line):
            started = time.monotonic()
            # What runs at every soft reset goes last, as a person would have it.
            for path in sorted(paths, key=lambda path: (path == "/boot.py", path)):
                words = [word.format(port=line.port, local=self.local(path), path=path) for word in command]
                run([sys.executable, "-m", *words])
            seconds = time.monotonic() - started
            self.check(board, {path: self.files[path] for path in paths})
            return seconds, line.bytes

    def check(self, board: Board, files: Mapping[str, bytes]) -> None:
        """Raises RuntimeError if the board does not have these files."""
        board.cut_power()
        there = board.files()
        wrong = [path for path in files if there.get(path) != files[path]]
        if wrong:
            raise RuntimeError(f"the board does not have {', '.join(wrong)} as sent")

    def racks(self, tell: Tell) -> tuple[float, float]:
        """The seconds to flash one bare board, and RACK at once."""
        app = os.urandom(FIRMWARE)
        (self.folder / "firmware.bin").write_bytes(firmware(boards.board_types()["ESP32_GENERIC"], app=app))
        tell("board: one board, bare")
        one = self.rack(1)
        tell(f"board: {RACK} bare boards at once")
        return one, self.rack(RACK)

    def rack(self, count: int) -> float:
        with contextlib.ExitStack() as stack:
            rack = []
            for n in range(count):
                mac = bytes.fromhex("240ac40000") + bytes([n])
                rack.append(stack.enter_context(self.board(bare=True, mac=mac)))
            ports = [word for _, line in rack for word in ("--port", line.port)]
            file = str(self.folder / "firmware.bin")
            flash = ["flash", "--board", "ESP32_GENERIC", "--no-wait", "--firmware", file]
            seconds = tools(*flash, *self._options, *ports)
            for board, _ in rack:
                self.check(board, self.files)
        return seconds


def tools(*command: str) -> float:
    """The seconds of python3 -m tools, given this."""
    started = time.monotonic()
    run([sys.executable, "-m", "tools.cli", *command])
    return time.monotonic() - started


def run(command: Sequence[str]) -> None:
    environment = vm.variables((ROOT, ROOT / "lib"))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[2:])} failed: {done.stdout[-500:]}{done.stderr[-500:]}")


def written_figure(turns: Sequence[Mapping[str, Way]], ampy: Way) -> Figure:
    """From the seconds and bytes of each way in each turn, and ampy's for all files."""
    middle = {way: statistics.median(turn[way][0] for turn in turns) for way in turns[0]}

    def words(way: str) -> str:
        return f"{way} {middle[way]:.1f} s ({turns[0][way][1] / 1000:.0f} KB on the line)"

    as_mpremote = Turns((turn["deploy"][0], turn["mpremote"][0]) for turn in turns).ratio
    as_ampy = ampy[0] / middle["deploy"]
    return Figure(
        "whole product written to a board",
        "files one by one with mpremote and with ampy",
        f"{AS_MPREMOTE} times as fast as mpremote, {AS_AMPY} as ampy",
        f"{times(as_mpremote)} as fast as mpremote, {times(as_ampy)} as ampy: {words('deploy')}, "
        f"{words('mpremote')}, ampy {ampy[0]:.0f} s ({ampy[1] / 1000:.0f} KB)",
        as_mpremote >= AS_MPREMOTE and as_ampy >= AS_AMPY,
        f"deploy, the counterpart onto a running board; every program's start included, over a line held to "
        f"{BAUD:,} baud both ways. {words('flash')} needs no running board. mpremote starts anew for each "
        f"file: of all files at once, {words('cp -r')}. ampy is scaled from {SAMPLE} files of every size",
    )


def rack_figure(one: float, eight: float) -> Figure:
    """From the seconds for one board and for RACK at once."""
    ratio = eight / one
    return Figure(
        f"{RACK} boards at once",
        "one board",
        f"within {AT_ONCE} times",
        f"{ratio:.2f} times: {eight:.1f} s, {one:.1f} s",
        ratio <= AT_ONCE,
        f"from the bare chip, {FIRMWARE // 1000} KB of firmware and the product, each board on a line of its "
        f"own held to {BAUD:,} baud; all virtual chips share this computer, {os.cpu_count()} cores, with "
        "esptool. A real firmware is four times as large, and the ratio nearer to 1",
    )
