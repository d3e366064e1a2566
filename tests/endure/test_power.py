"""Power cuts: at every flash operation of what a device does, and while it recovers from one."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest
from devices import REPORT, SECRET_INFO, hourly
from endure.flash import Cut, on_flash
from endure.lab import DUE, REPORTED, RESTLESS, SECOND, TIMEOUT_S, Kept, Lab, lasts, newest, to_prompt

from tools.board import Board, BoardError
from tools.common import littlefs
from tools.common.paths import ROOT
from tools.common.vm import find_micropython
from tools.factory.product import BLOCKS, STATE, board_files, built

pytestmark = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")

# The part of a cut operation that is still done: 1 is a cut right after it.
ALWAYS = (1.0, 0.5)
MORE = (0.0, 0.03, 0.25, 0.75, 0.97)
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


@dataclass(frozen=True)
class Scenario:
    """Something that a device does, from the flash before it.

    new: the credentials that it must have in the end. act: does it on a board that was switched on and says
    whether the power lasted; without it, booting is all. products: what may be on flash besides the device's
    own records after a deploy.
    """

    name: str
    flash: bytes
    new: dict
    operations: int = 0
    act: Callable[[Board], bool] | None = None
    products: Sequence[Mapping[str, bytes]] = ()

    def boots(self, board: Board, first: bool, before: Kept) -> bool:
        """What the scenario does, or what a device does that was switched on again after it."""
        if first and self.act is not None:
            return self.act(board)
        return lasts(board, DUE if before.waits(self.new) else REPORTED)


def counted(lab: Lab, scenario: Scenario) -> Scenario:
    """It with the number of its flash operations, from an undisturbed run."""
    with lab.board(scenario.flash) as board:
        scenario.boots(board, True, Kept(board.files()))
        return replace(scenario, operations=board.operations)


def first_boot(lab: Lab, full: bool) -> Iterator[Scenario]:
    yield Scenario("first boot", lab.image(), lab.credentials)


def heartbeats(lab: Lab, full: bool) -> Iterator[Scenario]:
    """The next heartbeat of devices that have already sent so many more than their first."""
    with lab.board(lab.image(**RESTLESS)) as board:
        board.wait_for(REPORTED)
        to_prompt(board)
        images = []
        for _ in range(AGES if full else 2):
            images.append(board.image())
            board.write(b"agent.report() and print('next')\r")
            board.wait_for("\nnext")
            board.wait_for(">>> ")
    for age, flash in enumerate(images):
        if full or age == 1:
            yield Scenario(f"heartbeat {age + 2}", flash, lab.credentials)


def re_enrolment(lab: Lab, full: bool) -> Iterator[Scenario]:
    flash = lab.image(lab.enrolled().files, deviceNo=SECOND.device_no)
    yield Scenario("re-enrolment with another device number", flash, lab.credentials_of_second)


def deploy(lab: Lab, full: bool) -> Iterator[Scenario]:
    """The product onto a device that has an older one."""
    root = lab.folder / "older"
    shutil.copytree(ROOT / "lib", root / "lib")
    for name in ("boot.py", "main.py"):
        shutil.copy(ROOT / name, root)
    for name in ("boot.py", "main.py", "lib/muster/log.py"):
        with (root / name).open("a") as f:
            f.write("older = True\n")
    config = hourly(lab.cloud)
    records = {path: data for path, data in lab.enrolled().files.items() if path.startswith(STATE)}
    old, new = (board_files(config, [lab.cloud.ca_pem], where) for where in (root, ROOT))
    flash = littlefs.build({**old, **records}, BLOCKS, built())
    yield Scenario("deploy", flash, lab.credentials, 0, deploys, (old, new))


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


def product(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in files.items() if not path.startswith((STATE, "/update"))}


def cuts_of(scenario: Scenario, full: bool, rng: random.Random) -> list[list[tuple[int, float]]]:
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


def live(lab: Lab, scenario: Scenario, cuts: Sequence[tuple[int, float]]) -> tuple[list[str], int]:
    """Lets a device boot with each of the cuts, then in peace. Returns what was wrong, and losses."""
    wrong: list[str] = []
    losses = 0
    for n, (cut_at, torn) in enumerate([*cuts, (None, 0)]):
        board = lab.board(None if n else scenario.flash, cut_at, torn)
        before = Kept(board.files())
        fetched, reported = lab.calls(SECRET_INFO), lab.calls(REPORT)
        try:
            with board:
                lasted = scenario.boots(board, n == 0, before)
            after = Kept(board.files())
        except (BoardError, ValueError) as e:
            wrong.append(f"boot {n + 1}: {e}")
            break
        fetched, reported = lab.calls(SECRET_INFO) - fetched, lab.calls(REPORT) - reported
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


@pytest.mark.parametrize(
    ("scenarios", "least"),
    [
        pytest.param(first_boot, 15, id="first boot"),
        pytest.param(heartbeats, 1, id="heartbeats"),
        pytest.param(re_enrolment, 10, id="re-enrolment", marks=pytest.mark.full),
        pytest.param(deploy, 50, id="deploy", marks=pytest.mark.full),
    ],
)
def test_a_power_cut_at_any_flash_operation_loses_nothing(trial, request, lab, scenarios, least):
    rng = random.Random(trial.seed)
    operations = 0
    for scenario in scenarios(lab, trial.full):
        scenario = counted(lab, scenario)
        operations += scenario.operations
        for cuts in cuts_of(scenario, trial.full, rng):
            trial.tried(f"{scenario.name}, cuts {cuts} (operation, part done)", *live(lab, scenario, cuts))
    assert operations >= least, "it writes less than it has to: nothing is cut"
    trial.note = f"flash operations cut of {request.node.callspec.id}: {operations}"


@pytest.mark.parametrize(
    ("block", "erases"),
    [
        pytest.param(512, False, id="card"),
        pytest.param(4096, True, id="the chip's own flash", marks=pytest.mark.full),
    ],
)
def test_a_power_cut_on_fat_spoils_no_record(trial, tmp_path, block, erases):
    """A second record saved over a first one, cut at every operation."""
    first, second, third = ({"deviceSecret": letter * 32} for letter in "ABC")
    image, good = tmp_path / "fat", tmp_path / "fat.good"
    load, over = ("load",), ("save", second)

    def told(*do: tuple, **how: object) -> dict:
        return on_flash(image, "VfsFat", block, ("mount",), *do, erases=erases, **how)

    image.write_bytes(bytes(256 * block))
    told(("save", {"n": 1}), ("save", first), make=True)
    shutil.copy(image, good)
    undisturbed = told(over, load)
    assert undisturbed["told"][-1] == second
    everything = range(1, undisturbed["operations"] + 1)
    for at, torn in itertools.product(everything, ALWAYS + MORE if trial.full else (0.5,)):
        shutil.copy(good, image)
        with pytest.raises(Cut):
            told(over, cut_at=at, torn=torn)
        _, found, saved, then = told(load, ("save", third), load)["told"]
        wrong = []
        if found not in (first, second, None):
            wrong.append(f"it loaded what was never saved, {found}")
        if then != (third if saved == "saved" else found):
            wrong.append(f"another save ({saved}) left {then}")
        trial.tried(f"FAT of {block}-byte sectors, cut {(at, torn)}", wrong)


def test_a_power_cut_while_a_network_is_kept_loses_none(trial, tmp_path):
    """The buyer gives a fifth network: the four before stand, or the new one and three of them."""
    image, good = tmp_path / "flash", tmp_path / "flash.good"
    factory = {"wifi": [{"ssid": "factory", "key": "battery staple"}]}
    keeps = [("keep", f"home {n}", f"password {n}") for n in range(5)]
    image.write_bytes(b"\xff" * 64 * littlefs.BLOCK)

    def told(*do: tuple, **how: object) -> dict:
        return on_flash(image, "VfsLfs2", littlefs.BLOCK, ("mount",), *do, path="/config", **how)

    *_, before = told(("save", factory), *keeps[:4], ("networks",), make=True)["told"]
    shutil.copy(image, good)
    undisturbed = told(keeps[4], ("networks",))
    *_, after = undisturbed["told"]
    assert [network["ssid"] for network in after] == ["home 4", "home 3", "home 2", "home 1"]
    everything = range(1, undisturbed["operations"] + 1)
    for at, torn in itertools.product(everything, ALWAYS + MORE if trial.full else ALWAYS):
        shutil.copy(good, image)
        with pytest.raises(Cut):
            told(keeps[4], cut_at=at, torn=torn)
        _, config, found, kept, then = told(("load",), ("networks",), keeps[4], ("networks",))["told"]
        wrong = []
        if config != factory:
            wrong.append(f"the factory's networks are {config}")
        if found not in (before, after):
            wrong.append(f"the buyer's networks are {found}")
        if kept != "kept" or then != after:
            wrong.append(f"given again ({kept}) they are {then}")
        trial.tried(f"a network kept, cut {(at, torn)}", wrong)


def test_a_token_is_renewed_without_a_flash_operation(trial, lab):
    """A token of Coze's bought, and again when it has expired: nothing of that is on flash to be cut."""
    app = lab.cloud.new_coze_app()
    files = {"/coze.json": json.dumps({**app, "base_url": lab.cloud.url}).encode(), "/talk.py": TALK}
    with lab.board(lab.image(more=files, clouds=["coze"])) as board:
        board.wait_for(REPORTED)
        to_prompt(board)
        before = board.operations, board.image()
        board.write(b"import talk\r")
        board.wait_for("renewed True", TIMEOUT_S)
        written = (board.operations, board.image()) != before
    trial.tried("token renewal", ["a token was written to flash"] * written)


# The trials can fail


def slot(sequence, text):
    body = struct.pack("<IH", sequence, len(text)) + text
    return struct.pack("<I", zlib.crc32(body)) + body


def test_only_whole_records_count():
    old, new = slot(1, b'{"n":1}'), slot(2, b'{"n":2}')
    assert newest({"/state/r.0": old, "/state/r.1": new}, "r") == {"n": 2}
    for torn in range(len(new)):
        assert newest({"/state/r.0": old, "/state/r.1": new[:torn]}, "r") == {"n": 1}
        assert newest({"/state/r.1": new[:torn] + b"?" + new[torn + 1 :]}, "r") is None


def test_a_wrong_secret_on_flash_is_seen(lab):
    [scenario] = re_enrolment(lab, False)

    def spoils(board):
        lasted = lasts(board, REPORTED)
        board.stop()
        files = board.files()
        text = files["/state/credentials.0"][10:].replace(b'"deviceSecret":"', b'"deviceSecret":"f')
        board.flash.write(littlefs.build({**files, "/state/credentials.1": slot(9, text)}, BLOCKS, 0))
        return lasted

    wrong, losses = live(lab, replace(scenario, act=spoils), [(1, 1.0)])
    assert wrong == ["boot 1: its credentials are neither those before nor the new ones"] and losses == 1


def test_a_cut_that_does_not_come_is_seen(lab):
    [scenario] = first_boot(lab, False)
    wrong, _ = live(lab, scenario, [(1000, 1.0)])
    assert wrong == ["boot 1: the power did not go"]
