"""Rotten flash: flipped bits, records cut short or swapped, and flash that is full or cannot be written."""

from __future__ import annotations

import itertools
import queue
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from endure.flash import on_flash
from endure.lab import BOARDS, DUE, REPORTED, SECRET_INFO, Bench, Kept, lasts

from tools.board import BoardError
from tools.cli.verdict import SEED, Verdict
from tools.cloud import Cloud
from tools.common import littlefs
from tools.common.vm import find_micropython
from tools.factory.product import STATE

# Of the directory that holds a record, what is looked at around it, in bytes.
AROUND = 64
SAMPLE = 150
HARMED = 5

UNWRITTEN = "could not be written to flash"
HELP = b"""\
import os
def get(path):
    with open(path, "rb") as f:
        return f.read()
def put(path, data):
    with open(path, "wb") as f:
        f.write(data)
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

    @property
    def program(self) -> bytes:
        change = f"put('/boot.py', {self.world.encode()!r} + get('/boot.py'))\n" if self.world else ""
        return HELP + f"{self.damage}\n{change}".encode()


def harms(rng: random.Random) -> list[Harm]:
    """Everything that is done to whole devices."""
    found = [
        Harm("a record cut short", f"put({path!r}, get({path!r})[:{rng.randrange(60)}])")
        for path in ("/state/credentials.0", "/state/schedule.0")
    ]
    for path in ("/state/credentials.0", "/state/schedule.0"):
        bits = [rng.randrange(75 * 8) for _ in range(rng.randint(1, 4))]
        flips = "; ".join(f"d[{bit // 8}] ^= {1 << bit % 8}" for bit in bits)
        found.append(
            Harm(f"bits {bits} of {path}", f"d = bytearray(get({path!r})); {flips}; put({path!r}, d)")
        )
    for name in ("credentials", "schedule"):
        zero, one = f"/state/{name}.0", f"/state/{name}.1"
        found += [
            Harm(f"{zero} as {one}", f"put({one!r}, get({zero!r})); os.remove({zero!r})"),
            Harm(f"{zero} twice", f"put({one!r}, get({zero!r}))"),
            Harm(f"garbage in {name}", f"put({zero!r}, os.urandom(900)); put({one!r}, os.urandom(5000))"),
            Harm(f"a directory at {zero}", f"folder({zero!r})"),
            Harm(f"directories at {zero} and {one}", f"folder({zero!r}); folder({one!r})"),
            Harm(f"a full directory at {zero}", f"folder({zero!r}); put({zero + '/x'!r}, b'x')"),
        ]
    c, s = "/state/credentials.0", "/state/schedule.0"
    found += [
        Harm("both records swapped", f"c, s = get({c!r}), get({s!r}); put({c!r}, s); put({s!r}, c)"),
        Harm("a file at /state", "forget(); os.rmdir('/state'); put('/state', b'x')"),
        Harm("nothing of its own left", "forget(); os.rmdir('/state')"),
        *(Harm(f"flash full but for {left} blocks", f"fill({left})", kept=False) for left in (0, 1, 2, 3, 6)),
        Harm("flash that cannot be written, with its secret", world=READ_ONLY),
        Harm("flash that cannot be written, without a secret", "forget()", READ_ONLY, kept=False),
        *(
            Harm(f"flash that raises OSError({errno})", world=WORN.format(errno=errno), kept=False)
            for errno in (5, 30)
        ),
    ]
    return found


class Rot(Bench):
    """A bench on which devices are harmed."""

    def harmed(self, before: Kept, harm: Harm) -> list[str]:
        """Harms a device and lets it boot twice. Returns what was wrong."""
        who, more = self.known(self.first), {"/damage.py": harm.program}
        flash = self.image(self.config(self.first), before.files, more)
        with self.board(flash) as board:
            board.wait_for(DUE)
            board.write(b"\x03")
            board.wait_for(">>> ")
            board.write(b"import damage; print('damage', 'done')\r")
            board.wait_for("damage done")
        wrong = []
        for n in range(2):
            board = self.board()
            held, fetched = Kept(board.files()), self.calls(SECRET_INFO)
            has_it = held.credentials == who and not harm.elsewhere
            try:
                with board:
                    waits = held.waits(who) and not harm.elsewhere
                    lasts(board, DUE if waits else REPORTED)
            except BoardError as e:
                return [*wrong, f"boot {n + 1}: {e}"]
            after, fetched = Kept(board.files()), self.calls(SECRET_INFO) - fetched
            unwritten = UNWRITTEN in board.output
            faults = {
                "a wrong secret is on flash": after.credentials not in (None, who),
                "it fetched a secret that it had": has_it and fetched,
                "it reported without fetching a secret": not has_it and fetched != 1,
                "it did not keep its secret, and says nothing": not (has_it or unwritten)
                and (harm.elsewhere or after.credentials != who),
                "it cannot keep its secret": harm.kept and after.credentials != who,
            }
            wrong += [f"boot {n + 1}: {fault}" for fault, so in faults.items() if so]
        return wrong


def flips(flash: bytes, before: Kept, folder: Path, rng: random.Random, full: bool) -> Iterator[tuple]:
    """Every bit of each record flipped where it lies on flash, and of the directory around it.

    Yields (case, how many, what was wrong).
    """
    image = folder / "rotten"
    image.write_bytes(flash)
    for name in ("credentials", "schedule"):
        record = getattr(before, name)
        raw = before.files[f"{STATE}{name}.0"]
        start = flash.index(raw)
        bits = list(range((start - AROUND) * 8, (start + len(raw) + AROUND) * 8))
        if not full:
            bits = sorted(rng.sample(bits, SAMPLE))
        flip = ("flip", bits, [record, None])
        done = on_flash(image, "VfsLfs2", littlefs.BLOCK, flip, path=STATE + name)
        assert done is not None
        [((kept, lost), others)] = done["told"]
        yield (
            f"{name}: {kept} bits did no harm, {lost} lost it",
            len(bits),
            [f"{name}, bit {bit} of the flash: it loaded {found}" for bit, found in others],
        )


def failing(folder: Path, full: bool) -> Iterator[tuple[str, list[str]]]:
    """A save during which flash fails, for one operation or from there on; then all is well again."""
    first, second, third = ({"deviceSecret": letter * 200} for letter in "ABC")
    image, good = folder / "failing", folder / "failing.good"
    kinds = [("VfsLfs2", 32, 4096), ("VfsFat", 256, 512)]
    for kind, blocks, block in kinds if full else kinds[:1]:
        image.write_bytes(b"\xff" * blocks * block)
        on_flash(image, kind, block, ("mount",), ("save", {"n": 1}), ("save", first), make=True)
        shutil.copy(image, good)
        undisturbed = on_flash(image, kind, block, ("mount",), ("save", second))
        assert undisturbed is not None
        everything = range(1, undisturbed["operations"] + 1)
        lengths = (1, 1000) if full else (1,)
        for at, length, errno in itertools.product(everything, lengths, (5, 30) if full else (5,)):
            shutil.copy(good, image)
            do = [("mount",), ("save", second), ("load",), ("mount",), ("load",)]
            fails = (at, at + length - 1)
            done = on_flash(image, kind, block, *do, fails=fails, errno=errno)
            after = on_flash(image, kind, block, ("mount",), ("load",), ("save", third), ("load",))
            assert done is not None and after is not None
            _, saved, here, _, there = done["told"]
            _, later, again, then = after["told"]
            wrong = []
            may = [second] if saved == "saved" else [first, second]
            # FAT reads nothing while it cannot write what it holds back.
            unread = kind == "VfsFat" and saved != "saved" and here is None
            for found in (there, later) if unread else (here, there, later):
                if found not in may:
                    wrong.append(f"the save ended with {saved!r}, and the record is {found}")
            if (again, then) != ("saved", third):
                wrong.append(
                    f"with the flash well again, a save ended with {again!r}, and the record is {then}"
                )
            yield f"{kind} fails with {errno} at operations {fails}", wrong


def run(full: bool, tell: Callable[[str], None], seed: int = SEED) -> Verdict:
    """Spoils stored records in every way; the short form a sample of them."""
    verdict = Verdict("rotten flash")
    if find_micropython() is None:
        verdict.note = "not tried: there is no MicroPython for this computer"
        return verdict
    verdict.note = f"seed {seed}"
    rng = random.Random(seed)
    jobs = harms(rng)
    if not full:
        jobs = rng.sample(jobs, HARMED)
    with (
        tempfile.TemporaryDirectory(prefix="muster-rot-") as name,
        Cloud(issued_days_ago=30) as cloud,
        ThreadPoolExecutor(BOARDS) as pool,
    ):
        folder = Path(name)
        benches = [Rot(cloud, folder, f"ROT-{n}") for n in range(BOARDS)]
        kept = list(pool.map(Bench.enrolled, benches))
        board = benches[0].board()
        flash = board.image()
        board.stop()
        for what, cases, wrong in flips(flash, kept[0], folder, rng, full):
            tell(f"rotten flash: {what}")
            verdict.cases += cases
            verdict.failures += wrong
        free = queue.SimpleQueue[tuple[Rot, Kept]]()
        for pair in zip(benches, kept, strict=True):
            free.put(pair)

        def harmed(harm: Harm) -> tuple[str, list[str]]:
            bench, before = free.get()
            try:
                return harm.name, bench.harmed(before, harm)
            finally:
                free.put((bench, before))

        for what, wrong in itertools.chain(pool.map(harmed, jobs), failing(folder, full)):
            verdict.cases += 1
            verdict.failures += [f"{what}: {fault}" for fault in wrong]
            if verdict.cases % 10 == 0:
                tell(f"rotten flash: {verdict.cases}, {what}")
    return verdict
