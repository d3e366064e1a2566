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
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from devices import DEVICE, settings
from endure.lab import newest

from tools.board import Board, BoardError
from tools.cloud import Cloud
from tools.cloud.ntp import Ntp
from tools.common import vm
from tools.common.paths import ROOT
from tools.factory.product import board_image

IN_HAND = Path(__file__).parent / "vm" / "clocks.py"
LIB = ROOT / "lib"
DAY_S, YEAR_S = 86400, 365 * 86400
Y2000 = 946684800
RIGHT_S = 3  # a clock is right within this: a Date is a second coarse
PERIOD_S = 2  # of these boards
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
EDGES_BY_DEFAULT = 3
START = 1893456000  # 2030
JUMPS, JUMPS_SHORT = 60, 12  # by each of six distances, to and fro
NAP_S, NAP_S_SHORT = 60, 600  # the longest sleep between them

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

on_boards = pytest.mark.skipif(
    vm.find_micropython() is None or vm.find_faketime() is None,
    reason="no MicroPython or no libfaketime here",
)


# A time in hand


@pytest.mark.parametrize(
    ("scenario", "start"),
    [
        *(pytest.param(name, START, id=name) for name in ("days", "reboots", "jumps", "silence")),
        *(
            pytest.param(
                "edge", edge - DAY_S, id=what, marks=[pytest.mark.full] if n >= EDGES_BY_DEFAULT else []
            )
            for n, (edge, what) in enumerate(EDGES.items())
        ),
    ],
)
@pytest.mark.parametrize("epoch", [1970, 2000])
@pytest.mark.parametrize("on", vm.machines())
def test_the_agent_on_a_time_in_hand(trial, tmp_path, on, epoch, scenario, start):
    task = {
        "seed": trial.seed,
        "scenario": scenario,
        "start": start,
        "epoch": Y2000 if epoch == 2000 else 0,
        "jumps": JUMPS if trial.full else JUMPS_SHORT,
        "nap": NAP_S if trial.full else NAP_S_SHORT,
        "folder": str(tmp_path),
    }
    trial.tried(f"{on}, epoch {epoch}, {scenario} from {start}", vm.ask(IN_HAND, task, machine=on))


# The code


def floats(library: Path) -> list[str]:
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


def test_no_time_passes_through_a_float(trial):
    trial.tried("the code", floats(LIB))


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


def board_of(place: Path, cloud: Cloud | SimpleNamespace, ntp: Ntp) -> Board:
    config = settings(cloud, ntp=[f"{ntp.address[0]}:{ntp.address[1]}"])
    return Board(place, board_image(config, [cloud.ca_pem]))


def last_report(board: Board) -> int:
    schedule = newest(board.files(), "schedule")
    assert schedule is not None
    return schedule["last"]


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
def cloud_at(folder: Path, offset: float) -> Iterator[SimpleNamespace]:
    """The clouds in a box in a process of another time: their url and ca_pem."""
    faketime = vm.find_faketime()
    assert faketime is not None
    (folder / "time").write_text(f"{offset:+.6f}")
    environment = vm.variables([ROOT, LIB]) | vm.own_clock(faketime, folder) | {"TZ": "UTC"}
    devices = folder / "devices.csv"
    row = (DEVICE.product_id, DEVICE.product_key, "SN", DEVICE.device_no)
    devices.write_text(f"productId,productKey,deviceNoType,deviceNo\n{','.join(row)}\n")
    command = [sys.executable, "-m", "tools.cli", "cloud", "--data", str(folder), "--devices", str(devices)]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "platform" in line:
                yield SimpleNamespace(url=line.split()[-1], ca_pem=folder / "ca.pem")
                break
        else:
            raise BoardError("the platform did not start in another time")
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def reports_at_once(scene: Scene) -> list[str]:
    """And knows the time then, whatever NTP says."""
    scene.board.wait_for("reported", BOOT_S)
    wrong = clock_of(scene.board)
    scene.board.cut_power()
    names = [name for name, _ in scene.calls]
    if names[:2] != ["info", "report"]:
        wrong.append(f"the platform was called for {names}")
    last = last_report(scene.board)
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


STORIES = {
    # NTP's time, None without NTP; the platform's certificate
    "a cold boot with NTP": (0, "good", reports_at_once),
    "a cold boot without NTP": (None, "good", reports_at_once),
    "NTP ten years behind": (-10 * YEAR_S, "good", reports_at_once),
    "NTP a month ahead": (30 * DAY_S, "good", reports_at_once),
    "NTP ten years ahead": (10 * YEAR_S, "good", does_without_ntp),
    "a certificate of tomorrow": (0, "not-yet-valid", does_without_ntp),
    "a certificate of tomorrow, without NTP": (None, "not-yet-valid", believes_tomorrow_once),
    "a certificate of yesterday": (0, "expired", waits_for_the_certificate),
    "a clock that is set": (0, "good", minds_no_jumps),
    "a clock that is set, without NTP": (None, "good", minds_no_jumps),
}
LONG = ("NTP a month ahead", "a certificate of tomorrow, without NTP", "a clock that is set")


@on_boards
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] if name in LONG else []) for name in STORIES]
)
def test_a_board_that_wakes_up_in_2000(trial, tmp_path, name):
    ahead, certificate, story = STORIES[name]
    calls: list[tuple[str, float]] = []

    def hear(row: dict[str, Any]) -> None:
        calls.append((row["path"].rpartition("/")[2], time.monotonic()))

    with Cloud([DEVICE], on_call=hear) as cloud, Ntp(ahead or 0, silent=ahead is None) as ntp:
        cloud.misbehave(certificate=certificate)
        with board_of(tmp_path, cloud, ntp) as board:
            trial.tried(name, story(Scene(board, cloud, ntp, calls, trial.full)))


@on_boards
@pytest.mark.full
@pytest.mark.parametrize("edge", EDGES, ids=EDGES.values())
def test_a_board_over_the_edge(trial, tmp_path, edge):
    """Platform, NTP and a cold board, from eight seconds before it to some after."""
    ahead = edge - 8 - time.time()
    with (
        Ntp(ahead) as ntp,
        cloud_at(tmp_path, ahead) as cloud,
        board_of(tmp_path / "board", cloud, ntp) as board,
    ):
        board.wait_for("reported", BOOT_S)  # a busy machine may be past it already
        while time.time() + ahead < edge + 4:
            board.wait_for("reported", BOOT_S)
        said = board.output
        board.cut_power()
        last = last_report(board)
        wrong = clock_of(board, ahead)
    if not edge < last <= time.time() + ahead:
        wrong.append(f"its record says {last}, after the edge at {edge}")
    if "warning" in said:
        wrong.append(f"it said: {said[said.index('warning') :]}")
    trial.tried(EDGES[edge], wrong)


# The trials can fail


def test_what_went_wrong_in_a_scenario_is_told(tmp_path):
    library = tmp_path / "lib"
    shutil.copytree(LIB, library)

    def live():
        task = {"seed": 3, "scenario": "days", "start": START, "epoch": 0, "folder": str(tmp_path)}
        return vm.ask(IN_HAND, task, machine=vm.CPYTHON, paths=[library])

    assert live() == []
    clock = library / "muster" / "clock.py"
    with clock.open("a") as f:
        f.write("\n\ndef now():\n    return int(time.time()) + _EPOCH\n")
    assert "the clock is" in live()[0]
    clock.write_text("no Python")
    with pytest.raises(RuntimeError, match="SyntaxError"):
        live()


@pytest.mark.parametrize(
    "line", ["x = now / 2", "x = 1.5", "x = float(now)", "x = time.time()", "time.sleep(x)"]
)
def test_a_float_in_the_code_is_seen(line, tmp_path):
    shutil.copytree(LIB, tmp_path / "lib")
    with (tmp_path / "lib" / "muster" / "schedule.py").open("a") as f:
        f.write(f"\n\ndef later(now, time, x=None):\n    {line}\n")
    assert floats(tmp_path / "lib") == [f"a time may pass through a float: schedule: {line}"]
