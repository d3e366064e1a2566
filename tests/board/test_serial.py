"""Stock mpremote and ampy on the virtual board's serial port, as the commands that people type."""

import contextlib
import functools
import hashlib
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import termios
import time
import tty
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pexpect
import pytest
from devices import identity
from mpremote.transport_serial import SerialTransport
from programs import image as flash_image
from programs import needs_micropython

from tools.board import Board, console
from tools.common.paths import ROOT
from tools.factory.product import board_image

pytestmark = needs_micropython

MAIN = """
import time
print("main")
try:
    while True:
        time.sleep_ms(20)
except KeyboardInterrupt:
    print("stopped")
"""

EVERY_BYTE = bytes(range(256))
NOISE = random.Random(5).randbytes(50_000)


image = functools.partial(flash_image, MAIN)


@pytest.fixture(scope="module")
def module_board(tmp_path_factory):
    with Board(tmp_path_factory.mktemp("board"), image()) as board:
        yield board


@pytest.fixture
def board(module_board):
    """The module's board with what earlier tests left on its flash, and main.py running."""
    module_board.reset()
    module_board.wait_for("main\n")
    return module_board


def tool(name):
    return str(Path(sys.executable).with_name(name))


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.replace("\r\n", "\n")


def mpremote(board, *words):
    return call(tool("mpremote"), "connect", board.port, *map(str, words))


def ampy(board, *words):
    return call(tool("ampy"), "--port", board.port, *map(str, words))


@contextlib.contextmanager
def typist(board, *words):
    """Somebody who types at mpremote, in a terminal that is raw from the start."""
    command = [tool("mpremote"), "connect", board.port, *map(str, words)]
    terminal = pexpect.spawn(command[0], command[1:], timeout=10, preexec_fn=lambda: tty.setraw(0))
    terminal.delaybeforesend = None
    try:
        yield terminal
        terminal.send(b"\x1d")  # which ends mpremote
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close(force=True)
    assert terminal.exitstatus == 0


# mpremote


def test_mpremote_runs_programs(board, tmp_path):
    (tmp_path / "program.py").write_text("print('ran', __name__)\n")
    before = len(board.output)
    assert mpremote(board, "exec", "print(6 * 7)") == "42\n"
    assert mpremote(board, "eval", "{'six': [6]}") == "{'six': [6]}\n"
    assert mpremote(board, "run", tmp_path / "program.py") == "ran __main__\n"
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        mpremote(board, "exec", "1 / 0")
    printed = board.output[before:]
    assert printed.count("stopped\n") == 1, "the first of them interrupted main.py"
    assert printed.count("\nboot\n") == 4 and "main\n" not in printed, (
        "raw REPL's soft reset runs boot.py only"
    )


def test_mpremote_copies_every_byte(board, tmp_path):
    contents = {"bytes": EVERY_BYTE, "noise": NOISE, "text": b"one\ntwo\n"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    mpremote(board, "fs", "cp", *[tmp_path / name for name in contents], ":")
    files = board.files()
    assert {name: files[f"/{name}"] for name in contents} == contents
    (tmp_path / "back").mkdir()
    mpremote(board, "fs", "cp", *[f":{name}" for name in contents], tmp_path / "back")
    assert {name: (tmp_path / "back" / name).read_bytes() for name in contents} == contents
    assert mpremote(board, "fs", "cat", ":text") == "one\ntwo\n"
    assert hashlib.sha256(NOISE).hexdigest() in mpremote(board, "fs", "sha256sum", ":noise")


def test_mpremote_keeps_folders(board, tmp_path):
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/a.py").write_text("1\n")
    (tmp_path / "tree/sub/b").write_bytes(b"\r\n\0")
    mpremote(board, "fs", "cp", "-r", tmp_path / "tree", ":")
    assert board.files()["/tree/sub/b"] == b"\r\n\0"
    assert re.search(r"^ +14 boot\.py$(.|\n)*^ +0 tree/$", mpremote(board, "fs", "ls"), re.MULTILINE)
    assert re.search(r"tree\n.*a\.py\n.*sub\n.*b\n", mpremote(board, "fs", "tree", ":"))
    (tmp_path / "back").mkdir()
    mpremote(board, "fs", "cp", "-r", ":tree", tmp_path / "back")
    assert (tmp_path / "back/tree/sub/b").read_bytes() == b"\r\n\0"
    mpremote(board, "fs", "rm", ":tree/a.py", "+", "fs", "mkdir", ":empty")
    assert "/tree/a.py" not in board.files() and "empty/" in mpremote(board, "fs", "ls")
    listed = mpremote(
        board, "fs", "rmdir", ":empty", "+", "fs", "rm", "-r", ":tree", "+", "fs", "ls", "+", "df"
    )
    assert "empty/" not in listed and "tree/" not in listed
    assert re.search(r"VfsLfs2.* \d+ /\n", listed)


def test_every_tool_takes_the_name_in_the_folder_which_stays(tmp_path):
    link = str(tmp_path / "a board" / "port")
    with Board(tmp_path / "a board", image()) as board:
        board.wait_for("main\n")
        assert call(tool("mpremote"), "connect", link, "eval", "6 * 7") == "42\n"
        assert "main.py" in call(tool("ampy"), "--port", link, "ls")
        assert "ESP32" in call(tool("esptool"), "--port", link, "chip-id")
    assert not os.path.lexists(link), "it would lead to somebody else's terminal"
    os.symlink("/dev/null", link)  # a board that was killed has left its own
    with Board(tmp_path / "a board") as board:
        assert str(board.port_link) == link and os.readlink(link) == board.port


@pytest.fixture
def laptop(tmp_path):
    """A folder to mount, with a program that reads and writes what no terminal would leave as it is."""
    (tmp_path / "laptop").mkdir()
    (tmp_path / "laptop/bytes").write_bytes(EVERY_BYTE)
    (tmp_path / "laptop/x.py").write_text(
        "import os\n"
        "print('x', sorted(os.listdir()))\n"
        "content = open('bytes', 'rb').read()\n"
        "print('line')\n"
        "open('copy', 'wb').write(content * 9)\n"
        "print('read', content == bytes(range(256)))\n"
    )
    return tmp_path / "laptop"


def test_mpremote_mounts_a_folder(board, laptop):
    printed = mpremote(board, "mount", laptop, "exec", "import x")
    assert printed.endswith("x ['bytes', 'x.py']\nline\nread True\n")
    assert (laptop / "copy").read_bytes() == 9 * EVERY_BYTE
    assert "/x.py" not in board.files()


def test_mpremote_mounts_a_folder_for_the_prompt(board, laptop):
    with typist(board, "mount", laptop, "repl") as terminal:
        terminal.expect_exact(">>> ")
        terminal.send("import x\r")
        terminal.expect_exact("x ['bytes', 'x.py']\r\nline\r\nread True\r\n>>> ")
        terminal.send("import time; print('start' + 'ed'); time.sleep(60)\r")
        terminal.expect_exact("started\r\n")
        terminal.send(b"\x03")
        terminal.expect_exact("KeyboardInterrupt")
    assert (laptop / "copy").read_bytes() == 9 * EVERY_BYTE


def test_mpremote_resets_and_resumes(board):
    mpremote(board, "exec", "kept = 'still here'")
    assert mpremote(board, "resume", "exec", "print(kept)") == "still here\n"
    mpremote(board, "soft-reset")
    with pytest.raises(AssertionError, match="NameError"):
        mpremote(board, "resume", "exec", "print(kept)")
    assert mpremote(board, "rtc", "--set", "+", "rtc").startswith(f"({time.localtime().tm_year}, ")
    mpremote(board, "reset")
    board.wait_for("SW_CPU_RESET")
    board.wait_for("boot\nmain\n")


def test_mpremote_repl_is_the_boards_prompt(board):
    with typist(board, "repl") as terminal:
        terminal.expect_exact("to exit this shell")
        for typed, answers in (
            (b"\x03", ["stopped\r\n", ">>> "]),
            (b"6 * 7\r", ["\r\n42\r\n>>> "]),
            (b"\x05for n in range(2):\r    print(n)\r\x04", ["\r\n0\r\n1\r\n>>> "]),
            (b"\x04", ["soft reboot\r\nboot\r\nmain\r\n"]),
        ):
            terminal.send(typed)
            for answer in answers:
                terminal.expect_exact(answer)
    board.write(b"\x03")
    board.wait_for("stopped\n")


def test_mip_installs_the_library_from_a_server(board, repository):
    mpremote(board, "mip", "install", f"{repository}/package.json")
    imported = mpremote(board, "exec", "import muster.agent; print(muster.__file__)")
    assert imported == "/lib/muster/__init__.py\n"
    assert board.files()["/lib/muster/rsa.py"] == (ROOT / "lib/muster/rsa.py").read_bytes()


# ampy sleeps for most of a second in every command: so four of them work on four boards.


def test_ampy(tmp_path):
    works = (ampy_copies_every_byte, ampy_puts_and_removes_a_folder, ampy_makes_a_folder, ampy_runs_programs)
    with ThreadPoolExecutor(len(works)) as pool:
        done = [pool.submit(work, tmp_path / work.__name__) for work in works]
    for work in done:
        work.result()


def ampy_copies_every_byte(folder):
    noise = NOISE[:10_000]  # ampy reads each byte alone
    with Board(folder, image(**{"/noise": noise})) as board:
        board.wait_for("main\n")
        (folder / "bytes").write_bytes(EVERY_BYTE * 2)
        ampy(board, "put", folder / "bytes", "bytes")
        assert board.files()["/bytes"] == EVERY_BYTE * 2
        ampy(board, "get", "bytes", folder / "back")
        assert (folder / "back").read_bytes() == EVERY_BYTE * 2
        ampy(board, "get", "noise", folder / "noise")
        assert (folder / "noise").read_bytes() == noise


def ampy_puts_and_removes_a_folder(folder):
    with Board(folder, image()) as board:
        board.wait_for("main\n")
        (folder / "tree").mkdir()
        (folder / "tree/a.py").write_text("1\n")
        ampy(board, "put", folder / "tree")
        assert board.files()["/tree/a.py"] == b"1\n"
        ampy(board, "rmdir", "tree")
        assert list(board.files()) == ["/boot.py", "/main.py"]


def ampy_makes_a_folder(folder):
    with Board(folder, image(**{"/tree/a.py": b"1\n"})) as board:
        board.wait_for("main\n")
        ampy(board, "mkdir", "tree/empty")
        listed = ampy(board, "ls", "-r", "-l")
        assert listed.endswith(f"/main.py - {len(MAIN)} bytes\n/tree/a.py - 2 bytes\n/tree/empty - 0 bytes\n")
        ampy(board, "rm", "tree/a.py")
        assert ampy(board, "ls", "tree") == "/tree/empty\n"


def ampy_runs_programs(folder):
    with Board(folder, image()) as board:
        board.wait_for("main\n")
        (folder / "program.py").write_text("print('ran', __name__)\n")
        assert ampy(board, "run", folder / "program.py") == "ran __main__\n"
        (folder / "program.py").write_text("import time\ntime.sleep(0.3)\nprint('ran unheard')\n")
        assert ampy(board, "run", "--no-output", folder / "program.py") == ""
        board.wait_for("ran unheard")
        ampy(board, "reset")
        board.wait_for("soft reboot\n")  # and Ctrl-C half a second later, wherever boot.py is then
        ampy(board, "reset", "--hard")
        board.wait_for("SW_CPU_RESET")
        board.wait_for("boot\nmain\n")


# Ctrl-C, wherever the board is


def test_both_tools_interrupt_the_agent_at_work(cloud, tmp_path):
    config = identity(cloud, wifi=[{"ssid": "muster-lab", "key": "password"}])
    with Board(tmp_path, board_image(config, [cloud.ca_pem])) as board:
        board.wait_for("the next report is due")
        assert "config.json" in mpremote(board, "fs", "ls")
        board.wait_for("muster: stopped")
        mpremote(board, "reset")
        board.wait_for("the next report is due")
        assert "/config.json\n" in ampy(board, "ls")
        board.wait_for("muster: stopped")


@pytest.fixture
def raw_repl(board):
    transport = SerialTransport(board.port)
    try:
        transport.enter_raw_repl()
        yield transport
        transport.exit_raw_repl()
    finally:
        transport.close()


@pytest.mark.skipif(sys.platform != "linux", reason="raw paste is refused elsewhere")
@pytest.mark.parametrize("program", ["while True: pass", "import time; time.sleep(60)", "input()"])
def test_ctrl_c_ends_a_pasted_program(board, raw_repl, program):
    raw_repl.exec_raw_no_follow(f"print('started')\n{program}\n")
    assert raw_repl.use_raw_paste
    board.wait_for("started\n")
    raw_repl.serial.write(b"\x03")
    printed, error = raw_repl.follow(5)
    assert printed.startswith(b"started\r\n") and b"KeyboardInterrupt" in error
    assert raw_repl.exec("print('alive')") == b"alive\r\n"


@pytest.mark.skipif(sys.platform != "linux", reason="raw paste is refused elsewhere")
def test_ctrl_c_ends_the_pasting_itself(raw_repl):
    raw_repl.read_until(1, b">")
    raw_repl.serial.write(b"\x05A\x01")
    assert raw_repl.serial.read(5) == b"R\x01\x80\0\x01"
    raw_repl.serial.write(b"print('never')\n\x03")
    assert raw_repl.read_until(1, b"\x04") == b"\x04"
    printed, error = raw_repl.follow(5)
    assert printed == b"" and b"KeyboardInterrupt" in error


def test_the_next_mpremote_ends_what_an_interrupted_one_left_running(board):
    command = [tool("mpremote"), "connect", board.port, "exec", "print('started')\nwhile True: pass"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        board.wait_for("started\n")
        first.send_signal(signal.SIGINT)
    assert mpremote(board, "resume", "exec", "print('alive')") == "alive\n"
    board.wait_for("KeyboardInterrupt")


# The console's own


@pytest.fixture
def heard():
    return []


@pytest.fixture
def line(heard):
    """A console whose VM is a pipe that shows what it was sent."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    line = console.Console(heard.append, raw_at_prompt=False)
    line.attach(writer, 0, into_raw_repl=False)
    line.hear(console.STARTED + console.RAW_REPL + b">")
    heard.clear()
    line.sent = functools.partial(os.read, reader, 4096)
    yield line
    os.close(reader)
    os.close(writer)


def test_raw_paste_is_refused_where_ctrl_c_would_not_be_heard(line, heard, monkeypatch):
    monkeypatch.setattr(console, "TELLS_WHO_CATCHES", False)
    line.type(b"\x05A\x01print(1)\x04")
    line.pump()
    assert heard == [b"R\x00"] and line.sent() == b"print(1)\x04"


def test_what_is_pasted_is_not_held_back_by_what_came_before_the_prompt(line, monkeypatch):
    monkeypatch.setattr(console, "TELLS_WHO_CATCHES", True)
    line.type(b"\x03\r\x01")
    line.pump()
    assert line.sent() == b"\x03\r\x01"
    line.type(b"print(1)\x04")
    line.pump()
    line.hear(b"OK1\n\x04\x04>")
    line.type(b"\x05A\x01")
    line.pump()
    line.hear(b"R\x01\x80\0\x01")
    line.type(b"print(2)")
    line.pump()
    assert line.sent() == b"print(1)\x04\x05A\x01print(2)"


@pytest.fixture
def sleeper():
    """A process that does not catch SIGINT."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel who catches SIGINT")
def test_ctrl_c_between_a_prompt_and_a_program_waits_for_one_of_them(heard, sleeper):
    ours, its = pty.openpty()
    tty.setraw(its)
    raw = termios.tcgetattr(its)
    cooked = termios.tcgetattr(its)
    cooked[3], cooked[6][termios.VINTR] = termios.ISIG, b"\0"
    termios.tcsetattr(its, termios.TCSANOW, cooked)
    line = console.Console(heard.append, raw_at_prompt=True)
    line.attach(ours, sleeper.pid, into_raw_repl=False)
    line.hear(console.STARTED)
    line.type(b"\x03")
    line.pump()
    assert not select.select([its], [], [], 0.1)[0] and sleeper.poll() is None
    termios.tcsetattr(its, termios.TCSANOW, raw)
    line.pump()
    assert os.read(its, 1) == b"\x03"
    os.close(ours)
    os.close(its)


def test_a_prompt_that_a_program_prints_is_not_the_friendly_one(line):
    line.hear(b">>> ")
    assert line.raw_repl
    line.hear(b"\r\n>>> ")
    assert not line.raw_repl


def test_nothing_is_held_back_or_translated_while_ctrl_c_is_off_the_line(line, heard):
    line.hear(console.BINARY + b"\x18\x05\n\0")
    assert heard == [b"\x18\x05\n\0"]
    line.type(b"\x03\r\x01\x04\x02\n")
    line.pump()
    assert line.sent() == b"\x03\r\x01\x04\x02\n"
    line.hear(console.TEXT + b"\n")
    assert heard[-1] == b"\r\n"
