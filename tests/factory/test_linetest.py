"""flash --check: a maker's own program on each board, which decides whether it enrols."""

import contextlib
import csv
import itertools
import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner
from devices import SECRET_INFO

from tools.board import Board
from tools.cli.main import main
from tools.cloud import Cloud, Device
from tools.common import littlefs
from tools.common.paths import ROOT
from tools.common.vm import find_micropython
from tools.factory import linetest
from tools.factory.linetest import Check
from tools.factory.product import BLOCKS
from tools.factory.raw_repl import RawRepl

pytestmark = pytest.mark.skipif(find_micropython() is None, reason="needs MicroPython")

EXAMPLE = ROOT / "firmware" / "examples" / "check.py"
BATCHES = itertools.count(1)  # a computer remembers how far each has come
ANTENNA, BUTTON = 3, 5  # the boards on which they are broken


@pytest.fixture
def platform(tmp_path):
    """The clouds in a box, and the files of a product and a batch of eight for them."""
    batch = next(BATCHES)
    devices = [Device("1234567890123", "k3yk3yk3y", "SN", f"LT{batch}-{n:04}") for n in range(1, 9)]
    with Cloud(devices) as cloud:
        config = devices[0].config(cloud.url, cmei="", deviceNo="auto")
        config["wifi"] = [{"ssid": "muster-lab", "key": "password"}]
        (tmp_path / "config.json").write_text(json.dumps(config))
        with (tmp_path / "batch.csv").open("w", newline="") as f:
            csv.writer(f).writerows([["deviceNo"], *([device.device_no] for device in devices)])
        yield cloud


@contextlib.contextmanager
def rack(tmp_path, numbers):
    with contextlib.ExitStack() as stack:
        yield {
            n: stack.enter_context(Board(tmp_path / f"{n}", mac=bytes.fromhex("240ac40001") + bytes([n])))
            for n in numbers
        }


def arguments(tmp_path, cloud, boards, program, *more):
    given = ["flash", "--board", "ESP32_GENERIC", "--config", str(tmp_path / "config.json")]
    given += ["--roots", str(cloud.ca_pem), "--identities", str(tmp_path / "batch.csv"), *more]
    return [*given, "--check", str(program), *(word for b in boards for word in ("--port", b.port))]


def flash(*given):
    done = CliRunner(env={"COLUMNS": "300"}).invoke(main, list(given))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def one(tmp_path, cloud, board, source, *more):
    """The result of one board with a check of this source, and the exit status."""
    program = tmp_path / "check.py"
    program.write_text(source)
    done = flash(*arguments(tmp_path, cloud, [board], program, "--json", *more))
    assert done.stdout, done.stderr
    [result] = json.loads(done.stdout)
    return result, done.exit_code


def enrolled(cloud):
    return sorted(call["device"] for call in cloud.calls(SECRET_INFO))


def test_of_eight_boards_the_two_that_fail_do_not_enrol_and_get_their_rows_later(tmp_path, platform):
    with rack(tmp_path, range(1, 9)) as boards:
        boards[ANTENNA].set_air([])
        boards[BUTTON].set_pin(0, 0)
        given = arguments(tmp_path, platform, boards.values(), EXAMPLE)
        done = flash(*given, "--json")
        results = dict(zip(boards, json.loads(done.stdout), strict=True))
        failed = {n: result for n, result in results.items() if result["outcome"] == "failed"}
        assert done.exit_code == 1
        assert {n: result["check"] or result["said"] for n, result in failed.items()} == {
            ANTENNA: "FAIL it hears none of muster-lab: is its antenna connected?",
            BUTTON: "FAIL the button is stuck",
        }
        good = [result for n, result in results.items() if n not in failed]
        assert [(r["check"], r["outcome"]) for r in good] == [("PASS", "enrolled")] * 6
        assert enrolled(platform) == sorted(result["identity"]["deviceNo"] for result in good)
        journal = [json.loads(line) for line in (tmp_path / "batch.csv.boards").read_text().splitlines()]
        noted = {entry["mac"]: entry["check"] for entry in journal if "outcome" in entry}
        assert noted == {result["mac"]: result["check"] for result in results.values()}

        # Without power in between either: nothing of the product starts.
        boards[ANTENNA].set_air([{"ssid": "muster-lab", "key": "password"}])
        boards[ANTENNA].reset()
        boards[ANTENNA].wait_for(">>> ")

        again = [boards[n] for n in failed]
        table = flash(*arguments(tmp_path, platform, again, EXAMPLE))
        assert table.exit_code == 1 and table.output.count("PASS; enrolled") == 1
        assert "FAIL the button is stuck; it has not enrolled" in table.output
        boards[BUTTON].set_pin(0, 1)
        table = flash(*arguments(tmp_path, platform, again, EXAMPLE))
        assert table.exit_code == 0 and table.output.count("PASS; enrolled") == 2, table.output
        assert enrolled(platform) == sorted(result["identity"]["deviceNo"] for result in results.values())
        for n, board in boards.items():
            board.cut_power()
            files = board.files()
            assert not set(linetest.HELD.values()) & set(files) and set(linetest.HELD) <= set(files)
            assert json.loads(files["/config.json"])["deviceNo"] == results[n]["identity"]["deviceNo"]


# What a check prints or does, and the verdict.
UNCLEAR = {
    "print('PASS')\nraise ValueError('no codec')": "FAIL it raised ValueError: no codec",
    "print('PASS'": "FAIL it raised SyntaxError: invalid syntax",
    "": "FAIL its last line is neither PASS nor FAIL; it said nothing",
    "print('PASSED')": "FAIL its last line is neither PASS nor FAIL; the last it said: PASSED",
    "print('PASS')\nprint('bye')": "FAIL its last line is neither PASS nor FAIL; the last it said: bye",
    "print('FAIL')": "FAIL",
    "while True: pass": "FAIL it did not end within 2 s; it said nothing",
    "while True: print(end='m')": ("FAIL it did not end within 2 s; the last it said: " + "m" * 200)[:200],
}


def test_a_check_without_a_clear_pass_is_a_fail_with_the_reason(tmp_path):
    with Board(tmp_path, littlefs.build({}, BLOCKS, 0)) as board:
        board.wait_for(">>> ")
        for source, check in UNCLEAR.items():
            repl = RawRepl(board.port)
            assert linetest.verdict(repl, Check(source.encode(), 2), str, list) == check, source
            repl.close()


def test_a_board_that_fails_gets_nothing_that_could_start(tmp_path, platform):
    source = "import machine\nprint('PASS')\nmachine.reset()"
    with rack(tmp_path, [1]) as boards:
        result, status = one(tmp_path, platform, boards[1], source, "--check-s", "2")
        boards[1].cut_power()
        files = boards[1].files()
    assert (result["check"], result["outcome"], status) == (
        *("FAIL it did not end within 2 s; the last it said: >>>", "failed", 1),
    )
    assert enrolled(platform) == [] and "/main.py" not in files and "/boot.py" not in files


def test_what_stands_behind_pass_is_kept_and_the_chips_own_lines_are_not_the_programs(tmp_path, platform):
    source = (
        "import sys\nassert 'muster' not in sys.modules\nprint('PASS mic -31 dB')\nprint('I (8123) wifi:off')"
    )
    with rack(tmp_path, [1]) as boards:
        result, status = one(tmp_path, platform, boards[1], source, "--no-wait")
        boards[1].wait_for("muster: enrolled")
    assert (result["check"], result["outcome"], status) == ("PASS mic -31 dB", "flashed", 0)


def test_what_another_program_of_the_board_says_is_no_pass(tmp_path, platform):
    with rack(tmp_path, [1]) as boards:
        boards[1].cut_power()
        blocks = boards[1].flash.region.size // littlefs.BLOCK
        boards[1].flash.write(littlefs.build({"/main.py": b"while True: print('PASS')"}, blocks, 0))
        boards[1].start()
        boards[1].wait_for("PASS")
        result, status = one(tmp_path, platform, boards[1], "print('FAIL no light')")
    assert (result["check"], status) == ("FAIL no light", 1)


def test_ctrl_c_ends_the_check_on_the_board_too(tmp_path, platform):
    program = tmp_path / "check.py"
    program.write_text("import time\nprint('playing')\nwhile True: time.sleep_ms(10)\n")
    with rack(tmp_path, [1, 2]) as boards:
        command = arguments(tmp_path, platform, boards.values(), program, "--check-s", "600")
        flashing = subprocess.Popen(
            [sys.executable, "-m", "tools.cli", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            for board in boards.values():
                board.wait_for("playing", 100)
            os.killpg(flashing.pid, signal.SIGINT)
            said, _ = flashing.communicate(timeout=100)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(flashing.pid, signal.SIGKILL)
        assert flashing.returncode == 130 and said.count("  stopped: flash it again") == 2, said
        assert "Traceback" not in said and "KeyboardInterrupt" not in said
        for board in boards.values():
            board.wait_for(">>> ")
    assert enrolled(platform) == []


def test_a_check_that_is_not_there_is_said_before_anything_is_written(tmp_path, platform):
    with rack(tmp_path, [1]) as boards:
        done = flash(*arguments(tmp_path, platform, boards.values(), tmp_path / "none.py"))
    assert done.exit_code == 2 and "none.py" in done.output
    assert not (tmp_path / "batch.csv.boards").exists()
