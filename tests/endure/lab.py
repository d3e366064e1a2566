"""Power cuts: at every flash operation of what a device does, and while it recovers from one."""

from __future__ import annotations

import json
import queue
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from endure.flash import on_flash

from tools.board import Board, BoardError
from tools.cli.verdict import SEED, Verdict
from tools.cloud import Cloud, Device
from tools.common import littlefs
from tools.common.paths import ROOT
from tools.common.vm import find_micropython
from tools.factory.product import BLOCKS, STATE, board_files, board_image, built

SECRET_INFO = "/v2/customer/device/secret/info"
REPORT = "/v2/customer/device/report"
PRODUCT, KEY = "1234567890123", "pr0ductk3y"

REPORTED = re.compile("muster: reported")
DUE = re.compile("muster: the next report is due")
TIMEOUT_S = 30
HOURLY = {"period": 3600, "deadline": 7200}
# Of a device that is always due again by the time it has booted.
RESTLESS = {"period": 1, "deadline": 8}

# The part of a cut operation that is still done: 1 is a cut right after it.
ALWAYS = (1.0, 0.5)
MORE = (0.0, 0.03, 0.25, 0.75, 0.97)
BOARDS = 2
SAMPLE = 3  # of a scenario's operations, in the short form
DEEP = 60
# LittleFS tidies up a directory's log after some thirty heartbeats.
AGES = 34

# What a maker's own program does with Coze: a token bought, kept, and bought anew once it has expired.
TALK = b"""\
import json, time
from muster import http
from muster.clouds.coze import Coze

with open("/coze.json") as f:
    known = json.load(f)
coze = Coze(http.Session(), known["client_id"], known["key_id"], known["private_key"],
            duration_s=61, base_url=known["base_url"])
tokens = [coze.access_token(), coze.access_token()]
time.sleep(3)
tokens.append(coze.access_token())
print("renewed", len(set(tokens)) > 1)
"""

Cut = tuple[int, float]


@dataclass(frozen=True)
class Scenario:
    """Something that a device does, from the flash before it.

    old: the credentials on that flash; new: those that it must have in the end. act: does it on a board that
    was switched on and says whether the power lasted; without it, booting is all. products: what may be on
    flash besides the device's own records after a deploy.
    """

    name: str
    flash: bytes
    old: dict | None
    new: dict
    operations: int = 0
    act: Callable[[Board], bool] | None = None
    products: Sequence[Mapping[str, bytes]] = ()


@dataclass
class Kept:
    """What is on flash, read as a stranger would."""

    files: dict[str, bytes]
    credentials: dict | None = field(init=False)
    schedule: dict | None = field(init=False)

    def __post_init__(self) -> None:
        self.credentials = newest(self.files, "credentials")
        self.schedule = newest(self.files, "schedule")

    def waits(self, who: dict) -> bool:
        """Whether that device has nothing to report for a while."""
        parts = sorted(who[key] for key in ("productId", "deviceNoType", "deviceNo"))
        mark, schedule = zlib.crc32("\n".join(parts).encode()), self.schedule
        return (
            self.credentials == who
            and schedule is not None
            and schedule.get("of") == mark
            and schedule["next"] > time.time() + RESTLESS["deadline"]
        )


def newest(files: Mapping[str, bytes], name: str) -> dict | None:
    """The newest whole record of that name on flash: CRC-32, sequence number, length, JSON."""
    found = {}
    for slot in (0, 1):
        raw = files.get(f"{STATE}{name}.{slot}", b"")
        if len(raw) >= 10:
            crc, sequence, length = struct.unpack_from("<IIH", raw)
            if len(raw) >= 10 + length and zlib.crc32(raw[4 : 10 + length]) == crc:
                found[sequence] = json.loads(raw[10 : 10 + length])
    return found[max(found)] if found else None


def settings(cloud: Cloud, device_no: str, **changes: object) -> dict:
    """A device's configuration for the box."""
    wifi = [{"ssid": "muster-lab", "key": "password"}]
    device = Device(PRODUCT, KEY, "SN", device_no)
    return device.config(cloud.url, **{"wifi": wifi, "jitter": 0, "spread": 0, **HOURLY, **changes})


class Bench:
    """One place for a board, and two numbers of its own for it, so that benches do not disturb each other."""

    def __init__(self, cloud: Cloud, folder: Path, name: str) -> None:
        self.cloud, self.folder, self.name = cloud, folder / name, name
        for device_no in (self.first, self.second):
            cloud.add_device(product_id=PRODUCT, product_key=KEY, device_no_type="SN", device_no=device_no)

    @property
    def first(self) -> str:
        return f"{self.name}-1"

    @property
    def second(self) -> str:
        return f"{self.name}-2"

    def config(self, device_no: str, **changes: object) -> dict:
        return settings(self.cloud, device_no, **changes)

    def known(self, device_no: str) -> dict:
        """The credentials of a device, as the platform has them."""
        row = self.cloud._state.device(PRODUCT, device_no)
        assert row is not None
        return {
            "deviceId": row["device_id"],
            "deviceNo": device_no,
            "deviceNoType": "SN",
            "productId": PRODUCT,
            "deviceSecret": row["device_secret"],
        }

    def calls(self, path: str) -> int:
        """How often its devices have called."""
        return sum(call["device"] in (self.first, self.second) for call in self.cloud.calls(path))

    def board(self, flash: bytes | None = None, cut: Cut | None = None) -> Board:
        at, torn = cut or (None, 0.0)
        return Board(self.folder, flash, cut_at=at, torn=torn)

    def image(self, config: Mapping, before: Mapping | None = None, more: Mapping | None = None) -> bytes:
        return board_image(config, [self.cloud.ca_pem], before, more)

    # The scenarios

    def first_boot(self) -> Scenario:
        flash = self.image(self.config(self.first))
        return self.counted(Scenario("first boot", flash, None, self.known(self.first)))

    def heartbeats(self, ages: Iterable[int]) -> list[Scenario]:
        """The next heartbeat of devices that have already sent so many more than their first."""
        who, wanted, scenarios = self.known(self.first), set(ages), []
        flash = self.image(self.config(self.first, **RESTLESS))
        with self.board(flash) as board:
            board.wait_for(REPORTED)
            board.write(b"\x03")
            board.wait_for(">>> ")
            for age in range(max(wanted) + 1):
                if age in wanted:
                    scenarios.append(Scenario(f"heartbeat {age + 2}", board.image(), who, who))
                board.write(b"agent.report() and print('next')\r")
                board.wait_for("\nnext")
                board.wait_for(">>> ")
        return [self.counted(scenario) for scenario in scenarios]

    def enrolled(self) -> Kept:
        """What a device has on flash that has reported."""
        with self.board(self.image(self.config(self.first))) as board:
            board.wait_for(REPORTED)
            return Kept(board.files())

    def re_enrolment(self) -> Scenario:
        flash = self.image(self.config(self.second), self.enrolled().files)
        name = "re-enrolment with another device number"
        return self.counted(Scenario(name, flash, self.known(self.first), self.known(self.second)))

    def deploy(self) -> Scenario:
        """The product onto a device that has an older one."""
        root = self.folder / "older"
        shutil.copytree(ROOT / "lib", root / "lib")
        for name in ("boot.py", "main.py"):
            shutil.copy(ROOT / name, root)
        for name in ("boot.py", "main.py", "lib/muster/log.py"):
            with (root / name).open("a") as f:
                f.write("older = True\n")
        config, who = self.config(self.first), self.known(self.first)
        files = self.enrolled().files
        records = {path: data for path, data in files.items() if path.startswith(STATE)}
        old, new = (board_files(config, [self.cloud.ca_pem], where) for where in (root, ROOT))
        flash = littlefs.build({**old, **records}, BLOCKS, built())
        return self.counted(Scenario("deploy", flash, who, who, 0, deploys, (old, new)))

    def counted(self, scenario: Scenario) -> Scenario:
        """It with the number of its flash operations, from an undisturbed run."""
        with self.board(scenario.flash) as board:
            self.boots(scenario, board, True, Kept(board.files()))
            return replace(scenario, operations=board.operations)

    def scenarios(self, full: bool) -> list[Scenario]:
        if not full:
            return [self.first_boot(), *self.heartbeats([1])]
        return [self.first_boot(), *self.heartbeats(range(AGES)), self.re_enrolment(), self.deploy()]

    def token_renewal(self) -> list[str]:
        """A token of Coze's bought, and again when it has expired: nothing of that is on flash to be cut."""
        app = self.cloud.new_coze_app()
        files = {"/coze.json": json.dumps({**app, "base_url": self.cloud.url}).encode(), "/talk.py": TALK}
        flash = self.image(self.config(self.first, clouds=["coze"]), more=files)
        try:
            with self.board(flash) as board:
                board.wait_for(REPORTED)
                board.write(b"\x03")
                board.wait_for(">>> ")
                before = board.operations, board.image()
                board.write(b"import talk\r")
                board.wait_for("renewed True", TIMEOUT_S)
                written = (board.operations, board.image()) != before
        except BoardError as e:
            return [str(e)]
        return ["a token was written to flash"] * written

    # A life

    def boots(self, scenario: Scenario, board: Board, first: bool, before: Kept) -> bool:
        """What the scenario does, or what a device does that was switched on again after it."""
        if first and scenario.act is not None:
            return scenario.act(board)
        return lasts(board, DUE if before.waits(scenario.new) else REPORTED)

    def live(self, scenario: Scenario, cuts: Sequence[Cut]) -> tuple[list[str], int]:
        """Lets a device boot with each of the cuts, then in peace. Returns what was wrong, and losses."""
        wrong: list[str] = []
        losses = 0
        for n, cut in enumerate([*cuts, None]):
            board = self.board(scenario.flash if n == 0 else None, cut)
            before = Kept(board.files())
            fetched, reported = self.calls(SECRET_INFO), self.calls(REPORT)
            try:
                with board:
                    lasted = self.boots(scenario, board, n == 0, before)
                after = Kept(board.files())
            except (BoardError, ValueError) as e:
                wrong.append(f"boot {n + 1}: {e}")
                break
            fetched, reported = self.calls(SECRET_INFO) - fetched, self.calls(REPORT) - reported
            stored, waits = before.credentials == scenario.new, before.waits(scenario.new)
            lost = after.credentials not in (before.credentials, scenario.new)
            losses += lost
            faults = {
                "the power did not go": lasted and n == 0,
                "its credentials are neither those before nor the new ones": lost,
                "the new credentials are not on flash": lasted and after.credentials != scenario.new,
                "it fetched a secret that it had": stored and fetched,
                "it fetched its secret more than once": fetched > 1,
                "it reported before that was due": waits and reported,
                "it did not report": lasted and not waits and not reported,
                "it has neither the old product nor the new": scenario.products
                and lasted
                and product(after.files) not in scenario.products,
            }
            wrong += [f"boot {n + 1}: {fault}" for fault, found in faults.items() if found]
        return wrong, losses


def product(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if not path.startswith((STATE, "/deploy~"))}


def deploys(board: Board) -> bool:
    """Has the product put onto a board as a person does. False if the power went meanwhile."""
    if not lasts(board, DUE):
        return False
    command = [sys.executable, "-m", "tools", "deploy", "--port", board.port, "--mpy", "--no-reset"]
    deploying = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        while board.running and deploying.poll() is None:
            time.sleep(0.005)
        lasted = board.running
        if not lasted:
            board.stop()  # unplugged, so that it does not wait for an answer
        said = deploying.communicate(timeout=TIMEOUT_S)[0]
    finally:
        deploying.kill()
        deploying.wait()
    if lasted and deploying.returncode != 0:
        raise BoardError(f"deploy failed: {said}")
    return lasted


def lasts(board: Board, what: re.Pattern) -> bool:
    """Waits for what the board prints. False if the power went instead; BoardError if neither came."""
    try:
        board.wait_for(what, TIMEOUT_S)
    except BoardError:
        if board.running:
            raise
        return False
    return True


def cuts_of(scenario: Scenario, full: bool, rng: random.Random) -> list[list[Cut]]:
    """Each of its operations cut, whole and torn; and, sampled, the recovery once or twice more.

    The short form cuts some of them, and lets one recovery be cut.
    """
    everything = range(1, scenario.operations + 1)
    if not full:
        some = rng.sample(everything, min(SAMPLE, scenario.operations))
        cuts = [[(at, rng.choice(ALWAYS + MORE))] for at in some]
    elif scenario.name.startswith("heartbeat"):
        cuts = [[(at, torn)] for at in everything for torn in (*ALWAYS, *rng.sample(MORE, 2))]
    else:
        often = MORE if scenario.act is None else ()
        cuts = [[(at, torn)] for at in everything for torn in ALWAYS + often]
    for _ in range(DEEP if full and scenario.operations > 2 else not full):
        # A recovery may take a few operations more than what was cut.
        most = scenario.operations + 4 if scenario.act is None else 30
        deeper = [(rng.randint(1, most), rng.choice(ALWAYS + MORE)) for _ in range(rng.randint(1, 2))]
        cuts.append([(rng.choice(everything), rng.choice(ALWAYS + MORE)), *deeper])
    return cuts


def fat(folder: Path, full: bool) -> Iterator[tuple[str, list[str]]]:
    """A second record saved over a first one, cut at every operation: (case, what was wrong).

    On a card of 512-byte sectors, and on the chip's own flash, where a sector of 4,096 is erased first.
    """
    first, second, third = ({"deviceSecret": letter * 32} for letter in "ABC")
    image, good = folder / "fat", folder / "fat.good"
    mount, load, over = ("mount",), ("load",), ("save", second)
    for block, erases in ((512, False), (4096, True)) if full else ((512, False),):

        def vm(*do: tuple, block: int = block, erases: bool = erases, **how: Any) -> dict | None:
            return on_flash(image, "VfsFat", block, mount, *do, erases=erases, **how)

        image.write_bytes(bytes(256 * block))
        vm(("save", {"n": 1}), ("save", first), make=True)
        shutil.copy(image, good)
        undisturbed = vm(over, load)
        assert undisturbed is not None and undisturbed["told"][-1] == second
        for at in range(1, undisturbed["operations"] + 1):
            for torn in ALWAYS + MORE if full else (0.5,):
                wrong = []
                shutil.copy(good, image)
                if vm(over, cut_at=at, torn=torn) is not None:
                    wrong.append("the power did not go")
                after = vm(load, ("save", third), load)
                assert after is not None
                _, found, saved, then = after["told"]
                if found not in (first, second, None):
                    wrong.append(f"it loaded what was never saved, {found}")
                if then != (third if saved == "saved" else found):
                    wrong.append(f"another save ({saved}) left {then}")
                yield f"FAT of {block}-byte sectors, cut {(at, torn)}", wrong


def run(full: bool, tell: Callable[[str], None], seed: int = SEED) -> Verdict:
    """Cuts the power at every flash operation of all that a device does.

    The short form cuts some of a first boot, and the one of a heartbeat.
    """
    verdict = Verdict("power cuts")
    if find_micropython() is None:
        verdict.note = "not tried: there is no MicroPython for this computer"
        return verdict
    rng = random.Random(seed)
    with (
        tempfile.TemporaryDirectory(prefix="muster-power-") as folder,
        Cloud(issued_days_ago=30) as cloud,
        ThreadPoolExecutor(BOARDS) as pool,
    ):
        benches = [Bench(cloud, Path(folder), f"POWER-{n}") for n in range(BOARDS)]
        prepared = list(pool.map(lambda bench: bench.scenarios(full), benches))
        jobs = []
        operations: Counter[str] = Counter()
        for n, scenario in enumerate(prepared[0]):
            operations[scenario.name.rstrip(" 0123456789")] += scenario.operations
            jobs += [(n, cuts) for cuts in cuts_of(scenario, full, rng)]
        cut = ", ".join(f"{name} {n}" for name, n in operations.items())
        verdict.note = f"seed {seed}; flash operations cut: {cut}"
        tell(verdict.note)
        free = queue.SimpleQueue[tuple[Bench, list[Scenario]]]()
        for pair in zip(benches, prepared, strict=True):
            free.put(pair)

        def live(job: tuple[int, list[Cut]]) -> tuple[str, list[str], int]:
            (n, cuts), (bench, scenarios) = job, free.get()
            try:
                wrong, losses = bench.live(scenarios[n], cuts)
            finally:
                free.put((bench, scenarios))
            return f"{scenarios[n].name}, cuts {cuts} (operation, part done)", wrong, losses

        for what, wrong, losses in pool.map(live, jobs):
            verdict.cases += 1
            verdict.losses += losses
            verdict.failures += [f"{what}: {fault}" for fault in wrong]
            if verdict.cases % 50 == 0:
                tell(f"power cuts: {verdict.cases} of {len(jobs)}")
        others = list(fat(Path(folder), full))
        if full:
            others.append(("token renewal", benches[0].token_renewal()))
            verdict.note += "; a token renewal has none"
        for what, wrong in others:
            verdict.cases += 1
            verdict.failures += [f"{what}: {fault}" for fault in wrong]
    return verdict
