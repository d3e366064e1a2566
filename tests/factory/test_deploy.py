"""Changed files onto a running board over its serial port, and its prompt, by mpremote and by ampy."""

import errno
import functools
import json
import os
import re
import shutil
import ssl
import sys
import threading
from pathlib import Path

import pexpect
import pytest
import serial
import trustme
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import rsa
from devices import DEVICE, SECRET_INFO, hourly
from muster import trial

from tools.board import Board
from tools.cli.main import Commands
from tools.cloud import Cloud
from tools.common.littlefs import build
from tools.common.paths import ROOT
from tools.common.vm import find_micropython
from tools.factory import deploy, ports, programs, raw_repl
from tools.factory.keys import public_pem
from tools.factory.product import BLOCKS, board_files, board_image
from tools.factory.stopped import stopped

pytestmark = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")

PUT = deploy.put
tools = Commands()


def run(board, *arguments, status=0):
    port = board if isinstance(board, str) else board.port
    done = CliRunner().invoke(tools, ["deploy", "--port", port, *map(str, arguments)])
    assert done.exit_code == status, done.output
    return done.output


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The repository's part that goes onto a board, to be changed."""
    root = tmp_path / "root"
    for name in ("lib", "firmware"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("boot.py", "main.py"):
        shutil.copy(ROOT / name, root)
    (root / ".git").symlink_to(ROOT / ".git")  # of the same commit, and so of the same release
    monkeypatch.setattr(deploy, "board_files", functools.partial(board_files, root=root))
    return root


@pytest.fixture(scope="module")
def cloud():
    with Cloud([DEVICE], issued_days_ago=30) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def running(tmp_path_factory, cloud):
    """A board that runs the product, has enrolled and reported, and is left as it was."""
    image = board_image(hourly(cloud), [cloud.ca_pem])
    with Board(tmp_path_factory.mktemp("running"), image) as board:
        board.wait_for("reported")
        yield board


@pytest.fixture
def make(tmp_path, cloud, running):
    """Makes another that has done so, to be changed."""
    made = []

    def make(more=None, **config):
        image = board_image(hourly(cloud, **config), [cloud.ca_pem], running.files(), more)
        made.append(Board(tmp_path / f"board{len(made)}", image).start())
        made[-1].wait_for("the next report is due")
        return made[-1]

    yield make
    for board in made:
        board.stop()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A board at its prompt, without the product, but with a module of its name, and with little room."""
    files = {"/boot.py": b"", "/muster.py": b"", "/song.wav": bytes(1_990_000)}
    with Board(tmp_path_factory.mktemp("plain"), build(files, BLOCKS, 0)) as board:
        board.wait_for(">>> ")
        yield board


def change(path):
    path.write_text(path.read_text() + "changed = True\n")


def runs(board):
    """The board starts its program anew, and is enrolled as before."""
    board.wait_for("SW_CPU_RESET")
    board.wait_for("the next report is due")


@pytest.fixture
def public(tmp_path):
    """A public key as a file, and another."""
    pems = []
    for name in ("one", "two"):
        pems.append(tmp_path / f"{name}.pem")
        pems[-1].write_bytes(public_pem(rsa.generate_private_key(65537, 2048).public_key()))
    return pems


def state(files):
    return {path: data for path, data in files.items() if path.startswith("/state/")}


def files_of(board):
    """What is on its flash, but for the record of its resets: deploy makes some."""
    return {path: data for path, data in board.files().items() if not path.startswith("/state/last")}


def test_a_changed_file_is_sent_alone_and_then_nothing(make, root, cloud):
    board = make()
    before = files_of(board)
    change(root / "main.py")
    said = run(board)  # as the board has it: compiled
    size = (root / "main.py").stat().st_size
    assert said.startswith(f"{size:>9,}  /main.py\n1 file, {size:,} bytes sent in ")
    runs(board)
    after = files_of(board)
    assert state(after) == state(before) and len(state(after)) == 3
    assert after.pop("/main.py") == (root / "main.py").read_bytes() != before.pop("/main.py")
    assert after == before
    assert run(board, "--mpy") == "nothing to send: the board has it all\n"
    runs(board)
    assert len(cloud.calls(SECRET_INFO)) == 1


def test_compiled_files_replace_their_sources_which_would_hide_them(make, root):
    board = make()
    change(root / "lib/muster/log.py")
    run(board, "--source")
    runs(board)
    files = board.files()
    assert files["/lib/muster/log.py"].endswith(b"changed = True\n") and "/lib/muster/log.mpy" in files
    said = run(board, "--mpy")
    assert "  removed  /lib/muster/log.py\n" in said and "/roots/" not in said
    runs(board)
    assert not [path for path in board.files() if path.startswith("/lib/") and path.endswith(".py")]
    assert "/lib/muster/log.mpy" in board.files()


def test_what_should_not_be_there_any_more_is_removed_when_asked(make, root, cloud):
    more = {
        "/lib/muster/old.mpy": b"M",
        "/lib/other.py": b"",
        "/song.wav": b"la",
        "/roots/old.der": ssl.PEM_cert_to_DER_cert(trustme.CA().cert_pem.bytes().decode()),
        "/lib/muster/log.py": (ROOT / "lib/muster/log.py").read_bytes(),
    }
    board = make(more)
    assert run(board, "--mpy", "--dry-run").splitlines()[0] == "   remove  /lib/muster/log.py"
    run(board, "--mpy")
    assert set(files_of(board)) >= set(more) - {"/lib/muster/log.py"}
    run(board, "--mpy", "--prune")
    files = files_of(board)
    assert "/lib/muster/old.mpy" not in files and "/roots/old.der" in files
    run(board, "--mpy", "--prune", "--roots", cloud.ca_pem)
    files = files_of(board)
    assert "/roots/old.der" not in files and "/roots/ca.der" in files
    assert files["/lib/other.py"] == b"" and files["/song.wav"] == b"la" and len(state(files)) == 3


def test_its_own_configuration_stays_and_says_which_clouds_are_wanted(make, root, cloud, tmp_path):
    board = make(clouds=["coze"])
    config = board.files()["/config.json"]
    assert run(board, "--mpy", "--prune") == "nothing to send: the board has it all\n"
    assert "/lib/muster/clouds/coze.mpy" in board.files() and board.files()["/config.json"] == config
    other = tmp_path / "other.json"
    other.write_text(json.dumps(hourly(cloud, hostname="speaker")))
    said = run(board, "--mpy", "--prune", "--config", other)
    assert "/config.json" in said and "removed  /lib/muster/clouds/coze.mpy" in said
    assert board.files()["/config.json"] == other.read_bytes()
    other.write_text("\ufeff" + json.dumps(hourly(cloud, clouds=["baidu"])), encoding="utf-8")
    assert "/lib/muster/clouds/baidu.mpy" in run(board, "--mpy", "--prune", "--config", other)
    assert run(board, "--mpy", "--prune") == "nothing to send: the board has it all\n"
    other.write_text(json.dumps({"produktId": "1"}))
    assert 'did you mean "productId"?' in run(board, "--config", other, status=1)


def test_set_up_comes_and_goes_with_the_configuration_s_and_a_buyer_s_networks_stay(
    make, root, cloud, tmp_path
):
    networks = {f"/state/networks.{slot}": bytes([slot]) * 50 for slot in (0, 1)}
    board = make(networks)
    with_setup, without = tmp_path / "with.json", tmp_path / "without.json"
    with_setup.write_text(json.dumps(hourly(cloud, setup={"key": "GHJKMNPQRS"})))
    without.write_text(json.dumps(hourly(cloud)))
    said = run(board, "--mpy", "--config", with_setup)
    assert "/setup.html.gz" in said and "/lib/muster/portal/settings.mpy" in said
    assert "GHJKMNPQRS" not in said and "/state" not in said
    assert run(board, "--mpy", "--prune") == "nothing to send: the board has it all\n"
    assert networks.items() <= board.files().items()
    said = run(board, "--mpy", "--prune", "--config", without)
    assert "removed  /setup.html.gz" in said and "removed  /lib/muster/portal/settings.mpy" in said
    files = board.files()
    assert not [path for path in files if "portal" in path or "setup" in path]
    assert networks.items() <= files.items()


def test_updates_come_with_a_key_and_go_with_the_configuration_s(make, root, cloud, tmp_path, public):
    board = make()
    other = tmp_path / "other.json"
    other.write_text(json.dumps(hourly(cloud, updates={"url": f"{cloud.url}/release/manifest.jwt"})))
    assert "give its .pub.pem with --keys" in run(board, "--mpy", "--config", other, status=1)
    assert 'has no "updates"' in run(board, "--mpy", "--keys", public[0], status=1)
    said = run(board, "--mpy", "--config", other, "--keys", public[0])
    assert "/keys/" in said and "/lib/muster/update.mpy" in said
    assert run(board, "--mpy", "--prune") == "nothing to send: the board has it all\n"
    run(board, "--mpy", "--keys", public[1])
    assert keys_on(board) == {public[0].read_bytes(), public[1].read_bytes()}
    run(board, "--mpy", "--prune", "--keys", public[1])
    assert keys_on(board) == {public[1].read_bytes()}
    other.write_text(json.dumps(hourly(cloud)))
    assert "removed  /lib/muster/update.mpy" in run(board, "--mpy", "--prune", "--config", other)


OLD_BUILD = {"/boot.py": b"print('old')\n", "/lib/mine.py": b"old = True\n", "/main.py": b"print('idle')\n"}
NEW_BUILD = {"/boot.py": b"print('new')\n", "/lib/mine.py": b"new = True\n", "/lib/more.py": b"new = True\n"}
STAGED = {"/update/x": NEW_BUILD["/lib/mine.py"], "/update/y": NEW_BUILD["/lib/more.py"]}
COMMITTED = {
    **STAGED,
    "/update/plan": b"7\nboot 0 - /boot.py\nmoved 0 x /lib/mine.py\nadded 0 y /lib/more.py\n",
    "/update/boot.new": NEW_BUILD["/boot.py"],
    "/update/boot.old": OLD_BUILD["/boot.py"],
    "/update/trial.py": Path(trial.__file__).read_bytes(),
    "/boot.py": trial.STUB.encode(),
}
ON_TRIAL = {
    **COMMITTED,
    "/update/starts": b"0c",
    "/lib/mine.py": NEW_BUILD["/lib/mine.py"],
    "/lib/mine.py.old~": OLD_BUILD["/lib/mine.py"],
    "/lib/more.py": NEW_BUILD["/lib/more.py"],
    "/update/x": None,
    "/update/y": None,
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({**STAGED, "/update/plan.new": COMMITTED["/update/plan"]}, OLD_BUILD, id="staged"),
        pytest.param(COMMITTED, NEW_BUILD, id="committed"),
        pytest.param({**COMMITTED, **ON_TRIAL}, NEW_BUILD, id="on trial"),
        pytest.param({**COMMITTED, **ON_TRIAL, "/update/starts": b"0ccc"}, OLD_BUILD, id="failed"),
        pytest.param(
            {
                **COMMITTED,
                **ON_TRIAL,
                "/update/starts": b"0ccc",
                "/update/back": b"crashed",
                "/lib/more.py": None,
            },
            OLD_BUILD,
            id="going back",
        ),
    ],
)
@pytest.mark.parametrize("at_once", [True, False], ids=["stopped before its next start", "started again"])
def test_an_update_that_is_under_way_ends_whole_before_deploy_begins(tmp_path, changes, expected, at_once):
    files = {**OLD_BUILD, **changes}
    files = {path: data for path, data in files.items() if data is not None}
    with Board(tmp_path, build(OLD_BUILD if at_once else files, BLOCKS, 0)) as board:
        board.wait_for("idle")
        if at_once:
            line = raw_repl.RawRepl(board.port)
            line.run(
                f"import os\nos.mkdir('/update')\nfor path, data in {files}.items():\n"
                " with open(path, 'wb') as f: f.write(data)"
            )
            line.run(programs.CLEAN)
            line.close()
        else:
            with stopped(board.port, reset=False) as line:
                line.run(programs.CLEAN)
        after = board.files()
        found = {path: data for path, data in after.items() if path not in ("/main.py", "/state/last.0")}
        assert found == {path: data for path, data in expected.items() if path != "/main.py"}


def keys_on(board):
    return {data for path, data in board.files().items() if path.startswith("/keys/")}


def test_every_root_of_a_bundle_arrives_and_a_folder_without_any_removes_none(running, root, tmp_path):
    before = files_of(running)
    (tmp_path / "roots").mkdir()
    said = run(running, "--prune", "--roots", tmp_path / "roots", status=1)
    assert "roots has no CA roots: expected files in it" in said
    runs(running)
    assert files_of(running) == before
    pems = [trustme.CA().cert_pem.bytes() for _ in range(2)]
    (tmp_path / "bundle.pem").write_bytes(b"".join(pems))
    said = run(running, "--dry-run", "--roots", tmp_path / "bundle.pem")
    assert said.count("  /roots/bundle-") == 2 and "\n2 files, " in said
    runs(running)


def test_a_file_of_ones_own_goes_along(running, root):
    (root / "lib/own").mkdir()
    (root / "lib/own/data.txt").write_text("mine")
    said = run(running, "--dry-run")
    assert said.endswith("        4  /lib/own/data.txt\n1 file, 4 bytes to send\n")
    runs(running)


def test_another_program_takes_the_place_of_main_py_with_what_it_imports(running, tmp_path):
    (tmp_path / "toy.py").write_text("from muster.clouds import feishu\n")
    said = run(running, "--dry-run", "--main", tmp_path / "toy.py")
    assert "       33  /main.py" in said and "/lib/muster/clouds/feishu.mpy" in said and "toy.py" not in said
    runs(running)


def test_ampy_carries_it_as_well(make, root, monkeypatch):
    board = make()
    monkeypatch.delattr(raw_repl.SerialTransport, "exec_raw_no_follow")
    change(root / "boot.py")
    (root / "lib/extra.py").write_text(f"every = {bytes(range(256))}\n")
    said = run(board, "--mpy", "--via", "ampy")
    assert "  /boot.py\n" in said and "  /lib/extra.mpy\n2 files, " in said
    runs(board)
    assert board.files()["/boot.py"] == (root / "boot.py").read_bytes()
    assert run(board, "--mpy", "--via", "ampy") == "nothing to send: the board has it all\n"


# Faults


def product(files):
    return {path: data for path, data in files.items() if not path.startswith(("/state/", programs.STAGING))}


def test_the_power_may_go_at_any_moment(make, root, tmp_path):
    flash = make().image()
    for name in ("lib/muster/log.py", "lib/muster/net/wait.py", "boot.py", "main.py"):
        change(root / name)
    with Board(tmp_path / "uncut", flash) as board:
        board.wait_for("the next report is due")
        old, first = product(board.files()), board.operations
        run(board, "--mpy", "--no-reset")
        new, last = product(board.files()), board.operations
    # It has the old product for long, and then, within one operation, the new.
    assert cut(tmp_path, flash, (first + last) // 2, new) == old
    assert cut(tmp_path, flash, last - 4, new) == new


def cut(tmp_path, flash, at, new):
    """The product on a board that lost its power at a flash operation of a deploy; another completes it."""
    place = tmp_path / str(at)
    with Board(place, flash, cut_at=at, torn=0.5) as board:
        board.wait_for("the next report is due")
        deploying = threading.Thread(target=run, args=(board, "--mpy"), kwargs={"status": 1})
        deploying.start()
        board.wait_off()
        board.stop()
        deploying.join()
    with Board(place) as board:
        board.wait_for("the next report is due")
        found = product(board.files())
        run(board, "--mpy")
        runs(board)
        assert product(board.files()) == new and not leftovers(board)
    return found


def leftovers(board):
    return [path for path in board.files() if path.startswith(programs.STAGING)]


def damaged(board, parts, data):
    PUT(board, parts, data[:-1] + b"?")


def interrupted(board, parts, data):
    PUT(board, parts, data)
    board._board.exec_raw_no_follow("import time; time.sleep(60)")
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [(damaged, 1, "arrived damaged, and nothing was changed"), (interrupted, 130, "Stopped: the board has")],
)
def test_after_a_fault_it_runs_what_it_had(running, root, monkeypatch, fault, status, words):
    before = files_of(running)
    change(root / "main.py")
    monkeypatch.setattr(deploy, "put", fault)
    assert words in run(running, "--mpy", status=status)
    runs(running)
    assert files_of(running) == before


def test_ctrl_c_while_it_connects_lets_it_run_again(running, monkeypatch):
    enter = raw_repl.SerialTransport.enter_raw_repl

    def interrupted(self, **how):
        monkeypatch.setattr(raw_repl.SerialTransport, "enter_raw_repl", enter)
        enter(self, **how)
        raise KeyboardInterrupt

    monkeypatch.setattr(raw_repl.SerialTransport, "enter_raw_repl", interrupted)
    assert "Stopped: the board has" in run(running, status=130)
    runs(running)


def test_a_full_flash_is_found_out_first(plain, root):
    before = plain.files()
    said = run(plain, "--mpy", "--no-reset", status=1)
    assert re.search(r"has \d\d KB left, and [12]\d\d KB are needed .* Nothing was changed", said)
    assert plain.files() == before


def test_a_flash_of_which_more_blocks_are_in_use_than_it_has_is_full(tmp_path, root):
    # LittleFS counts a file's blocks twice while it is appended to, and MicroPython takes the difference for
    # a number without a sign.
    log = b'f = open("/log", "ab")\nf.write(bytes(5000))\n'
    with Board(tmp_path, build({"/boot.py": log, "/log": bytes(1_500_000)}, BLOCKS, 0)) as board:
        before = {**board.files(), "/log": b""}
        said = run(board, "--mpy", "--no-reset", status=1)
        assert re.search(r"has 0 KB left, and [12]\d\d KB are needed .* Nothing was changed", said)
        assert {**board.files(), "/log": b""} == before


def test_the_only_board_that_is_plugged_in_is_found(running, monkeypatch):
    found = [ports.Plugged(running.port, "a board", "")]
    monkeypatch.setattr(ports, "usb_ports", lambda: found)
    done = CliRunner().invoke(tools, ["deploy", "--json", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {
        "sent": {},
        "removed": [],
        "configured": True,
        "home": "/lib/muster/__init__.mpy",
        "dryRun": True,
    }
    runs(running)
    found.append(ports.Plugged("/dev/ttyUSB9", "another", ""))
    for command in ("deploy", "repl"):
        done = CliRunner().invoke(tools, [command])
        assert done.exit_code == 2
        assert f"give --port. USB serial ports here: {running.port}, /dev/ttyUSB9" in done.output


@pytest.mark.parametrize(
    ("who", "words"),
    [
        (
            ("micropython", (1, 25, 0, ""), 6),
            "runs MicroPython 1.25, and muster needs MicroPython 1.26 or later",
        ),
        (("circuitpython", (10, 1, 0), 6), "runs circuitpython 10.1, and muster needs MicroPython"),
        (("micropython", (1, 40, 0, ""), 0x2B07), "takes .mpy files of version 7, and /lib/muster/"),
    ],
)
def test_a_board_that_cannot_run_it_is_refused(plain, monkeypatch, who, words):
    monkeypatch.setattr(programs, "IDENTIFY", f"print({who!r})")
    before = plain.files()
    assert words in run(plain, "--mpy", "--no-reset", status=1)
    assert plain.files() == before


def test_a_board_that_is_unplugged_is_a_sentence(tmp_path, monkeypatch):
    def unplug(there, parts, data):
        board.stop()
        PUT(there, parts, data)

    monkeypatch.setattr(deploy, "put", unplug)
    with Board(tmp_path, build({"/boot.py": b""}, BLOCKS, 0)) as board:
        assert "stopped answering: was it unplugged, or reset?" in run(board, "--mpy", status=1)


def test_why_a_port_does_not_open_is_said_once():
    for port, number, words in (
        ("COM5", errno.ENOENT, "there is no port COM5: is the board plugged in? The command `ports` lists"),
        ("/dev/ttyUSB0", errno.EACCES, "you may not use the port /dev/ttyUSB0: join the group that owns it"),
        ("/tmp", errno.EISDIR, "the port /tmp cannot be opened: Is a directory."),
    ):
        said = os.strerror(number)
        raised = serial.SerialException(number, f"could not open port {port}: [Errno {number}] {said}")
        told = str(ports.refused(port, raised))
        assert words in told and "Errno" not in told


def test_ports_that_do_not_do(monkeypatch):
    assert "there is no port /dev/ttyNONE: is the board plugged in?" in run("/dev/ttyNONE", status=1)
    for name in ("ANSWER_S", "LINE_S"):
        monkeypatch.setattr(raw_repl, name, 0.2)
    outer, inner = os.openpty()
    port = os.ttyname(inner)
    try:
        for via in ("mpremote", "ampy"):
            said = run(port, "--via", via, status=1)
            assert f"no MicroPython answers on {port}: flash it first" in said and "b'" not in said
        with serial.Serial(port, exclusive=True):
            assert f"the port {port} is in use by another program" in run(port, status=1)
    finally:
        os.close(outer)
        os.close(inner)


def test_a_wrong_call_is_status_2(tmp_path):
    run("/dev/ttyNONE", "--config", tmp_path / "none.json", status=2)
    run("/dev/ttyNONE", "--via", "kermit", status=2)


def test_it_says_what_the_board_lacks_and_what_hides_the_library(plain):
    said = run(plain, "--mpy", "--dry-run", "--no-reset")
    assert "no /config.json: give it one with --config" in said
    assert "takes muster from muster.py, not from /lib/muster/" in said


# The prompt


def test_repl_is_the_boards_prompt_until_ctrl_right_bracket(plain):
    program = "from tools.cli.repl import repl; repl()"
    terminal = pexpect.spawn(sys.executable, ["-c", program, "--port", plain.port], timeout=30)
    terminal.expect_exact("Ctrl-]")
    terminal.send("\r6 * 7\r")
    terminal.expect_exact("\n42\r\n")
    terminal.send("\x1d")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_repl_has_the_same_sentences(plain):
    def say(port, status):
        done = CliRunner().invoke(tools, ["repl", "--port", port])
        assert done.exit_code == status
        return done.output

    assert "there is no port /dev/ttyNONE" in say("/dev/ttyNONE", 1)
    with serial.Serial(plain.port, exclusive=True):
        assert "is in use by another program" in say(plain.port, 1)
    assert "needs a terminal" in say(plain.port, 2)
