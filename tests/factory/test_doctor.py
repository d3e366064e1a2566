"""doctor on boards that are silent, each for another reason, on a healthy one, and without a board."""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from devices import DEVICE, hourly
from muster.trial import STUB
from muster.trial import __file__ as TRIAL

from tools.board import Board
from tools.cli.main import Commands
from tools.cloud import Cloud
from tools.common.littlefs import BLOCK, build
from tools.common.records import newest
from tools.common.vm import find_faketime, find_micropython
from tools.factory import raw_repl
from tools.factory.doctor import facts as asking
from tools.factory.doctor.chain import Chain
from tools.factory.doctor.facts import ENDED, Facts, examine, place
from tools.factory.doctor.lines import BAD, GOOD, UNKNOWN, lines, verdict
from tools.factory.product import BLOCKS, board_files, board_image
from tools.factory.remedies import remedy

pytestmark = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")

DEAD_NTP = "127.0.0.1:9"
SETUP = {"key": "ABCDE23456", "name": "toy"}
IDLE = b"import time\nwhile True:\n    time.sleep_ms(20)\n"
RAISES = b"import muster\n\ndef ask():\n    raise ValueError('s3cret words')\n\nask()\n"
RESETS = b"import machine\nmachine.reset()\n"
SECRETS = ("password", "pr0ductk3y", "wr0ngk3y", "s3cret", SETUP["key"])


@pytest.fixture(scope="module")
def cloud():
    with Cloud([DEVICE], issued_days_ago=30) as cloud:
        yield cloud


def run(board, *arguments):
    """(exit status, what it printed)"""
    done = CliRunner().invoke(Commands(), ["doctor", "--port", getattr(board, "port", board), *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def states(found):
    return {line.name: line.state for line in found}


def state(board):
    """What the device keeps, but for the record of its resets."""
    return {p: d for p, d in board.files().items() if p.startswith("/state/") and "/last" not in p}


def panics(board):
    for _ in range(3):
        board.wait_for("the next report is due")
        board.panic()
    board.wait_for("without it for an hour")


def full(files):
    """An image of the files and of one more, which leaves next to no room."""
    fits, most = 1, BLOCKS
    while most - fits > 1:
        size = (fits + most) // 2
        try:
            image = build({**files, "/song.wav": bytes(size * BLOCK)}, BLOCKS, 0)
            fits = size
        except ValueError:
            most = size
    return image


def silent(cloud, expired):
    """What is wrong -> the board's image, the name of the first line that is bad, and words in it."""

    def image(more=None, roots=None, of=cloud, **changes):
        return board_image(hourly(of, **changes), [of.ca_pem] if roots is None else roots, more=more)

    files = board_files(hourly(cloud), [cloud.ca_pem])
    without = {path: data for path, data in files.items() if not path.startswith("/lib/")}
    wrong_key = [{"ssid": "muster-lab", "key": "not the password"}]
    elsewhere = [{"ssid": "elsewhere", "key": "password"}]
    idle = {"/boot.py": b"", "/main.py": IDLE}
    boot = {"/boot.py": b"\n1 / 0\n"}
    return {
        "wrong Wi-Fi password": (
            image(wifi=wrong_key),
            "network",
            'muster-lab" is heard at -50 dBm, and refuses',
        ),
        "Wi-Fi out of reach": (image(wifi=elsewhere), "network", 'Wi-Fi "elsewhere" is not heard'),
        "nobody set it up": (image(wifi=[], setup=SETUP), "network", "nobody has given it"),
        "no root": (image(roots=[]), "roots", "there is no CA root in /roots"),
        "another root": (image(roots=[expired.ca_pem]), "roots", "O=muster, which is not one of the 1"),
        "expired certificate": (image(of=expired), "certificate", "it has expired"),
        "wrong productKey": (image(productKey="wr0ngk3y"), "identity", "产品秘钥错误"),
        "unknown device number": (image(deviceNo="AI-9999"), "identity", "设备不存在"),
        "clock in 2000": (image(idle, ntp=[DEAD_NTP]), "clock", "it says 2000-01-01 "),
        "full flash": (full(files), "flash", "it is full"),
        "no library": (build(without, BLOCKS, 0), "library", "there is no muster on this board"),
        "nothing but MicroPython": (build({"/boot.py": b""}, BLOCKS, 0), "library", "there is no muster"),
        "wrong configuration": (image(deadline=90000), "configuration", '"deadline" holds 90000'),
        "main.py raises": (image({"/main.py": RAISES}), "program", "ValueError main.py, line 4, in ask"),
        "main.py resets": (image({"/main.py": RESETS}), "program", "main.py: it reset the board"),
        "boot.py raises": (image(boot), "program", "boot.py: it raised ZeroDivisionError boot.py, line 2"),
        "crashes": (image(), "crashes", "the board was in safe mode"),
    }


FIRST = {"nobody set it up": Board.wait_for_portal, "crashes": panics}


@pytest.mark.skipif(find_faketime() is None, reason="no clock of its own for a board here")
def test_the_first_bad_line_is_the_cause(tmp_path, cloud, monkeypatch):
    monkeypatch.setattr(asking, "RUN_S", 1)
    # A process that another board's thread starts holds the lock of a port for a moment.
    monkeypatch.setattr(raw_repl, "SerialTransport", partial(raw_repl.SerialTransport, exclusive=False))

    def diagnose(what, image):
        with Board(tmp_path / what, image) as board:
            FIRST.get(what, id)(board)
            return lines(examine(board.port, lambda what: None))

    with Cloud([DEVICE]) as expired, ThreadPoolExecutor(6) as pool:
        expired.misbehave(certificate="expired")
        boards = silent(cloud, expired)
        tried = {what: pool.submit(diagnose, what, image) for what, (image, _, _) in boards.items()}
        told = {what: done.result() for what, done in tried.items()}
    causes = {what: verdict(found) for what, found in told.items()}
    assert {what: cause and cause.name for what, cause in causes.items()} == {
        what: name for what, (_, name, _) in boards.items()
    }
    for what, (_, _, words) in boards.items():
        assert words in causes[what].found and causes[what].todo
    # What was to be done is said, and what cannot be known.
    assert "check its key" in causes["wrong Wi-Fi password"].todo
    assert 'join its Wi-Fi "toy-I-0001"' in causes["nobody set it up"].todo
    assert causes["nobody set it up"].more == (
        "networks from the set-up page: none",
        "its set-up page, if it was open, has closed to answer this, and opens again",
    )
    assert '"productKey"' in causes["wrong productKey"].todo
    assert "import this number" in causes["unknown device number"].todo
    offline = states(told["wrong Wi-Fi password"])
    assert offline["answer"] == offline["identity"] == UNKNOWN and offline["certificate"] == GOOD
    assert set(states(told["no library"]).values()) >= {GOOD, BAD, UNKNOWN}
    assert not [secret for secret in SECRETS if secret in str(list(told.values()))]


def test_a_healthy_board_is_as_it_was_and_runs_again(tmp_path, cloud, monkeypatch):
    monkeypatch.setattr(asking, "RUN_S", 1)
    with Board(tmp_path, board_image(hourly(cloud), [cloud.ca_pem])) as board:
        board.wait_for("the next report is due")
        calls, before, kept = len(cloud.calls()), board.files(), state(board)
        status, said = run(board)
        board.wait_for("SW_CPU_RESET")
        board.wait_for("the next report is due")
        after = board.files()
        assert status == 0 and said.endswith("\nAll is good.\n"), said
        assert len(kept) == 3 and state(board) == kept
        assert {p: d for p, d in after.items() if "/last" not in p} == {
            p: d for p, d in before.items() if "/last" not in p
        }
        # Nothing was fetched or reported, and the restart is no crash.
        assert [call for call in cloud.calls()[calls:] if call["path"] != "/"] == []
        assert newest(after, "last")["n"] == 0
        # Stopped at its prompt, with an error in its memory.
        board.write(b"\x03")
        board.wait_for(">>> ")
        board.write(b"agent._last_error, agent._failures = 'it rains', 2\r")
        status, said = run(board, "--json")
        board.wait_for("SW_CPU_RESET")
        board.wait_for("the next report is due")
    told = json.loads(said)
    bad = [line["name"] for line in told["lines"] if line["state"] != GOOD]
    assert status == 1 and bad == ["last error"] and len(told["lines"]) == 16
    assert told["verdict"]["found"] == "it rains (2 in a row)"
    assert told["configuration"]["productKey"] == "***" and told["configuration"]["jitter"] == 0
    assert not [secret for secret in SECRETS if secret in said]


def test_where_there_is_no_board_to_ask(tmp_path, monkeypatch):
    status, said = run("/dev/ttyNONE")
    assert status == 1 and said.startswith("Error: there is no port /dev/ttyNONE")
    for name in ("ANSWER_S", "LINE_S"):
        monkeypatch.setattr(raw_repl, name, 0.2)
    with Board(tmp_path, bare=True) as board:
        status, said = run(board, "--json")
    told = json.loads(said)
    assert status == 1 and "no MicroPython answers" in told["verdict"]["found"]
    assert {line["state"] for line in told["lines"][1:]} == {UNKNOWN}


def test_a_restart_is_no_crash_and_costs_a_build_on_trial_none(tmp_path):
    trial = {
        "/boot.py": STUB.encode(),
        "/main.py": IDLE,
        "/update/plan": b"7\nboot 0 - /boot.py\n",
        "/update/boot.new": b"print('new')\n",
        "/update/starts": b"0c",
        "/update/trial.py": Path(TRIAL).read_bytes(),
    }
    with Board(tmp_path, board_image({}, more=trial)) as board:
        board.wait_for("new")
        assert run(board)[0] == 1
        board.wait_for("DEEPSLEEP")
        board.wait_for("new")
        files = board.files()
        assert files["/update/starts"] == b"0cpp" and newest(files, "last")["asked"] == 1


NOW = 1795824000
CONFIG = {
    "baseUrl": "https://cloud.example",
    "roots": "/roots",
    "ntp": ["ntp.example"],
    "setup": {},
    "deadline": 86400,
    "deviceNoType": "SN",
    "productId": "1234567890123",
}
SURVEY = {
    "name": "micropython",
    "version": [1, 26, 0],
    "machine": "a chip",
    "heap": 65536,
    "native": [120000, 60000],
    "flash": [4096, 4096, 512, 300],
    "time": NOW,
    "programs": {"boot.py": "b0", "main.py": "a0"},
    "library": {"version": "0.1.0", "home": "/lib/muster/__init__.mpy"},
    "configuration": {"values": CONFIG, "given": ["baseUrl"], "warnings": []},
}
STATE = {
    "enrolled": True,
    "device_no": "AI-0001",
    "device_id": "d1",
    "last_report": NOW - 3600,
    "next_due": NOW + 3600,
    "kept": "SN AI-0001 of product 1234567890123",
}
NETWORK = {
    "connected": True,
    "wifi": True,
    "type": "wifi",
    "addresses": ["10.0.0.2"],
    "kept": [],
    "tried": [],
}
HEALTHY = Facts(
    running={"safe": False, "last": {"crashes": 0, "last_reset": "power", "last_exception": None}},
    survey=SURVEY,
    state=STATE,
    network={**NETWORK, "joined": "home", "signal": -60},
    clock={"answered": True, "time": NOW},
    platform={"status": 404},
    roots={"/roots/a.der": [b"der"]},
    runs={"main.py": ""},
    chain=Chain(root="A root"),
    now=(NOW, NOW),
)


def last_error(said):
    status = {"last_error": f"chinamobile refused: {said}", "failures": 1}
    return {"running": {**HEALTHY.running, "status": status}}


@pytest.mark.parametrize(
    ("changes", "cause", "words"),
    [
        ({}, None, ""),
        ({"survey": {**SURVEY, "time": NOW - 9 * 86400}}, None, ""),  # NTP has put it right
        ({"clock": {"answered": True, "time": NOW + 7200}}, "clock", "NTP tells a time 2 h ahead of this"),
        ({"survey": {**SURVEY, "version": [1, 25, 0]}}, "MicroPython", "MicroPython 1.26 or later"),
        ({"survey": {**SURVEY, "name": "circuitpython"}}, "MicroPython", "runs circuitpython 1.26.0"),
        (
            {"survey": {**SURVEY, "library": {"fault": "ValueError incompatible .mpy"}}},
            "library",
            "incompatible",
        ),
        ({"survey": {}, "lost": "it is gone"}, "program", "stopped answering in boot.py"),
        ({"survey": {**SURVEY, "programs": {"boot.py": None, "main.py": None}}}, "program", "no main.py"),
        ({"runs": {"main.py": ENDED}}, "program", "main.py: it ended by itself"),
        ({"runs": {"boot.py": ENDED, "main.py": ""}}, None, ""),
        ({"platform": {"refused": "cloud.example: there is no memory for it"}}, "memory", "64 KB of heap"),
        ({"network": {**NETWORK, "connected": False, "tried": [["home", -70, 1001]]}}, "network", "1001"),
        (
            {"network": {**NETWORK, "connected": False, "tried": [["home", -70, 211]]}},
            "network",
            "not fit the key",
        ),
        ({"network": {**NETWORK, "connected": False, "wifi": False}}, "network", "has no Wi-Fi"),
        ({"faults": {"network": "OSError"}}, "network", "OSError"),
        ({"platform": {"unreached": "refused"}}, "platform", "refused; this computer reaches it"),
        (
            {"platform": {}, "chain": Chain(unreached="dead")},
            "platform",
            "not reached from this computer: dead",
        ),
        ({"chain": Chain(unreached="dead")}, None, ""),  # the board itself verifies it
        ({"chain": Chain(root="A root", gap="Between")}, "certificate", "does not send that of Between"),
        ({"platform": {"refused": "cloud.example: hung up"}}, "answer", "hung up"),
        ({"state": {**STATE, "last_report": NOW - 90000}}, "schedule", "past its deadline, 24 h"),
        (last_error("产品秘钥错误 (code 500)"), "last error", 'correct "productKey" in config.json'),
        (last_error("产品秘钥错误 (code 500)"), "last error", "deploy --config config.json"),
        (last_error("no answer (HTTP 503)"), "last error", "put right what is bad above, if anything is"),
    ],
)
def test_what_the_facts_mean(changes, cause, words):
    found = verdict(lines(dataclasses.replace(HEALTHY, **changes)))
    assert (found and found.name) == cause and (found is None or words in found.found + found.todo), found


def test_a_board_that_was_just_flashed_has_no_fault():
    for changes, said in (
        ({}, "the first heartbeat since it was flashed is due at once"),
        ({"enrolled": False}, "the first heartbeat follows its enrolment at once"),
    ):
        flashed = dataclasses.replace(HEALTHY, state={**STATE, "last_report": None, **changes})
        assert said in [line.found for line in lines(flashed) if line.state == GOOD]


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("设备或产品不存在", 'correct "productId", "deviceNoType" or "deviceNo"'),  # as the document has it
        ("产品不存在: no product has this productId", 'correct "productId"'),
        ("产品密钥不正确", 'correct "productKey"'),
        ("设备不存在: deviceNo was not imported into this product", "import this number into the product"),
        ("设备密钥错误: deviceSecret is not this device's", "flash it with --erase and --firmware"),
        ("设备不存在: no device of this product has this deviceId", "flash it with --erase and --firmware"),
        ("参数错误: params.mac must be", "correct what it names in config.json"),
        ("系统繁忙", ""),
    ],
)
def test_what_to_do_about_a_refusal(said, cure):
    assert remedy(f"chinamobile refused: {said} (code 500)").startswith(cure)
    assert bool(remedy(f"chinamobile refused: {said}")) == bool(cure) and remedy(said) == ""


def test_an_exception_is_told_without_its_words():
    traceback = 'Traceback (most recent call last):\n  File "<stdin>", line 8, in <module>\n'
    raised = '  File "main.py", line 6, in ask\nOSError: [Errno 5] EIO\nFile: s3cret\n'
    assert place(traceback + raised) == "OSError main.py, line 6, in ask"
    syntax = '  File "main.py", line 3\nSyntaxError: invalid syntax\n'
    assert place(traceback + syntax) == "SyntaxError main.py, line 3"
    assert place("MemoryError: \n") == "MemoryError"
