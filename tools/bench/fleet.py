"""`fleet import` of a large batch, beside one request for each device."""

from __future__ import annotations

import csv
import json
import multiprocessing
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import requests
from muster.clouds.baidu import Baidu

from tools.cloud import Cloud
from tools.common import vm
from tools.common.paths import ROOT
from tools.common.progress import Tell

from .figure import Figure, Turns, times

FEW, MANY = 10_000, 100_000
ALONE = 300  # a sample, since all of them one at a time take minutes
FASTER = 10
# What Python's allocator may differ by from run to run.
FLAT = 1.1


def measure(tell: Tell) -> list[Figure]:
    """Both against Baidu in the box, each in a process of its own, on a computer that the box shares."""
    with (
        Cloud() as cloud,
        tempfile.TemporaryDirectory(prefix="muster-bench-") as folder,
        process() as loop,
    ):
        keys = cloud.add_baidu_account("bench", "product", quota=10_000_000)
        operator = ImportingOperator(cloud, keys, Path(folder))

        def one_by_one(turn: int) -> float:
            tell(f"fleet: {ALONE} devices one at a time")
            prefix = f"alone-{turn}-"
            return loop.submit(one_at_a_time, cloud.url, str(cloud.ca_pem), keys, prefix).result() / ALONE

        tell(f"fleet: {FEW:,} devices")
        _, small = operator.imports(FEW)
        before = one_by_one(1)
        tell(f"fleet: {MANY:,} devices")
        seconds, large = operator.imports(MANY)
        after = one_by_one(2)
        arrived = sum(1 for _ in cloud.baidu_devices())
    expected = FEW + MANY + 2 * ALONE
    if arrived != expected:
        raise RuntimeError(f"{expected:,} devices were imported, and the box has {arrived:,}")
    return [figure(Turns([(seconds / MANY, before), (seconds / MANY, after)]), small, large)]


def process() -> ProcessPoolExecutor:
    """For those that go one at a time. Ctrl-C is for the parent: it ends this."""
    spawn, quiet = multiprocessing.get_context("spawn"), (signal.SIGINT, signal.SIG_IGN)
    return ProcessPoolExecutor(1, spawn, initializer=signal.signal, initargs=quiet)


def figure(turns: Turns, small: int, large: int) -> Figure:
    """From the seconds for a device, ours and alone, and the bytes of memory for FEW and for MANY."""
    rate, alone = 1 / turns.ours, 1 / turns.theirs
    memory = f"{small / 1e6:.0f} MB at {FEW:,}, {large / 1e6:.0f} MB at {MANY:,}"
    if not small:
        memory = "this computer does not tell what memory it takes"
    return Figure(
        f"fleet import of {MANY:,}",
        "one request at a time",
        f"{FASTER} times as fast, flat memory",
        f"{times(turns.ratio)} as fast: {rate:,.0f} devices a second, {alone:,.0f}; {memory}",
        None if not small else turns.ratio >= FASTER and large <= FLAT * small,
        f"ours is the whole command, its start included; {ALONE} are sent one at a time over one kept "
        "connection, signed by the same code, without that process's start",
    )


class ImportingOperator:
    """Somebody who gives `fleet import`, from a folder with a profile."""

    def __init__(self, cloud: Cloud, keys: Mapping[str, str], folder: Path) -> None:
        self._folder, self._batches = folder, 0
        self._profile = folder / "profile.toml"
        self._profile.touch(mode=0o600)
        table = {"base_url": cloud.url, **keys}
        lines = [f"ca = {json.dumps(str(cloud.ca_pem))}", "[baidu]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in table.items()]
        self._profile.write_text("\n".join(lines))

    def imports(self, count: int) -> tuple[float, int]:
        """The seconds and the bytes of memory that it takes to import so many new devices."""
        self._batches += 1
        batch = self._folder / f"{self._batches}.csv"
        with batch.open("w", newline="") as file:
            csv.writer(file).writerows([("ak", "sk"), *devices(f"{self._batches}-", count)])
        command = [sys.executable, "-m", "tools.cli", "fleet", "import"]
        command += ["--profile", str(self._profile), "--journal", f"{batch}.journal", str(batch)]
        environment = vm.variables((ROOT, ROOT / "lib"))
        with tempfile.TemporaryFile() as said:
            started = time.monotonic()
            running = subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT)
            memory = 0
            while running.poll() is None:
                memory = max(memory, peak(running.pid))
                time.sleep(0.02)
            seconds = time.monotonic() - started
            said.seek(0)
            if running.returncode != 0:
                raise RuntimeError(f"fleet import failed: {said.read().decode(errors='replace')[-500:]}")
        return seconds, memory


def peak(pid: int) -> int:
    """The most memory that a process has had so far, in bytes; 0 where the computer does not tell.

    What wait4() tells of a process counts in what its parent had when it began.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def devices(prefix: str, count: int) -> Iterator[tuple[str, str]]:
    return ((f"ak-{prefix}{n:06}", f"sk-{prefix}{n:06}") for n in range(count))


def one_at_a_time(url: str, ca: str, keys: dict[str, str], prefix: str) -> float:
    """The seconds for ALONE devices, as a script without this tool sends them."""
    with requests.Session() as session:
        session.verify, session.trust_env = ca, False
        baidu = Baidu(**keys, session=session, base_url=url)
        baidu.list()  # connects
        started = time.monotonic()
        for device in devices(prefix, ALONE):
            baidu.import_devices([device])
        return time.monotonic() - started
