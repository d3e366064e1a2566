"""A board whose program crashes: what it keeps of that, safe mode, and a library that does not load."""

import re

import pytest
from devices import REPORT, hourly
from programs import ask, needs_micropython, stop

from tools.board import Board
from tools.common.paths import ROOT
from tools.common.records import newest
from tools.factory.product import board_image

pytestmark = needs_micropython

# The main.py that ships, with a watchdog of a second, and an agent that runs into a mistake.
MAIN = (ROOT / "main.py").read_text().replace("WATCHDOG_S = 120", "WATCHDOG_S = 1")
CRASHES = MAIN.replace("    agent.run()\n", "    agent.step()\n    {}['s3cret']\n")
HANGS = MAIN.replace(
    "    agent.run()\n", "    import time\n    print('hangs')\n    while True:\n        time.sleep_ms(100)\n"
)
SAFE = "without it for an hour"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "board"


def switch_on(folder, cloud, config, main=MAIN, more=(), **how):
    files = {"/main.py": main.encode(), **dict(more)}
    return Board(folder, board_image(config, [cloud.ca_pem], more=files), **how)


def last(board):
    return newest(board.files(), "last")


def test_an_exception_is_kept_and_counted_until_a_heartbeat_is_accepted(folder, cloud):
    with switch_on(folder, cloud, hourly(cloud), CRASHES) as board:
        board.wait_for("reported")
        board.wait_for("KeyError: s3cret")
        board.wait_for("watchdog got triggered")
        board.wait_for("the next report is due")
        line = CRASHES.splitlines().index("    {}['s3cret']") + 1
        assert last(board) == {"e": f"KeyError main.py, line {line}, in <module>", "asked": 0, "n": 1}
        flash = board.files()
    # The same device, and a main.py that does not crash.
    with Board(folder, board_image(hourly(cloud), [cloud.ca_pem], flash)) as board:
        board.wait_for("the next report is due")
        assert last(board)["n"] == 1
        board.pass_time(5400)
        board.wait_for("reported")
        assert last(board)["n"] == 0
        stop(board)
        said = ask(board, "[agent.status()[n] for n in ('last_reset', 'crashes', 'last_exception')]")
        assert said == f"['power', 0, 'KeyError main.py, line {line}, in <module>']"
        # What that loaded has left again.
        board.write(b"import sys\r")
        assert ask(board, "[n for n in sys.modules if n in ('muster.last', 'muster.store')]") == "[]"


def test_after_three_crashes_it_reports_without_the_program_for_an_hour(folder, cloud):
    with switch_on(folder, cloud, hourly(cloud), HANGS) as board:
        for _ in range(3):
            board.wait_for("hangs")
            board.wait_for("watchdog got triggered")
        board.wait_for(SAFE)
        board.wait_for("reported")
        assert "n" in last(board) and last(board)["n"] == 0
        calls = len(cloud.calls(REPORT))
        board.pass_time(3500)
        board.pass_time(101)
        board.wait_for("rst:")
        # It was no crash, and three more are needed.
        board.wait_for("hangs")
        assert last(board)["n"] == 0 and last(board)["asked"] == 2
        board.wait_for("watchdog got triggered")
        board.wait_for("hangs")
        assert last(board)["n"] == 1
    assert calls == 1


def test_the_power_that_goes_in_safe_mode_ends_it_only_if_it_was_heard(folder, cloud):
    with switch_on(folder, cloud, hourly(cloud), HANGS) as board:
        cloud.misbehave(code="500")
        for _ in range(3):
            board.wait_for("watchdog got triggered")
        board.wait_for(SAFE)
        board.wait_for("refused")
        board.reset()
        board.wait_for(SAFE)
        cloud.behave()
        board.wait_for("reported", 40)
        board.reset()
        board.wait_for("hangs")


def test_ctrl_c_ends_safe_mode(folder, cloud):
    with switch_on(folder, cloud, hourly(cloud), HANGS) as board:
        for _ in range(3):
            board.wait_for("watchdog got triggered")
        board.wait_for("reported")
        stop(board)
        board.write(b"\x04")
        board.wait_for("hangs")


def test_a_panic_counts_and_a_persons_resets_do_not(folder, cloud):
    with switch_on(folder, cloud, hourly(cloud)) as board:
        board.wait_for("reported")
        board.panic()
        board.wait_for("rst:")
        board.wait_for("the next report is due")
        assert last(board)["n"] == 1
        board.reset()
        board.wait_for("the next report is due")
        stop(board)
        board.write(b"\x04")
        board.wait_for("the next report is due")
        stop(board)
        board.write(b"import machine; machine.reset()\r")
        board.wait_for("the next report is due")
        stop(board)
        board.write(b"from muster import board; board.reset()\r")
        board.wait_for("the next report is due")
        assert last(board)["n"] == 1
        stop(board)
        assert ask(board, "agent.status()['last_reset']") == "reset"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/lib/muster/net/wait.mpy", b""),
        ("/lib/muster/clock.mpy", b"M\x05\x00\x1f"),
        ("/lib/muster/last.py", b"def start(:\n"),
        ("/lib/muster/memory.mpy", None),
    ],
)
def test_a_library_that_does_not_load_is_said_and_tried_again_in_an_hour(folder, cloud, path, content):
    image = board_image(hourly(cloud), [cloud.ca_pem], more={path: content or b"M"})
    with Board(folder, image) as board:
        board.wait_for(
            re.compile(r"muster: this board cannot start: \w+Error .*\nmuster: deploy to it again")
        )
        board.wait_for("Traceback")
        board.wait_for(">>> ")
        assert (folder / "wdt").read_text().split()[0] == "3600000"
    short = (ROOT / "boot.py").read_text().replace("AGAIN_MS = 3600000", "AGAIN_MS = 300").encode()
    files = {path: content or b"M", "/boot.py": short}
    with Board(folder, board_image(hourly(cloud), [cloud.ca_pem], more=files)) as board:
        board.wait_for("cannot start")
        board.wait_for("watchdog got triggered")
        board.wait_for("cannot start")


def test_an_agent_that_does_not_load_ends_in_the_same(folder, cloud):
    more = {"/lib/muster/agent.mpy": b"M\x05\x00\x1f"}
    with switch_on(folder, cloud, hourly(cloud), more=more.items()) as board:
        for _ in range(3):
            board.wait_for("watchdog got triggered")
        board.wait_for("cannot start")
        board.wait_for(">>> ")
        assert (folder / "wdt").read_text().split()[0] == "3600000"
        assert last(board)["n"] == 0


def test_a_program_without_an_agent_is_left_to_itself(folder, cloud):
    more = {"/config.json": b"{}"}
    program = "import time\nprint('at work')\nwhile True:\n    time.sleep_ms(20)\n"
    with switch_on(folder, cloud, hourly(cloud), program, more.items()) as board:
        for _ in range(4):
            board.wait_for("at work")
            board.panic()
            board.wait_for("rst:")
        board.wait_for("at work")
        assert SAFE not in board.output and last(board)["n"] == 1
        assert not (folder / "wdt").exists()


def test_a_build_on_trial_has_neither_safe_mode_nor_the_hour(folder, cloud):
    trial = b"TRIAL = 1\nexecfile('/new.py')\n"
    more = {"/boot.py": trial, "/new.py": (ROOT / "boot.py").read_bytes()}
    with switch_on(folder, cloud, hourly(cloud), HANGS, more.items()) as board:
        for _ in range(4):
            board.wait_for("hangs")
            board.wait_for("watchdog got triggered")
        board.wait_for("hangs")
        assert SAFE not in board.output and last(board)["n"] == 0


@pytest.mark.parametrize("flash", ["full", "rotten"])
def test_it_starts_whatever_its_flash_is_like(folder, cloud, flash):
    rotten = {f"/state/last.{slot}": b"\xff" * 100 for slot in "01"}
    full = {"/filler": bytes(330 * 4096)}
    image = board_image(hourly(cloud), [cloud.ca_pem], more=rotten if flash == "rotten" else full)
    with Board(folder, image) as board:
        board.wait_for("reported")
        board.panic()
        board.wait_for("report")
        assert "Traceback" not in board.output


# All that is ever written: before a reset of its own and after it, at an exception, after the watchdog, and
# when a heartbeat is accepted.
ALL_OF_IT = b"""
import machine
from muster import board, last
if machine.reset_cause() == machine.PWRON_RESET:
    board.reset()
if machine.reset_cause() == machine.HARD_RESET:
    try:
        {}["s3cret"]
    except KeyError as e:
        last.ended(e)
    board.watchdog(1)
    import time
    while True:
        time.sleep_ms(100)
last.success()
print("all done")
"""


def test_power_cut_at_any_flash_operation_of_it_loses_nothing_else(folder, cloud):
    with switch_on(folder, cloud, hourly(cloud)) as board:
        board.wait_for("reported")
        files = board.files()
    image = board_image(hourly(cloud), [cloud.ca_pem], files, {"/main.py": ALL_OF_IT})
    with Board(folder, image) as board:
        board.wait_for("all done")
        operations, whole = board.operations, board.files()
    assert operations >= 5
    e = "KeyError main.py, line 8, in <module>"
    end = {"e": e, "asked": 0, "n": 0}
    states = [
        {},
        {"asked": 1, "n": 0},
        {"asked": 2, "n": 0},
        {"e": e, "asked": 2, "n": 0},
        {"e": e, "asked": 0, "n": 1},
        end,
    ]
    found = []
    for at in range(1, operations + 1):
        with Board(folder, image, cut_at=at, torn=0.5) as board:
            board.wait_off(30)
            found.append(states.index(last(board)))
        with Board(folder) as board:
            board.wait_for("all done")
            assert last(board) == end
            assert others(board.files()) == others(whole), at
    assert found == sorted(found)


def others(files):
    return {path: data for path, data in files.items() if not path.startswith("/state/last")}
