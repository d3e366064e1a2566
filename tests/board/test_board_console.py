"""A virtual board's console, and how one ends that is served."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest
from programs import image, needs_micropython

from tools.board import Board, BoardError
from tools.board import board as board_module
from tools.board.console import TELLS_WHO_CATCHES, Console
from tools.cli.board import prepare, serve
from tools.common import littlefs
from tools.common.vm import Interpreter


def test_the_console_tells_its_marks_from_output_wherever_they_are_cut():
    stream = b"a\0b\r\nc\n\0[boot]\0\r\n" + b"d\n\0[prompt]\0e\0[x]\0"
    for cut in range(len(stream)):
        heard = []
        console = Console(heard.append, raw_at_prompt=True)
        console.attach(-1, 0, into_raw_repl=False)
        console.hear(stream[:cut])
        console.hear(stream[cut:])
        console.detach()
        assert b"".join(heard) == b"a\0b\r\nc\r\n\r\nd\r\ne\0[x]\0"


@pytest.mark.skipif(not TELLS_WHO_CATCHES, reason="only Linux tells who catches SIGINT")
def test_ctrl_c_spares_a_vm_whose_program_has_just_ended(monkeypatch):
    running, read_text = iter(["SigCgt:\t0000000000000002\n"]), Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path: next(running, None) or read_text(path))
    ours, its = pty.openpty()
    console = Console(lambda data: None, raw_at_prompt=True)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as vm:
        console.attach(ours, vm.pid, into_raw_repl=False)
        console.hear(b"\0[boot]\0")
        console.type(b"\x03")
        console.pump()
        assert vm.communicate(b"still here")[0] == b"still here"
    os.close(ours)
    os.close(its)


@needs_micropython
def test_the_command_runs_a_board_until_ctrl_c(tmp_path):
    Board(tmp_path, image()).stop()
    command = ["-m", "tools.cli", "board", "--data", str(tmp_path)]
    terminal = pexpect.spawn(sys.executable, command, encoding="utf-8", timeout=20)
    try:
        terminal.expect(r"serial port: (\S+) ")
        assert Path(terminal.match[1]).is_char_device()
        terminal.expect_exact("main\r\n")
        terminal.sendintr()
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close(force=True)
    assert terminal.exitstatus == 0


@needs_micropython
def test_a_served_board_that_cannot_run_ends_with_what_it_printed_last(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # pytest keeps its own
    with monkeypatch.context() as patch:
        patch.setattr(board_module, "find_micropython", lambda: Interpreter(["/bin/false"], "false"))
        board = prepare(tmp_path / "vm", heap=192 * 1024)
    with pytest.raises(BoardError, match="the board cannot run; what it printed last says why"):
        serve(board)
    assert "status 1 before it had started, with a heap of 192 KB\n" in capsys.readouterr().out
    board = prepare(tmp_path / "disk")
    (tmp_path / "disk/cause").mkdir()
    with pytest.raises(BoardError, match="the board cannot run"):
        serve(board)
    assert "the board cannot go on: [Errno " in capsys.readouterr().out


def test_each_folder_of_the_command_line_is_a_device_of_its_own(tmp_path):
    boards = [prepare(tmp_path / name) for name in ("one", "other")]
    for board in boards:
        board.stop()
    one, other = (board.mac for board in boards)
    assert one != other and one[:3] == other[:3] == bytes.fromhex("240ac4")
    again = prepare(tmp_path / "one")
    again.stop()
    assert again.mac == one


def test_a_board_prepared_again_keeps_what_the_device_has_written(tmp_path):
    config = {
        "productId": "1",
        "productKey": "k3yk3yk3y",
        "deviceNo": "1",
        "cmei": "",
        "firmwareVersion": "1",
    }
    (tmp_path / "config.json").write_text(json.dumps({**config, "wifi": [], "setup": {"key": "GHJKMNPQRS"}}))
    networks = {f"/state/networks.{slot}": bytes([slot]) * 50 for slot in (0, 1)}
    board = prepare(tmp_path / "board", tmp_path / "config.json")
    blocks = board.flash.region.size // littlefs.BLOCK
    board.flash.write(littlefs.build({**board.files(), **networks, "/old.py": b""}, blocks, 0))
    board.stop()
    board = prepare(tmp_path / "board", tmp_path / "config.json")
    files = board.files()
    board.stop()
    assert networks.items() <= files.items() and "/setup.html.gz" in files and "/old.py" not in files
    (tmp_path / "toy.py").write_text("import muster")
    board = prepare(tmp_path / "board", tmp_path / "config.json", erase=True, main=tmp_path / "toy.py")
    files = board.files()
    board.stop()
    assert "/setup.html.gz" in files and not [path for path in files if path.startswith("/state/")]
    assert files["/main.py"] == b"import muster"


@needs_micropython
@pytest.mark.parametrize("vm", ["micropython", "cpython"])
def test_a_board_ends_with_its_supervisor_however_that_ends(tmp_path, vm):
    Board(tmp_path, image("import time\nprint('main')\nwhile True: time.sleep(0.05)\n"), vm=vm).stop()
    program = f"""
import signal, time
from tools.board import Board
signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
board = Board({str(tmp_path)!r}, vm={vm!r}).start()
board.wait_for("main")
print(board.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as supervisor:
        pid = int(supervisor.stdout.readline())
        supervisor.kill()
    until = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()
    Board(tmp_path, vm=vm).stop()  # which is free again
