"""Ten thousand heartbeats of one device: does it hold more at the end than after the tenth?"""

from __future__ import annotations

import random
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tools.bench.heartbeats import HEAP, TIMEOUT_S, Held, Program
from tools.board import Board, BoardError
from tools.cli.verdict import SEED, Verdict
from tools.cloud import Cloud, Device
from tools.common.vm import find_micropython
from tools.factory.product import board_image

HEARTBEATS, SHORT = 10_000, 120
ON_BOARD, ON_BOARD_SHORT = 500, 30
BATCH, BATCH_SHORT = 100, 36

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


def batches(rng: random.Random, count: int) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """How to report, how often, under which fault of the clouds."""
    while True:
        how = rng.choice(("kept", "kept", "anew", "task"))
        yield how, count, {"share": 0.2, "one_of": QUICK}
        yield how, count // 4, {"one_of": SLOW, "times": 1}
        yield (
            rng.choice(("anew", "task")),
            count // 4,
            {"certificate": rng.choice(CERTIFICATES), "share": 0.5},
        )
        yield "cancel", count // 4, {"share": 0.2, "one_of": QUICK}
        yield rng.choice(("kept", "anew")), count, {}


def run(full: bool, tell: Callable[[str], None], seed: int = SEED) -> Verdict:
    """A device's program with a fixed heap under all kinds of faults; then a board, for some hundreds."""
    verdict = Verdict("soak")
    if find_micropython() is None:
        verdict.note = "not tried: there is no MicroPython for this computer"
        return verdict
    random.seed(seed)  # the box draws its faults from here
    rng = random.Random(seed)
    key = secrets.token_hex(8)
    devices = [Device("1234567890123", key, "SN", f"SOAK-{n}") for n in (1, 2)]
    with tempfile.TemporaryDirectory(prefix="muster-soak-") as folder, Cloud(devices) as cloud:
        in_program(verdict, cloud, devices[0], Path(folder), full, rng, tell)
        on_board(verdict, cloud, devices[1], Path(folder) / "board", full, tell)
        fetched = [device["secretCount"] for device in cloud.state()["devices"]]
    verdict.note = f"seed {seed}; {verdict.note}"
    if fetched != [1, 1]:
        verdict.failures.append(f"the secrets were fetched {fetched} times")
    return verdict


def in_program(
    verdict: Verdict,
    cloud: Cloud,
    device: Device,
    folder: Path,
    full: bool,
    rng: random.Random,
    tell: Callable[[str], None],
) -> None:
    wanted = HEARTBEATS if full else SHORT
    program = Program(cloud, device, folder)
    done, failed, shown = 0, 0, time.monotonic()
    try:
        program.do("task", 1)  # loads asyncio, which stays
        told, first = program.do("anew", 10)
        if told["errors"]:
            raise RuntimeError(f"it cannot even begin: {told['errors']}")
        done += 1 + told["reports"]
        for how, count, fault in batches(rng, BATCH if full else BATCH_SHORT):
            if done >= wanted - 10:
                break
            count = min(count, wanted - 10 - done)
            cloud.misbehave(**fault)
            told, held = program.do(how, count)
            done += told["reports"]
            failed += sum(told["errors"].values())
            if how != "cancel" and told["reports"] < count:
                verdict.failures.append(
                    f"{how} under {fault}: {told['reports']} of {count}: {told['errors']}"
                )
            if time.monotonic() - shown > 2:
                shown = time.monotonic()
                tell(f"soak: {done:,} of {wanted:,} heartbeats, {failed:,} tries failed; {held}")
        cloud.behave()
        told, last = program.do("anew", 10)
        done += told["reports"]
    except RuntimeError as e:
        verdict.failures.append(f"after {done} heartbeats {e}")
        return
    finally:
        verdict.cases += done
        program.end()
        cloud.behave()
    verdict.failures += [f"after {done} heartbeats {what}" for what in last.compare(first)]
    if leaks(cloud, device, program.said):
        verdict.failures.append("a secret stands in what went wrong")
    tell(f"soak: after 10 heartbeats {first}; after {done:,} {last}")
    verdict.note = (
        f"heap {first.heap:,} bytes after 10 heartbeats, {last.heap:,} after {done:,}; open files "
        f"{first.files} and {last.files}; {failed:,} more tries failed"
    )


def on_board(
    verdict: Verdict, cloud: Cloud, device: Device, folder: Path, full: bool, tell: Callable[[str], None]
) -> None:
    """The same on LittleFS, in what is flashed, at its prompt."""
    wanted = ON_BOARD if full else ON_BOARD_SHORT
    wifi = [{"ssid": "muster-lab", "key": "password"}]
    image = board_image(device.config(cloud.url, wifi=wifi), [cloud.ca_pem], more={"/soak.py": BOARD_PROGRAM})
    with Board(folder, image, heap=2 * HEAP) as board:

        def report(count: int) -> Held:
            board.write(b"report(%d)\r" % count)
            heap = board.wait_for(re.compile(r"holds (\d+) failed"), timeout=120).group(1)
            board.wait_for(">>> ")
            verdict.cases += count
            return Held.by(board.pid, int(heap))

        try:
            board.wait_for("reported")
            board.write(b"\x03")
            board.wait_for(">>> ")
            # The names in these stay in memory once they were loaded, which the first fault does.
            board.write(b"import muster.net.refusals, muster.clouds.refusals\r")
            board.wait_for(">>> ")
            board.write(b"from soak import report\r")
            first = report(10)
            cloud.misbehave(share=0.2, one_of=QUICK)
            report(wanted - 20)
            cloud.behave()
            last = report(10)
        except BoardError as e:
            verdict.failures.append(f"on a board: {e}")
            return
        finally:
            cloud.behave()
        verdict.failures += [f"on a board, after {wanted} heartbeats, {what}" for what in last.compare(first)]
        if leaks(cloud, device, board.output):
            verdict.failures.append("a secret stands on the board's console")
        tell(f"soak: on a board after 10 heartbeats {first}; after {wanted} {last}")


def leaks(cloud: Cloud, device: Device, text: str) -> bool:
    row = cloud._state.device(device.product_id, device.device_no)
    return device.product_key in text or (row is not None and row["device_secret"] in text)
