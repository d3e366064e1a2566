"""Rotten flash: flipped bits, records cut short or swapped, and flash that is full or cannot be written."""

from __future__ import annotations

import itertools
import random
import shutil
from dataclasses import dataclass

import pytest
from devices import SECRET_INFO
from endure.flash import on_flash
from endure.lab import DUE, REPORTED, Kept, Lab, lasts, to_prompt

from tools.board import BoardError
from tools.common import littlefs
from tools.common.vm import find_micropython
from tools.factory.product import STATE

pytestmark = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")

# Of the directory that holds a record, what is looked at around it, in bytes.
AROUND = 64
SAMPLE = 150  # of a record's bits, in the short form

UNWRITTEN = "could not be written to flash"
HELP = """\
import os, random
random.seed({seed})
def get(path):
    with open(path, "rb") as f:
        return f.read()
def put(path, data):
    with open(path, "wb") as f:
        f.write(data)
def cut(path):
    put(path, get(path)[:random.randrange(60)])
def flip(path):
    data = bytearray(get(path))
    for _ in range(random.randint(1, 4)):
        bit = random.randrange(75 * 8)
        data[bit // 8] ^= 1 << bit % 8
    put(path, data)
def free():
    return os.statvfs("/")[3]
def forget():
    for name in os.listdir("/state"):
        os.remove("/state/" + name)
def folder(path):
    try:
        os.remove(path)
    except OSError:
        pass
    os.mkdir(path)
def fill(left):
    forget()
    chunk = bytes(4096)
    with open("/song.wav", "wb") as f:
        while free() > 24:
            f.write(chunk)
    n = 0
    try:
        while True:
            put("/f%d" % n, chunk[:2000])
            n += 1
    except OSError:
        pass
    for i in range(left):
        os.remove("/f%d" % i)
"""

READ_ONLY = """\
import vfs
filesystem = vfs.mount()[0][0]
vfs.umount("/")
vfs.mount(filesystem, "/", readonly=True)
"""

# The device's own folder on flash of its own, which was formatted and then takes nothing more.
WORN = """\
import os, vfs
class Worn:
    data, good = bytearray(16 * 512), True
    def readblocks(self, block, buf, offset=0):
        start = block * 512 + offset
        buf[:] = self.data[start : start + len(buf)]
    def writeblocks(self, block, buf, offset=0):
        if not self.good:
            raise OSError({errno})
        start = block * 512 + offset
        self.data[start : start + len(buf)] = buf
    def ioctl(self, op, arg):
        if op == 6 and not self.good:
            raise OSError({errno})
        return 16 if op == 4 else 512 if op == 5 else 0
worn = Worn()
vfs.VfsLfs2.mkfs(worn)
vfs.mount(vfs.VfsLfs2(worn), "/state")
worn.good = False
"""


@dataclass(frozen=True)
class Harm:
    """What happens to a device's flash.

    damage: done once at the prompt of a device that has reported. world: what its boot.py begins with from
    then on. kept: whether the device certainly can keep a secret afterwards.
    """

    name: str
    damage: str = ""
    world: str = ""
    kept: bool = True

    @property
    def elsewhere(self) -> bool:
        """Whether the device finds another folder than its own one on flash."""
        return "/state" in self.world

    def program(self, seed: int) -> bytes:
        change = f"put('/boot.py', {self.world.encode()!r} + get('/boot.py'))\n" if self.world else ""
        return f"{HELP.format(seed=seed)}{self.damage}\n{change}".encode()


def harms_of(name: str) -> list[Harm]:
    """What is done to a record of that name."""
    zero, one = f"/state/{name}.0", f"/state/{name}.1"
    return [
        Harm(f"{name} cut short", f"cut({zero!r})"),
        Harm(f"{name} with flipped bits", f"flip({zero!r})"),
        Harm(f"{name} in the other slot", f"put({one!r}, get({zero!r})); os.remove({zero!r})"),
        Harm(f"{name} twice", f"put({one!r}, get({zero!r}))"),
        Harm(f"garbage in {name}", f"put({zero!r}, os.urandom(900)); put({one!r}, os.urandom(5000))"),
        Harm(f"a directory as {name}", f"folder({zero!r})"),
        Harm(f"directories as {name}", f"folder({zero!r}); folder({one!r})"),
        Harm(f"a full directory as {name}", f"folder({zero!r}); put({zero + '/x'!r}, b'x')"),
    ]


C, S = "/state/credentials.0", "/state/schedule.0"
HARMS = [
    *harms_of("credentials"),
    *harms_of("schedule"),
    Harm("both records swapped", f"c, s = get({C!r}), get({S!r}); put({C!r}, s); put({S!r}, c)"),
    Harm("a file at state", "forget(); os.rmdir('/state'); put('/state', b'x')"),
    Harm("nothing of its own left", "forget(); os.rmdir('/state')"),
    *(Harm(f"flash full but for {left} blocks", f"fill({left})", kept=False) for left in (0, 1, 2, 3, 6)),
    Harm("flash that cannot be written, with its secret", world=READ_ONLY),
    Harm("flash that cannot be written, without a secret", "forget()", READ_ONLY, kept=False),
    *(
        Harm(f"flash that raises OSError({errno})", world=WORN.format(errno=errno), kept=False)
        for errno in (5, 30)
    ),
]
BY_DEFAULT = (
    "credentials with flipped bits",
    "a directory as schedule",
    "both records swapped",
    "flash full but for 1 blocks",
    "flash that cannot be written, with its secret",
)


@pytest.fixture(scope="module")
def enrolled(lab):
    """What is on the flash of a device that has reported, and the flash."""
    kept, board = lab.enrolled(), lab.board()
    flash = board.image()
    board.stop()
    return kept, flash


def harmed(lab: Lab, before: Kept, harm: Harm, seed: int, unwritten: str = UNWRITTEN) -> list[str]:
    """Harms a device and lets it boot twice. Returns what was wrong.

    unwritten: what it says if it could not keep something.
    """
    who = lab.credentials
    with lab.board(lab.image(before.files, {"/damage.py": harm.program(seed)})) as board:
        board.wait_for(DUE)
        to_prompt(board)
        board.write(b"import damage; print('damage', 'done')\r")
        board.wait_for("damage done")
    wrong = []
    for n in range(2):
        board = lab.board()
        held, fetched = Kept(board.files()), lab.calls(SECRET_INFO)
        has_it = held.credentials == who and not harm.elsewhere
        try:
            with board:
                waits = held.waits(who) and not harm.elsewhere
                lasts(board, DUE if waits else REPORTED)
        except BoardError as e:
            return [*wrong, f"boot {n + 1}: {e}"]
        after, fetched = Kept(board.files()), lab.calls(SECRET_INFO) - fetched
        faults = {
            "a wrong secret is on flash": after.credentials not in (None, who),
            "it fetched a secret that it had": has_it and fetched,
            "it reported without fetching a secret": not has_it and fetched != 1,
            "it did not keep its secret, and says nothing": not (has_it or unwritten in board.output)
            and (harm.elsewhere or after.credentials != who),
            "it cannot keep its secret": harm.kept and after.credentials != who,
        }
        wrong += [f"boot {n + 1}: {fault}" for fault, so in faults.items() if so]
    return wrong


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(harm, id=harm.name, marks=[pytest.mark.full] if harm.name not in BY_DEFAULT else [])
        for harm in HARMS
    ],
)
def test_a_harmed_device_comes_back_with_its_own_secret(trial, lab, enrolled, harm):
    trial.tried(harm.name, harmed(lab, enrolled[0], harm, trial.seed))


@pytest.mark.parametrize("name", ["credentials", "schedule"])
def test_a_flipped_bit_gives_no_wrong_record(trial, tmp_path, enrolled, name):
    """Every bit of a record flipped where it lies on flash, and of the directory around it."""
    before, flash = enrolled
    record, raw = getattr(before, name), before.files[f"{STATE}{name}.0"]
    start = flash.index(raw)
    bits = list(range((start - AROUND) * 8, (start + len(raw) + AROUND) * 8))
    if not trial.full:
        bits = sorted(random.Random(trial.seed).sample(bits, SAMPLE))
    image = tmp_path / "rotten"
    image.write_bytes(flash)
    flip = ("flip", bits, [record, None])
    [[(kept, lost), others]] = on_flash(image, "VfsLfs2", littlefs.BLOCK, flip, path=STATE + name)["told"]
    assert kept and kept + lost + len(others) == len(bits)
    trial.cases = len(bits)
    trial.failures = [f"bit {bit} of the flash: it loaded {found}" for bit, found in others]
    trial.note = f"of {len(bits):,} bits at {name}, {lost:,} lost it"


@pytest.mark.parametrize("errno", [5, pytest.param(30, marks=pytest.mark.full)])
@pytest.mark.parametrize(
    ("kind", "blocks", "block"),
    [("VfsLfs2", 32, 4096), pytest.param("VfsFat", 256, 512, marks=pytest.mark.full)],
)
def test_flash_that_fails_during_a_save_spoils_no_record(trial, tmp_path, kind, blocks, block, errno):
    """It fails for one operation, or from there on; then all is well again."""
    first, second, third = ({"deviceSecret": letter * 200} for letter in "ABC")
    image, good = tmp_path / "failing", tmp_path / "failing.good"
    mount, save, load = ("mount",), ("save", second), ("load",)
    image.write_bytes(b"\xff" * blocks * block)
    on_flash(image, kind, block, mount, ("save", {"n": 1}), ("save", first), make=True)
    shutil.copy(image, good)
    operations = on_flash(image, kind, block, mount, save)["operations"]
    for at, length in itertools.product(range(1, operations + 1), (1, 1000) if trial.full else (1,)):
        shutil.copy(good, image)
        fails = (at, at + length - 1)
        do = [mount, save, load, mount, load]
        _, saved, here, _, there = on_flash(image, kind, block, *do, fails=fails, errno=errno)["told"]
        do = [mount, load, ("save", third), load]
        _, later, again, then = on_flash(image, kind, block, *do)["told"]
        wrong = []
        may = [second] if saved == "saved" else [first, second]
        # FAT reads nothing while it cannot write what it holds back.
        unread = kind == "VfsFat" and saved != "saved" and here is None
        for found in (there, later) if unread else (here, there, later):
            if found not in may:
                wrong.append(f"the save ended with {saved!r}, and the record is {found}")
        if (again, then) != ("saved", third):
            wrong.append(f"with the flash well again, a save ended with {again!r}, and the record is {then}")
        trial.tried(f"{kind} fails with {errno} at operations {fails}", wrong)


# The trials can fail


def test_an_empty_directory_in_the_place_of_a_record_makes_way(lab, enrolled):
    names = ("credentials.0", "credentials.1", "schedule.0")
    harm = Harm("directories", "; ".join(f"folder('/state/{name}')" for name in names))
    assert harmed(lab, enrolled[0], harm, 1) == []


def test_a_secret_that_is_kept_nowhere_is_seen(lab, enrolled):
    harm = Harm("flash that raises", world=WORN.format(errno=5), kept=False)
    assert harmed(lab, enrolled[0], harm, 1, unwritten="something that it does not say") == [
        "boot 1: it did not keep its secret, and says nothing",
        "boot 2: it did not keep its secret, and says nothing",
    ]
