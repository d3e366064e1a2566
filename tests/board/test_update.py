"""A board in the field takes releases and goes back from bad ones, with real flash and real TLS."""

import contextlib
import re
import time

import pytest
import releases
from devices import settings
from programs import ask, needs_micropython, stop

from tools.board import Board, BoardError
from tools.common import littlefs
from tools.common.certificates import make_ca
from tools.common.paths import ROOT
from tools.common.records import newest
from tools.factory import release
from tools.factory.library import compiled
from tools.factory.product import BLOCKS, board_files

pytestmark = needs_micropython

PERIOD = 3600


BROKEN = b"this is no program"
TRIAL = "muster/trial.py"


class Field:
    """A board, and where its releases are published."""

    def __init__(self, cloud, folder, server, ca):
        self.cloud, self.server = cloud, server
        self.folder, self.releases = folder / "board", folder / "release"
        url = f"https://127.0.0.1:{server.server_port}/manifest.jwt"
        self.config = settings(cloud, period=43200, deadline=86400, updates={"url": url, "period": PERIOD})
        self.key = releases.key()
        files = board_files(
            self.config,
            {"box": cloud.ca_pem, "ca": ca.pem},
            keys={"maker": releases.public_pem(self.key)},
        )
        self.product = files

    def shorten(self, before, after):
        """Changes a constant in muster/trial.py of the product."""
        source = (ROOT / "lib" / TRIAL).read_bytes()
        assert before in source
        self.product["/lib/muster/trial.mpy"] = compiled(source.replace(before, after), TRIAL)

    def publish(self, build, changed=None, **how):
        """Makes a release of the product with these changes; None takes a file out of it."""
        files = {**self.product, **(changed or {})}
        files = {path: data for path, data in files.items() if data is not None}
        release.make(self.releases, self.key, files, self.config, f"1.{build}", build, **how)

    def board(self, **how):
        image = littlefs.build(self.product, BLOCKS, 1795305600)
        return Board(self.folder, image, rtc=int(time.time()), **how)

    def version(self):
        return self.cloud.state()["devices"][0]["params"]["firmwareVersion"]


@pytest.fixture
def field(cloud, tmp_path):
    with releases.serving(tmp_path) as (server, root):
        yield Field(cloud, tmp_path, server, root)


def wait(board, what):
    """On a busy machine it may take its time."""
    board.wait_for(what, timeout=90)


def goes_on_trial(board):
    wait(board, "reported")
    board.pass_time(2 * PERIOD)
    wait(board, "build 7 starts on trial")


def whole(board, product):
    """Whether a board holds this product, and nothing of an update."""
    files = board.files()
    assert not [path for path in files if path.startswith("/update/") or path.endswith("~")]
    return {path: files.get(path) for path in product} == product


def test_a_release_is_taken_and_told(field):
    changed = {"/main.py": b"print('the new one')\n" + field.product["/main.py"], "/more/data": bytes(90000)}
    field.product["/old/data"] = b"1"
    field.publish(1)
    field.publish(7, {**changed, "/old/data": None})
    with field.board() as board:
        goes_on_trial(board)
        wait(board, "the new one")
        wait(board, "build 7 stays")
        wait(board, "reported")
        assert field.version() == "1.7"
        board.cut_power()
        field.product.update(changed)
        del field.product["/old/data"]
        assert whole(board, field.product) and "/old/data" not in board.files()
        # It starts as it was, and the platform knows all there is to know.
        board.start()
        wait(board, "the new one")
        wait(board, "the next report is due")


@pytest.mark.parametrize(
    "changed",
    [
        {"/main.py": b"raise ValueError('broken')"},
        {"/main.py": b"import time; time.sleep(9999)"},
        {"/main.py": BROKEN},
        {"/main.py": b""},
        {"/boot.py": BROKEN},
        {"/lib/muster/agent.py": BROKEN},  # which hides agent.mpy
        {"/main.py": b"import machine; machine.reset()"},
    ],
    ids=lambda changed: "=".join((*changed, changed[next(iter(changed))].decode())),
)
def test_a_build_that_crashes_is_undone_and_refused_for_good(field, changed):
    field.shorten(b"_WATCHDOG_MS = 120000", b"_WATCHDOG_MS = 1500")
    if "/main.py" not in changed:
        changed["/main.py"] = field.product["/main.py"].replace(b"WATCHDOG_S = 120", b"WATCHDOG_S = 2")
    field.publish(7, changed)
    with field.board() as board:
        goes_on_trial(board)
        wait(board, "build 7 crashed: the one before is back")
        wait(board, "reported")
        assert field.version() == "1.0"
        record = newest(board.files(), "update")
        assert record["refused"] == 7
        board.pass_time(2 * PERIOD)
        wait_for_a_look(board, record["look"])
        # What brought the old build back was the trial's own reset.
        told = field.server.asked[-1][1]
        assert re.fullmatch(r"muster/[0-9.]+ build/0 refused/7 \((crash|reset); crashes 0; .+\)", told), told
        board.cut_power()
        assert whole(board, field.product)


def wait_for_a_look(board, after):
    """Waits until a board has looked again, and has found nothing that it takes."""
    until = time.monotonic() + 90
    while newest(board.files(), "update")["look"] == after:
        assert time.monotonic() < until, board.output
        time.sleep(0.1)


def pass_hours_until(board, what):
    """Lets ten minutes pass again and again, as the ticks of a trial take them, until the board says it."""
    for _ in range(60):
        board.pass_time(600)
        with contextlib.suppress(BoardError):
            return board.wait_for(what, timeout=1)
    raise AssertionError(board.output)


@pytest.mark.parametrize("what", ["nobody is verified", "the program does nothing but feed the watchdog"])
def test_a_build_that_is_not_heard_is_undone(field, what):
    field.shorten(b"_TICKS = 36", b"_TICKS = 4")
    field.publish(1)
    if what == "nobody is verified":
        changed = {"/roots/box.der": None, "/roots/ca.der": None, "/roots/other.der": make_ca("another").der}
    else:
        feeding = (
            b"import machine, time\nw = machine.WDT(timeout=120000)\nwhile True: w.feed(); time.sleep(1)"
        )
        changed = {"/main.py": feeding}
    field.publish(7, changed)
    with field.board() as board:
        goes_on_trial(board)
        pass_hours_until(board, "build 7 was not heard: the one before is back")
        wait(board, "reported")
        board.cut_power()
        assert newest(board.files(), "update")["refused"] == 7
        assert whole(board, field.product)


def test_safe_mode_takes_the_release_that_helps(field):
    mended = field.product["/main.py"]
    field.product["/main.py"] = b"import machine; machine.reset()"
    field.publish(7, {"/main.py": mended})
    with field.board() as board:
        wait(board, "without it for an hour")
        wait(board, "build 7 starts on trial")
        wait(board, "build 7 stays")
        stop(board)
        assert ask(board, "(agent.status()['build'], agent.status()['crashes'])") == "(7, 0)"
