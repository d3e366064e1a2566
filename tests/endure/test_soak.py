"""Ten thousand heartbeats of one device: does it hold more at the end than after the tenth?"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from devices import DEVICE, hourly
from endure.lab import newest, to_prompt
from endure.trials import Trial

from tools.bench.heartbeats import HEAP, TIMEOUT_S, Program
from tools.board import Board
from tools.cloud import Cloud
from tools.common.paths import ROOT
from tools.common.vm import find_micropython
from tools.factory.product import STATE, board_image

pytestmark = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")

HEARTBEATS, SHORT = 10_000, 120
ON_BOARD, ON_BOARD_SHORT = 500, 30
BATCH, BATCH_SHORT = 100, 36

# The smallest leak is 32 bytes of this VM's heap; once in a hundred heartbeats would be 3 KB at the end.
HEAP_SLACK = 1024
RESIDENT_SLACK_KB = 256

# What goes wrong with a call, at once.
QUICK: tuple[dict[str, Any], ...] = (
    {"status": 500},
    {"status": 503, "body": "<html>"},
    {"code": "500"},
    {"body": '{"code": "200", "data"'},
    {"delay": 0.02},
    {"connection": "close"},
    {"connection": "reset"},
    {"connection": "close", "after": 30},
    {"connection": "reset", "after": 30},
)
# What takes the device the whole time that it gives an exchange.
SLOW: tuple[dict[str, Any], ...] = ({"delay": 2 * TIMEOUT_S}, {"connection": "truncate"})
CERTIFICATES = ("expired", "not-yet-valid", "foreign", "misnamed")

BOARD_PROGRAM = b"""\
import gc
from __main__ import agent

def report(count):
    failed = 0
    until = agent.status()["reports"] + count
    while agent.status()["reports"] < until:
        try:
            agent.report()
        except Exception:
            failed += 1
    gc.collect()
    gc.collect()
    print("holds", gc.mem_alloc(), "failed", failed)
"""


@dataclass
class Held:
    """What a process holds: bytes of Python's heap, kilobytes of all its memory, open files, sockets."""

    heap: int
    resident: int = 0
    files: int = 0
    sockets: int = 0

    @classmethod
    def by(cls, pid: int, heap: int) -> Held:
        process = Path(f"/proc/{pid}")
        if not process.exists():
            return cls(heap)  # no Linux: the heap is all there is to see
        found = [os.readlink(entry) for entry in (process / "fd").iterdir()]
        match = re.search(r"RssAnon:\s*(\d+)", (process / "status").read_text())
        sockets = sum(name.startswith("socket:") for name in found)
        return cls(heap, int(match.group(1)) if match else 0, len(found), sockets)

    def compare(self, before: Held) -> Iterator[str]:
        if self.heap > before.heap + HEAP_SLACK:
            yield f"the heap grew from {before.heap:,} to {self.heap:,} bytes"
        if self.resident > before.resident + RESIDENT_SLACK_KB:
            yield f"the process grew from {before.resident:,} to {self.resident:,} KB"
        if (self.files, self.sockets) != (before.files, before.sockets):
            yield f"{before.files} files and {before.sockets} sockets became {self.files} and {self.sockets}"


def process_in(folder: Path) -> int:
    """The process whose working directory is there; 0 if this computer does not tell."""
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink() == folder:
                return int(link.parent.name)
    return 0


def batches(rng: random.Random, count: int) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """How to report, how often, under which fault of the clouds."""
    while True:
        how = rng.choice(("kept", "kept", "anew", "task"))
        yield how, count, {"share": 0.2, "one_of": QUICK}
        yield how, count // 4, {"one_of": SLOW, "times": 1}
        certificate = {"certificate": rng.choice(CERTIFICATES), "share": 0.5}
        yield rng.choice(("anew", "task")), count // 4, certificate
        yield "cancel", count // 4, {"share": 0.2, "one_of": QUICK}
        yield rng.choice(("kept", "anew")), count, {}


def secrets_of(files: Mapping[str, bytes]) -> tuple[str, str]:
    """What nobody must read in an output: the product's key, and the device's secret on its flash."""
    credentials = newest(files, "credentials")
    assert credentials is not None
    return DEVICE.product_key, credentials["deviceSecret"]


def soak(trial, cloud: Cloud, folder: Path, wanted: int, batch: int, library: Path = ROOT / "lib") -> None:
    """Reports under all kinds of faults, and compares what is held afterwards with what was held before."""
    with Program(cloud, DEVICE, folder, library) as program:
        program.do("task", 1)  # loads asyncio, which stays
        told = program.do("anew", 10)
        assert not told["errors"], "it cannot even begin"
        first = Held.by(program.pid, told["heap"])
        trial.cases = 1 + told["reports"]
        secrets = secrets_of({STATE + path.name: path.read_bytes() for path in folder.iterdir()})
        failed = 0
        for how, count, fault in batches(random.Random(trial.seed), batch):
            if trial.cases >= wanted - 10:
                break
            count = min(count, wanted - 10 - trial.cases)
            cloud.misbehave(**fault)
            told = program.do(how, count)
            trial.cases += told["reports"]
            failed += sum(told["errors"].values())
            wrong = {
                f"{told['reports']} of {count}": how != "cancel" and told["reports"] < count,
                "a secret stands in what went wrong": any(secret in str(told) for secret in secrets),
            }
            trial.failures += [f"{how} under {fault}: {what}" for what, so in wrong.items() if so]
        cloud.behave()
        told = program.do("anew", 10)
        last = Held.by(program.pid, told["heap"])
    trial.cases += told["reports"]
    trial.failures += [f"after {trial.cases} heartbeats {what}" for what in last.compare(first)]
    trial.note = (
        f"heap {first.heap:,} bytes after 10 heartbeats, {last.heap:,} after {trial.cases:,}; open files "
        f"{first.files} and {last.files}; {failed:,} more tries failed"
    )


def fetched(cloud: Cloud) -> int:
    return cloud.state()["devices"][0]["secretCount"]


def test_a_program_holds_no_more_after_thousands_of_heartbeats(trial, cloud, tmp_path):
    wanted, batch = (HEARTBEATS, BATCH) if trial.full else (SHORT, BATCH_SHORT)
    soak(trial, cloud, tmp_path, wanted, batch)
    assert trial.cases == wanted and fetched(cloud) == 1


def test_a_board_holds_no_more_after_hundreds_of_heartbeats(trial, cloud, tmp_path):
    """The same on LittleFS, in what is flashed, at its prompt."""
    wanted = ON_BOARD if trial.full else ON_BOARD_SHORT
    image = board_image(hourly(cloud), [cloud.ca_pem], more={"/soak.py": BOARD_PROGRAM})
    with Board(tmp_path, image, heap=2 * HEAP) as board:

        def report(count: int) -> Held:
            board.write(b"report(%d)\r" % count)
            heap = board.wait_for(re.compile(r"holds (\d+) failed"), timeout=120).group(1)
            board.wait_for(">>> ")
            trial.cases += count
            return Held.by(process_in(board.directory), int(heap))

        board.wait_for("reported")
        to_prompt(board)
        # The names in these stay in memory once they were loaded, which the first fault does.
        board.write(b"import muster.net.refusals, muster.clouds.refusals\r")
        board.wait_for(">>> ")
        board.write(b"from soak import report\r")
        first = report(10)
        cloud.misbehave(share=0.2, one_of=QUICK)
        report(wanted - 20)
        cloud.behave()
        last = report(10)
        secrets = secrets_of(board.files())
    trial.failures += [f"on a board, after {wanted} heartbeats, {what}" for what in last.compare(first)]
    if any(secret in board.output for secret in secrets):
        trial.failures.append("a secret stands on the board's console")
    assert fetched(cloud) == 1


# The trials can fail


def test_connections_that_are_not_closed_are_seen(cloud, tmp_path):
    library = tmp_path / "lib"
    shutil.copytree(ROOT / "lib", library)
    with (library / "muster" / "net" / "connection.py").open("a") as f:
        f.write("\n_left = []\nConnection.close = lambda self: _left.append((self._raw, self._buffer))\n")
    records = tmp_path / "records"
    records.mkdir()
    trial = Trial("soak", full=False, seed=1)
    soak(trial, cloud, records, 40, BATCH_SHORT, library)
    failures = "\n".join(trial.failures)
    assert "the heap grew" in failures and " sockets became" in failures


def test_what_is_held_afterwards_is_compared():
    before = Held(110_000, 4_000, 3, 0)
    assert list(Held(110_500, 4_100, 3, 0).compare(before)) == []
    assert len(list(Held(112_000, 5_000, 4, 1).compare(before))) == 3
