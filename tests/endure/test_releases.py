"""Updates: power cut at every flash operation of them, and while a device recovers from one."""

from __future__ import annotations

import dataclasses
import random
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import releases
from devices import settings
from endure.lab import Lab, lasts, newest
from muster.store import FileStore
from pem_keys import OTHER_PUBLIC

from tools.board import Board, BoardError
from tools.common import littlefs, vm
from tools.common.certificates import Certificate
from tools.common.paths import ROOT
from tools.factory import release
from tools.factory.library import compiled
from tools.factory.product import BLOCKS as BLOCKS_OF_CHIP
from tools.factory.product import board_files

pytestmark = pytest.mark.skipif(vm.find_micropython() is None, reason="no MicroPython here")

PROGRAM = Path(__file__).parent / "vm" / "releases.py"
FLASH_IN_MEMORY = ROOT / "tools/bench/vm"
PRODUCT = "1234567890123"
CONFIG = {"productId": PRODUCT, "productKey": "pr0ductk3y", "updates": {"url": "https://x/manifest.jwt"}}
SECRET = {"deviceId": "d1", "deviceSecret": "s3cret"}
HEAP = 4 << 20
BLOCKS = 64
FILLER = 11  # with a block more there is no room for the release
TORN = (1.0, 0.5, 0.0)
GOOD, CRASHES, UNHEARD, SWITCHED_OFF = "works", "crashes", "is_not_heard", "is_switched_off"
SAMPLE = 4  # lives in the short form
SECONDS, SECONDS_FULL = 2, 8  # cuts of what follows a first one
RELEASES, DEVICES, DEVICES_FULL = 8, 2, 1000
WHOLE, WHOLE_FULL = 1, 60  # of whole boards
RESTS = re.compile("the next report is due.*\\n")
FULL_S = 3 * 3600


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that cannot be deflated."""
    return random.Random(seed).randbytes(size)


@dataclass(frozen=True)
class Shape:
    """A product, and what a release changes in it; None takes a file out. filler: blocks of other files."""

    before: Mapping[str, bytes] = dataclasses.field(default_factory=dict)
    after: Mapping[str, bytes | None] = dataclasses.field(default_factory=dict)
    blocks: int = BLOCKS
    filler: int = 0


BASE = {"/boot.py": b"# boots\n", "/lib/a.py": b"a = 1\n" * 20, "/lib/b.py": b"b = 1\n", "/old/data": b"old"}
COMPILED = {"/lib/b.py": None, "/lib/b.mpy": b"M\x06\0\x1f" + bytes(300)}
# In the short form the first of them only.
SHAPES = {
    "all of it": Shape(
        BASE,
        {
            **COMPILED,
            "/boot.py": b"# boots otherwise\n",
            "/lib/a.py": noise(4500),
            "/new/folder/c": b"c = 2",
            "/old/data": None,
        },
    ),
    "a file changed": Shape(BASE, {"/lib/a.py": b"a = 2\n" * 20}),
    "boot.py changed": Shape(BASE, {"/boot.py": b"# boots otherwise\n"}),
    "added and removed": Shape(BASE, {"/lib/c.py": b"c = 2", "/new/folder/d": b"d = 2", "/old/data": None}),
    "compiled": Shape(BASE, COMPILED),
    "a long file": Shape(BASE, {"/lib/a.py": noise(9000)}),
    "another key": Shape(BASE, {"/keys/other.pem": OTHER_PUBLIC.encode()}),
    "flash nearly full": Shape(
        {**BASE, "/x": noise(9000, 2)}, {"/lib/a.py": noise(3000), "/x": noise(9001, 3)}, filler=FILLER
    ),
}
# 33 files that all change, of the sizes of the library's.
LARGE = {f"/lib/muster/{('', 'net/', 'clouds/')[n % 3]}part{n}.mpy": 200 + 80 * n for n in range(28)}


def secret(folder: Path) -> dict[str, bytes]:
    store = FileStore(str(folder / "credentials"))
    store.save(SECRET)
    store.save(SECRET)
    return {f"/state/{path.name}": path.read_bytes() for path in folder.glob("credentials.*")}


class Maker:
    """Releases of a product of this shape: build 1 in the factory, 2 and on, and a last one, which works.

    does: what each but the first and the last does.  program: instead of trial.py.  more: changes in a build.
    """

    def __init__(
        self,
        folder: Path,
        shape: Shape,
        does: str,
        program: str | None = None,
        more: Callable[[int], Mapping[str, bytes | None]] | None = None,
    ) -> None:
        source = program or (ROOT / "lib/muster/trial.py").read_text()
        trial = compiled(source.encode(), "muster/trial.py")
        keys = {"/keys/maker.pem": releases.public_pem(releases.key()), "/lib/muster/trial.mpy": trial}
        files = {**shape.before, **keys, "/main.py": self.main(1, GOOD)}
        folder.mkdir(exist_ok=True)
        self.folder, self.builds, self.folders = folder, {}, []
        first = self.make(1, files)
        image = littlefs.build(
            {**first, **secret(folder), "/config.json": b"{}", "/filler": bytes(4096 * shape.filler)},
            shape.blocks,
            1795305600,
        )
        (folder / "image").write_bytes(image)
        files |= shape.after
        for build, what in enumerate([*does.split(), GOOD], 2):
            files |= {"/main.py": self.main(build, what), **(more(build) if more else {})}
            self.make(build, files)
        good = [build for build, what in enumerate([GOOD, *does.split(), GOOD], 1) if what == GOOD]
        self.lives = {
            "image": str(folder / "image"),
            "product": PRODUCT,
            "builds": self.builds,
            "folders": self.folders[1:],
            "ends": good[-1:] if more else good[-2:-1],
        }

    def main(self, build: int, does: str) -> bytes:
        return f"device.{does}()  # build {build}\n".encode()

    def make(self, build: int, files: Mapping[str, bytes | None]) -> Mapping[str, bytes]:
        folder = self.folder / str(build)
        if self.folders:
            shutil.copytree(self.folders[-1], folder)
        there = {path: data for path, data in files.items() if data is not None}
        made = release.make(folder, releases.key(), there, CONFIG, f"1.{build}", build)
        self.folders.append(str(folder))
        self.builds[build] = {path: str(folder / f"file{n}") for n, path in enumerate(made.files)}
        for path, where in self.builds[build].items():
            Path(where).write_bytes(made.files[path])
        return made.files

    def told(self, *do: object, timeout: int = 300) -> list:
        request = {**self.lives, "do": do}
        return vm.ask(PROGRAM, request, heap=HEAP, timeout=timeout, paths=[*vm.LIBRARY, FLASH_IN_MEMORY])


@pytest.mark.parametrize("does", [GOOD, CRASHES, UNHEARD])
@pytest.mark.parametrize(
    "shape",
    [pytest.param(name, marks=[pytest.mark.full] if n else [], id=name) for n, name in enumerate(SHAPES)],
)
def test_a_power_cut_at_any_flash_operation_of_an_update_loses_nothing(trial, tmp_path, shape, does):
    """Of stage, commit, move, confirm and return; and, sampled, of what follows the first cut as well."""
    rng = random.Random(trial.seed)
    maker = Maker(tmp_path, SHAPES[shape], does)
    [undisturbed] = maker.told(["undisturbed"])
    trial.tried(f"{shape}, {does}, undisturbed", undisturbed["wrong"])
    everything = range(1, undisturbed["operations"] + 1)
    if trial.full:
        cuts = [[(at, torn)] for at in everything for torn in TORN]
        firsts, seconds = everything, SECONDS_FULL
    else:
        cuts = [[(at, rng.choice(TORN))] for at in rng.sample(everything, SAMPLE)]
        firsts, seconds = rng.sample(everything, 1), SECONDS
    pairs = ["pairs", [*firsts], rng.choice(TORN), len(everything) // seconds]
    singly, doubly = maker.told(["cuts", cuts], pairs, timeout=FULL_S)
    for cut, (wrong, losses) in zip(cuts, singly, strict=True):
        trial.tried(f"{shape}, {does}, cut {cut} (operation, part done)", wrong, losses)
    for cut, wrong, losses in doubly["found"]:
        trial.tried(f"{shape}, {does}, cuts {cut} (operations, {pairs[2]} done)", wrong, losses)
    trial.cases += doubly["lives"] - len(doubly["found"])
    assert doubly["lives"] >= len(firsts)


def test_months_of_good_and_bad_releases_lose_no_device(trial, tmp_path):
    """Cuts, outages of the platform and of the releases' server, and releases that are withdrawn."""
    rng = random.Random(trial.seed)
    does = " ".join(rng.choice((GOOD, GOOD, CRASHES, UNHEARD)) for _ in range(RELEASES))

    def more(build: int) -> dict[str, bytes | None]:
        of_times = {
            "/lib/c.py": noise(2000, build) if build % 3 else None,
            "/new/d": None if build % 2 else b"d",
        }
        return {
            "/lib/a.py": noise(300 * build, build),
            "/boot.py": f"# boots {build // 2}\n".encode(),
            **of_times,
        }

    maker = Maker(tmp_path, SHAPES["all of it"], does, more=more)
    seeds = [rng.randrange(1 << 30) for _ in range(DEVICES_FULL if trial.full else DEVICES)]
    [devices] = maker.told(["years", seeds], timeout=FULL_S)
    for seed, (wrong, losses, _) in zip(seeds, devices, strict=True):
        trial.tried(f"{does}, device {seed}", wrong, losses)
    # They have run bad ones as well.
    assert len({build for *_, begun in devices for build in begun}) > RELEASES - 2


def test_a_buyer_who_plays_with_the_switch_gets_the_build_before_and_then_the_release(trial, tmp_path):
    """Thirty starts without a heartbeat."""
    maker = Maker(tmp_path, SHAPES["all of it"], SWITCHED_OFF)
    [[(wrong, losses)]] = maker.told(["cuts", [[]]])
    trial.tried("switched off thirty times", wrong, losses)


def test_flash_operations_of_an_update_of_33_files(trial, tmp_path):
    before = {path: b"M\x06" + noise(size, size) for path, size in LARGE.items()}
    after = {path: b"M\x06" + noise(size, size + 1) for path, size in LARGE.items()}
    after["/boot.py"] = b"# boots otherwise\n"
    shape = Shape({**BASE, **before}, {**after, "/lib/a.py": b"a = 2", "/lib/b.py": b"b = 2"}, blocks=128)
    counted = {}
    for does in (GOOD, CRASHES):
        maker = Maker(tmp_path / does, shape, does)
        [undisturbed] = maker.told(["undisturbed"])
        trial.tried(f"33 files, {does}", undisturbed["wrong"])
        counted[does] = undisturbed["starts"]
    stage, move, *_, back, tidy = counted[CRASHES]
    confirm = counted[GOOD][1] - move
    figures = {"stage and commit": stage, "move": move, "confirm": confirm, "go back": back + tidy}
    trial.note = "flash operations for 33 files: " + ", ".join(
        f"{n} to {what}" for what, n in figures.items()
    )
    assert stage <= 750 and move <= 105 and confirm <= 47 and back + tidy <= 62, figures


# On whole boards


class Field:
    """A board with the whole product, build 1 of it, and a server that offers build 2."""

    def __init__(self, lab: Lab, folder: Path, server: ThreadingHTTPServer, root: Certificate) -> None:
        self.folder, self.releases = folder / "board", folder / "release"
        url = f"https://127.0.0.1:{server.server_port}/manifest.jwt"
        how = {"period": 43200, "deadline": 86400, "updates": {"url": url, "period": 3600}}
        self.config = settings(lab.cloud, **how)
        keys = {"maker": releases.public_pem(releases.key())}
        files = board_files(self.config, {"box": lab.cloud.ca_pem, "root": root.pem}, keys=keys)
        self.product = {1: self.release(1, files)}
        self.image = littlefs.build(
            {**self.product[1], "/config.json": files["/config.json"]}, BLOCKS_OF_CHIP, 0
        )

    def release(self, build: int, files: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return release.make(self.releases, releases.key(), files, self.config, f"1.{build}", build).files

    def offer(self, does: str) -> None:
        main = self.product[1]["/main.py"]
        changed = {"/main.py": main + b"# 2\n" if does == GOOD else b"import machine\nmachine.reset()\n"}
        self.product[2] = self.release(2, {**self.product[1], **changed, "/more/data": noise(9000)})
        self.ends = 2 if does == GOOD else 1
        self.refused = None if does == GOOD else 2

    def board(self, image: bytes | None = None, cut_at: int | None = None, torn: float = 0) -> Board:
        return Board(self.folder, image, rtc=int(time.time()), cut_at=cut_at, torn=torn)

    def settles(self, board: Board) -> bool:
        """Lets time pass until the release has been taken, or has been undone. False if the power went."""
        for _ in range(6):
            if not lasts(board, RESTS):
                return False
            if self.wrong(board.files()) == []:
                return True
            # It looks within an hour and a half of a heartbeat that was accepted.
            reported = board.output.rstrip().splitlines()[-1].startswith("muster: reported")
            board.pass_time(5500 if reported else 44200)
        raise BoardError(f"it does not come to its end: {self.wrong(board.files())}")

    def wrong(self, files: Mapping[str, bytes]) -> list[str]:
        own = {path: data for path, data in files.items() if not path.startswith(("/state/", "/config.json"))}
        builds = [build for build, product in self.product.items() if product == own]
        refused = (newest(files, "update") or {}).get("refused")
        return [
            *([f"its files are of the builds {builds}: {sorted(own)}"] if builds != [self.ends] else []),
            *([f"it refuses build {refused}"] if refused != self.refused else []),
            *(["its secret is lost"] if not newest(files, "credentials") else []),
        ]


@pytest.fixture
def field(lab, tmp_path):
    with releases.serving(tmp_path) as (server, root):
        yield Field(lab, tmp_path, server, root)


@pytest.mark.parametrize("does", [GOOD, CRASHES])
def test_a_power_cut_on_a_whole_board_loses_nothing(trial, field, does):
    field.offer(does)
    rng = random.Random(trial.seed)
    with field.board(field.image) as board:
        assert lasts(board, RESTS)
        first = board.operations
        board.pass_time(5500)
        assert field.settles(board)
        operations = board.operations
    for at in rng.sample(range(first + 1, operations + 1), WHOLE_FULL if trial.full else WHOLE):
        wrong = []
        torn = rng.choice(TORN)
        try:
            with field.board(field.image, at, torn) as board:
                lasted = field.settles(board)
            while not lasted:
                with field.board() as board:
                    lasted = field.settles(board)
                wrong = field.wrong(board.files())
        except BoardError as e:
            wrong = [str(e)]
        trial.tried(f"a whole board, {does}, cut {at, torn} of {operations} operations", wrong, len(wrong))


# The trials can fail


@pytest.mark.parametrize(
    ("does", "line", "instead", "seen"),
    [
        pytest.param(
            CRASHES, 'move(path, path + ".old~")\n', "remove(path)\n", "lost", id="no old file is kept"
        ),
        pytest.param(CRASHES, 'note("/update/starts", "c")', "pass", "lost", id="no crash is counted"),
        pytest.param(
            GOOD,
            "    for _, _, _, path in plan():\n        remove(path",
            '    move("/update/boot.new", "/boot.py")\n    for _, _, _, path in plan():\n        remove(path',
            "mixed",
            id="order",
        ),
        pytest.param(
            GOOD, '            remove("/update/" + name)', "            pass", "left", id="no tidying"
        ),
    ],
)
def test_a_trial_that_would_lose_a_device_is_seen(tmp_path, does, line, instead, seen):
    program = (ROOT / "lib/muster/trial.py").read_text()
    assert program.count(line) == 1
    maker = Maker(tmp_path, SHAPES["a file changed"], does, program.replace(line, instead))
    [undisturbed] = maker.told(["undisturbed"])
    last = undisturbed["operations"]
    [lives] = maker.told(["cuts", [[(last - 12, 0.5)], [(last - 3, 0.5)]]])
    assert seen in str(lives)
    assert seen != "lost" or all(losses for _, losses in lives)
