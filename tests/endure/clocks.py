"""Clocks: boards that wake up in 2000, NTP that lies, clocks that are set, and the ends of several eras.

On virtual boards, with real NTP, real TLS and libfaketime under mbedTLS:
- a cold boot with NTP, without it, and with one that is ten years ahead, ten years behind, or a month ahead
- a clock that is set back and forth while the device runs
- a certificate that begins tomorrow, and one that ended yesterday
- all of it at the edges of 2034, 2036, 2038, 2068 and 2106 (in full): a platform, NTP and a board there

In MicroPython and in CPython, on a time that tests/endure/vm/clocks.py holds in its hands, with the epochs of
1970 and 2000: weeks across the wrap of 30-bit ticks, reboots, jumps, silence, and each of these edges.

And by reading the code: no time passes through a float.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tools.board import Board, BoardError
from tools.cli.verdict import SEED, Verdict
from tools.cloud import Cloud, Device
from tools.cloud.ntp import Ntp
from tools.common.paths import ROOT
from tools.common.records import newest
from tools.common.vm import find_faketime, find_micropython, preload
from tools.factory.product import board_image

VM = Path(__file__).parent / "vm" / "clocks.py"
LIB = ROOT / "lib"
PRODUCT, KEY, NUMBER = "1234567890123", "pr0ductk3y", "AI-0001"
DAY_S, YEAR_S = 86400, 365 * 86400
Y2000 = 946684800
RIGHT_S = 3  # a clock is right within this: a Date is a second coarse
PERIOD_S = 2
BOOT_S = 10
RETRY_S = 40  # the first backoff is at most 30 s

# The seconds at which a counter of somebody's ends, and what of it.
EDGES = {
    Y2000 + (1 << 30): "30 bits since 2000",
    (1 << 32) - 2208988800: "NTP's 32 bits",
    1 << 31: "31 bits since 1970",
    Y2000 + (1 << 31): "31 bits since 2000",
    4107542400: "the leap day that 2100 does not have",
    1 << 32: "32 bits since 1970",
}
SCENARIOS = ("days", "reboots", "jumps", "silence")
START = 1893456000  # 2030

JUMPS, JUMPS_SHORT = 60, 24  # by each of six distances, to and fro

# Where times are made, kept and compared.
TIMED = ("agent", "schedule", "clock", "ntp", "store", "net/wait", "net/aio", "http", "net/connection")
# Durations, of at most a second.
FLOATS = {
    "agent: time.sleep(min(pause, 1))",
    "agent: await asyncio.sleep(min(pause, 1))",
    "net/wait: NAP_S = 0.02",
    "net/wait: time.sleep(NAP_S)",
    "net/aio: await asyncio.sleep(0 if wanted is TURN else NAP_S)",
    "net/aio: waker = loop.call_later(SLICE_MS / 1000, ready.set)",
}

# Only in full.
LONG = ("NTP a month ahead", "a certificate of tomorrow, without NTP", "a clock that is set")

Trial = tuple[str, Callable[[], list[str]]]


def run(full: bool, tell: Callable[[str], None], seed: int = SEED) -> Verdict:
    verdict = Verdict("clocks")
    with tempfile.TemporaryDirectory(prefix="muster-clocks-") as folder, ThreadPoolExecutor(2) as pool:
        # The code first: two threads of CPython 3.11 must not parse at once, as those of boards would.
        trials: list[Trial] = [("the code", floats), *in_hand(full, Path(folder))]
        if find_micropython() is not None and find_faketime() is not None:
            trials += on_boards(full, Path(folder))
        else:
            verdict.note = "without boards: they need MicroPython and libfaketime"
        try:
            outcomes = [(name, pool.submit(trial)) for name, trial in trials]
            for name, outcome in outcomes:
                verdict.failures += [f"{name}: {wrong}" for wrong in outcome.result()]
                verdict.cases += 1
                tell(f"{verdict.cases} of {len(trials)}: {name}")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return verdict


# A time in hand


def in_hand(full: bool, folder: Path) -> Iterator[Trial]:
    machines = {"CPython": [sys.executable]}
    if (micropython := find_micropython()) is not None:
        machines["MicroPython"] = micropython.command
    edges = [*EDGES] if full else [*EDGES][:3]
    tasks = [(scenario, START) for scenario in SCENARIOS] + [("edge", edge - DAY_S) for edge in edges]
    for machine, command in machines.items():
        for epoch in (0, Y2000):
            for scenario, start in tasks:
                name = f"{machine}, epoch {1970 if epoch == 0 else 2000}, {scenario}"
                if scenario == "edge":
                    name += f" of {EDGES[start + DAY_S]}"
                task = {"scenario": scenario, "start": start, "epoch": epoch, "library": str(LIB)}
                task["jumps"] = JUMPS if full else JUMPS_SHORT
                task["folder"] = str(folder / f"{machine}-{epoch}-{scenario}-{start}")
                yield name, partial(live, command, task)


def live(command: list[str], task: dict[str, Any]) -> list[str]:
    done = subprocess.run(
        [*command, VM], input=json.dumps(task) + "\n", capture_output=True, text=True, timeout=120
    )
    if done.returncode != 0:
        return [f"it ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}"]
    return json.loads(done.stdout)


def floats(library: Path = LIB) -> list[str]:
    """Every line of the timed modules with a float in it, but those that are known."""
    found = set()
    for name in TIMED:
        source = (library / "muster" / f"{name}.py").read_text()
        lines = source.splitlines()
        for node in ast.walk(ast.parse(source)):
            if makes_floats(node):
                found.add(f"{name}: {lines[node.lineno - 1].strip()}")
    return [f"a time may pass through a float: {line}" for line in sorted(found - FLOATS)]


def makes_floats(node: ast.AST) -> bool:
    """A float literal, a true division, float(), anything.time(), any sleep()."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, float)
    if isinstance(node, (ast.BinOp, ast.AugAssign)):
        return isinstance(node.op, ast.Div)
    if isinstance(node, ast.Call):
        called = node.func
        name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        return name in ("float", "time", "sleep")
    return False


# Boards


@dataclass
class Scene:
    """A board of today, its platform and its NTP server."""

    board: Board
    cloud: Cloud
    ntp: Ntp
    calls: list[tuple[str, float]]  # the platform's, and when they came
    full: bool

    def comes_back(self) -> list[str]:
        """By itself, in full; else a boot saves the backoff's half a minute."""
        if not self.full:
            self.board.reset()
        self.board.wait_for("reported", RETRY_S)
        return clock_of(self.board)

    def not_called(self) -> list[str]:
        return [f"the platform was called for {name}" for name, _ in self.calls]


def on_boards(full: bool, folder: Path) -> Iterator[Trial]:
    for name, ahead, certificate, story in (
        ("a cold boot with NTP", 0, "good", reports_at_once),
        ("a cold boot without NTP", None, "good", reports_at_once),
        ("NTP ten years behind", -10 * YEAR_S, "good", reports_at_once),
        ("NTP a month ahead", 30 * DAY_S, "good", reports_at_once),
        ("NTP ten years ahead", 10 * YEAR_S, "good", does_without_ntp),
        ("a certificate of tomorrow", 0, "not-yet-valid", does_without_ntp),
        ("a certificate of tomorrow, without NTP", None, "not-yet-valid", believes_tomorrow_once),
        ("a certificate of yesterday", 0, "expired", waits_for_the_certificate),
        ("a clock that is set", 0, "good", minds_no_jumps),
        ("a clock that is set, without NTP", None, "good", minds_no_jumps),
    ):
        if full or name not in LONG:
            place = folder / name
            yield name, partial(on_a_board, place, story, ahead, certificate, full)
    if full:
        for edge, what in EDGES.items():
            yield f"a board over the edge of {what}", partial(over_the_edge, folder / str(edge), edge)


def on_a_board(
    place: Path, story: Callable[[Scene], list[str]], ahead: float | None, certificate: str, full: bool
) -> list[str]:
    """One story of a board that wakes up in 2000; ahead: NTP's time, None without NTP."""
    calls: list[tuple[str, float]] = []

    def hear(row: dict[str, Any]) -> None:
        calls.append((row["path"].rpartition("/")[2], time.monotonic()))

    device = Device(PRODUCT, KEY, "SN", NUMBER)
    with Cloud([device], on_call=hear) as cloud, Ntp(ahead or 0, silent=ahead is None) as ntp:
        cloud.misbehave(certificate=certificate)
        with board_of(place, cloud.url, cloud.ca_pem, ntp) as board:
            try:
                return story(Scene(board, cloud, ntp, calls, full))
            except BoardError as error:
                return [str(error)]


def reports_at_once(scene: Scene) -> list[str]:
    """And knows the time then, whatever NTP says."""
    scene.board.wait_for("reported", BOOT_S)
    wrong = clock_of(scene.board)
    scene.board.cut_power()
    names = [name for name, _ in scene.calls]
    if names[:2] != ["info", "report"]:
        wrong.append(f"the platform was called for {names}")
    last = newest(scene.board.files(), "schedule")["last"]
    if abs(last - time.time()) > RIGHT_S:
        wrong.append(f"its record says {last}, at {time.time():.0f}")
    return wrong


def does_without_ntp(scene: Scene) -> list[str]:
    """Refuses a certificate that does not fit NTP's time, and then believes that one and the Date."""
    scene.board.wait_for("its certificate was refused", BOOT_S)
    wrong = scene.not_called()
    if not scene.full:  # with NTP and the certificate right, after a boot
        scene.ntp.offset_s = 0
        scene.cloud.behave()
    return wrong + scene.comes_back()


def waits_for_the_certificate(scene: Scene) -> list[str]:
    """Refuses the wrong one, again and again, with NTP and without, and reports over the right one."""
    scene.board.wait_for("its certificate was refused", BOOT_S)
    wrong = clock_of(scene.board)
    if scene.full:
        scene.board.wait_for("its certificate was refused", RETRY_S)
    wrong += scene.not_called()
    scene.cloud.behave()
    return wrong + scene.comes_back()


def believes_tomorrow_once(scene: Scene) -> list[str]:
    """A boot that knows no time has to; the Date then sets the clock right, and from there on it refuses."""
    scene.board.wait_for("reported", BOOT_S)
    wrong = clock_of(scene.board)
    scene.board.wait_for("not valid yet", BOOT_S)
    return wrong + clock_of(scene.board)


def minds_no_jumps(scene: Scene) -> list[str]:
    """The reports go on as if nothing was."""
    jumps = (10 * YEAR_S, -10 * YEAR_S, 3600, -3600, 40 * DAY_S, -5) if scene.full else (10 * YEAR_S,)
    for jump in (0, *jumps):
        scene.board.wait_for("reported", BOOT_S)
        time.sleep(0.5)  # while an exchange lasts, it is the answer that sets the clock
        set_clock(scene.board, jump)
    scene.board.wait_for("reported", BOOT_S)
    at = [when for name, when in scene.calls if name == "report"]
    gaps = [after - before for before, after in itertools.pairwise(at)]
    # A whole second counts as one, and a busy computer takes its time.
    return [f"{gap:.1f} s between two reports" for gap in gaps if not PERIOD_S - 1 < gap < PERIOD_S + 4]


def over_the_edge(place: Path, edge: int) -> list[str]:
    """Platform, NTP and a cold board, from eight seconds before it to some after."""
    place.mkdir()
    ahead = edge - 8 - time.time()
    with (
        Ntp(ahead) as ntp,
        cloud_at(place, ahead) as url,
        board_of(place / "board", url, place / "ca.pem", ntp) as board,
    ):
        try:
            while time.time() + ahead < edge + 4:
                board.wait_for("reported", BOOT_S)
        except BoardError as error:
            return [str(error)]
        said = board.output
        board.cut_power()
        last = newest(board.files(), "schedule")["last"]
        wrong = clock_of(board, ahead)
    if not edge < last <= time.time() + ahead:
        wrong.append(f"its record says {last}, after the edge at {edge}")
    if "warning" in said:
        wrong.append(f"it said: {said[said.index('warning') :]}")
    return wrong


def board_of(place: Path, url: str, ca: Path, ntp: Ntp) -> Board:
    return Board(place, board_image(configuration(url, ntp), [ca]))


def configuration(url: str, ntp: Ntp) -> dict[str, Any]:
    wifi, server = [{"ssid": "muster-lab", "key": "password"}], f"{ntp.address[0]}:{ntp.address[1]}"
    often = {"period": PERIOD_S, "jitter": 0, "spread": 0, "deadline": 8}
    return Device(PRODUCT, KEY, "SN", NUMBER).config(url, wifi=wifi, ntp=[server], **often)


def offset_of(board: Board) -> float:
    """How far the board's clock is ahead of this computer's, in seconds."""
    return float((board.directory / "time").read_text())


def clock_of(board: Board, offset: float = 0) -> list[str]:
    """What is wrong with the board's clock, where the time is this computer's and offset seconds."""
    ahead = offset_of(board) - offset
    return [] if abs(ahead) < RIGHT_S else [f"its clock is {ahead:.0f} s ahead"]


def set_clock(board: Board, seconds: float) -> None:
    """Somebody sets the board's clock on by so much."""
    path = board.directory / "time"
    new = path.with_name("time-set")
    new.write_text(f"{offset_of(board) + seconds:+.6f}")
    new.rename(path)


@contextlib.contextmanager
def cloud_at(folder: Path, offset: float) -> Iterator[str]:
    """The clouds in a box in a process of another time."""
    faketime = find_faketime()
    assert faketime is not None
    (folder / "faketime").write_text(f"{offset:+.6f}")
    environment = dict(
        os.environ,
        PYTHONPATH=os.pathsep.join([str(ROOT), str(LIB)]),
        LD_PRELOAD=preload(faketime, folder),
        FAKETIME_TIMESTAMP_FILE=str(folder / "faketime"),
        FAKETIME_DONT_FAKE_MONOTONIC="1",
        TZ="UTC",
    )
    devices = folder / "devices.csv"
    devices.write_text(f"productId,productKey,deviceNoType,deviceNo\n{PRODUCT},{KEY},SN,{NUMBER}\n")
    command = [sys.executable, "-m", "tools.cli", "cloud", "--data", str(folder), "--devices", str(devices)]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "platform" in line:
                yield line.split()[-1]
                break
        else:
            raise BoardError("the platform did not start in another time")
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
