"""A virtual board from start to reset: its boot, its clock, its resets and its watchdog."""

import contextlib
import re
import shutil
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from programs import IDLE, ask, image, needs_faketime, needs_micropython

from tools.board import Board, BoardError
from tools.board import board as board_module
from tools.common.vm import Interpreter, find_faketime
from tools.factory.product import BLOCKS

pytestmark = needs_micropython

# Start-up


def test_it_boots_boot_py_first(tmp_path):
    main = "print('main', shared, __name__, __import__('sys').path)\n"
    with Board(tmp_path, image(main, boot="shared = 'from boot.py'\nprint('boot')\n")) as board:
        board.wait_for("boot\nmain from boot.py __main__ ['', '.frozen', '/lib']\n")
        board.wait_for(">>> ")
        assert ask(board, "shared") == "from boot.py"


def test_an_exception_in_main_py_is_printed_and_leaves_a_prompt(tmp_path):
    with Board(tmp_path, image("def f():\n    1/0\nf()\n")) as board:
        board.wait_for(
            'last):\n  File "main.py", line 3, in <module>\n  File "main.py", line 2, in f\nZeroDivisionError'
        )
        board.wait_for(">>> ")


def test_an_exception_in_boot_py_keeps_main_py_from_running(tmp_path):
    with Board(tmp_path, image("print('main')\n", boot="import nothing\n")) as board:
        board.wait_for(
            'Traceback (most recent call last):\n  File "boot.py", line 1, in <module>\nImportError'
        )
        board.wait_for(">>> ")
        assert "main\n" not in board.output


def test_an_erased_flash_is_formatted_and_other_contents_are_not(tmp_path):
    with Board(tmp_path / "new", flash=0x220000) as board:
        board.wait_for("Performing initial setup")
        board.wait_for(">>> ")
        assert list(board.files()) == ["/boot.py"]
        assert board.operations > 0
    with Board(tmp_path / "other", b"\x55" * BLOCKS * 4096) as board:
        board.wait_for("The filesystem appears to be corrupted")
        board.write(b"\x03")
        board.wait_for(">>> ")
        board.write(b"open('/etc/passwd')\r")  # neither its own files nor the host's
        board.wait_for("OSError")
        board.cut_power()
        assert board.image() == b"\x55" * BLOCKS * 4096


def test_the_host_is_out_of_reach(board):
    assert ask(board, "__import__('os').listdir('/')") == "['boot.py', 'main.py']"
    board.write(b"open('/etc/passwd')\r")
    board.wait_for("ENOENT")
    board.write(b"import tools\r")
    board.wait_for("ImportError")
    assert ask(board, "hasattr(__import__('os'), 'system')") == "False"
    assert ask(board, "__import__('os').uname()[0]") == "esp32"


def test_the_heap_can_be_small(tmp_path):
    with Board(
        tmp_path, image("import gc\nprint('heap', gc.mem_free() + gc.mem_alloc())\n"), heap=160_000
    ) as board:
        assert 150_000 < int(board.wait_for(re.compile(r"heap (\d+)\n"))[1]) < 165_000


def test_a_vm_that_cannot_start_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(board_module, "find_micropython", lambda: Interpreter(["/bin/false"], "false"))
    board = Board(tmp_path, image())
    with pytest.raises(BoardError, match="status 1 before it had started"), board:
        board.wait_for("main", 5)


# The clock


@needs_faketime
def test_in_a_folder_with_a_blank_its_clock_is_its_own_as_well(tmp_path, monkeypatch):
    library = shutil.copy(find_faketime(), tmp_path / "my clone.so")
    monkeypatch.setattr(board_module, "find_faketime", lambda: Path(library))
    main = "import time\nprint(time.localtime()[0])\n"
    with Board(tmp_path / "my board", image(main)) as board:
        board.wait_for("2000\n")
        board.wait_for(">>> ")
        assert "ld.so" not in board.output


@needs_faketime
def test_a_cold_board_thinks_it_is_2000(tmp_path):
    main = """
import time, machine
print("%d %d %s" % (time.time(), time.time_ns() // 10**9, isinstance(time.time(), int)))
print(time.gmtime()[:5], time.mktime((2026, 1, 2, 3, 4, 5, 0, 0)), time.gmtime(820638245))
print(machine.RTC().datetime()[:4])
"""
    with Board(tmp_path, image(main)) as board:
        board.wait_for(
            "0 0 True\n(2000, 1, 1, 0, 0) 820638245 (2026, 1, 2, 3, 4, 5, 4, 2)\n(2000, 1, 1, 5)\n"
        )


@needs_faketime
def test_the_clock_runs_through_resets_and_forgets_without_power(board):
    def seconds():
        board.wait_for(">>> ")
        board.write(b"import machine, time\r")
        return int(ask(board, "time.time()"))

    board.write(b"import machine\r")
    assert ask(board, "machine.RTC().datetime((2026, 1, 2, 0, 3, 4, 5, 0))") == "None"
    set_to = 820638245
    assert 0 <= seconds() - set_to < 5
    board.write(b"\x04")
    board.wait_for("soft reboot")
    assert 0 <= seconds() - set_to < 5
    board.write(b"machine.RTC().memory(b'kept'); machine.reset()\r")
    board.wait_for("rst:")
    assert 0 <= seconds() - set_to < 5
    assert ask(board, "machine.RTC().memory()") == "b'kept'"
    board.reset()
    assert seconds() < 5
    assert ask(board, "machine.RTC().memory()") == "b''"


@needs_faketime
def test_mbedtls_sees_the_board_clock(tmp_path):
    ca = trustme.CA()
    certificate = ca.issue_cert("board.test")
    files = {"/ca": x509.load_pem_x509_certificate(ca.cert_pem.bytes()).public_bytes(Encoding.DER)}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def shake_hands():
            for _ in range(2):
                client, _ = server.accept()
                with client, contextlib.suppress(OSError):
                    context.wrap_socket(client, server_side=True).close()

        threading.Thread(target=shake_hands, daemon=True).start()
        main = f"""
import socket, tls, machine
def shake_hands():
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(open("/ca", "rb").read())
    s = socket.socket()
    s.connect(socket.getaddrinfo("127.0.0.1", {server.getsockname()[1]})[0][-1])
    try:
        context.wrap_socket(s, server_hostname="board.test")
        print("verified")
    except Exception as error:
        print("refused", error)
machine.RTC().datetime((1999, 1, 1, 0, 0, 0, 0, 0))
shake_hands()
machine.RTC().datetime((2026, 1, 1, 0, 0, 0, 0, 0))
shake_hands()
"""
        # trustme's certificates begin in 2000.
        with Board(tmp_path / "board", image(main, **files)) as board:
            board.wait_for("validity starts in the future")
            board.wait_for("verified")


# Resets


def test_each_reset_has_its_cause(board):
    cause = "__import__('machine').reset_cause()"
    assert ask(board, cause) == "1"
    for typed, said, number in (
        (b"\x04", "soft reboot", "5"),
        (b"import machine; machine.reset()\r", "SW_CPU_RESET", "2"),
        (b"import machine; machine.soft_reset()\r", "soft reboot", "5"),
        (b"import machine; machine.deepsleep(200)\r", "DEEPSLEEP", "4"),
    ):
        board.write(typed)
        board.wait_for(said)
        board.wait_for(">>> ")
        assert ask(board, cause) == number
    board.reset()
    board.wait_for(">>> ")
    assert ask(board, cause) == "1"


def test_reset_is_the_last_thing_that_happens(tmp_path):
    main = """
import machine
if machine.reset_cause() == 1:
    try:
        machine.reset()
    finally:
        print('no')
"""
    with Board(tmp_path, image(main)) as board:
        board.wait_for(">>> ")
        assert board.output.count("boot\n") == 2
        assert "no" not in board.output


def test_a_program_that_exits_is_a_soft_reset(tmp_path):
    main = "import sys, machine\nif machine.reset_cause() == 1:\n    sys.exit()\nprint('again')\n"
    with Board(tmp_path, image(main)) as board:
        board.wait_for("boot\nMPY: soft reboot\nboot\nagain\n")


def test_ctrl_c_stops_main_py_and_the_prompt_stays(tmp_path):
    with Board(tmp_path, image("n = 41\n" + IDLE)) as board:
        board.wait_for("main\n")
        board.write(b"\x03\x03")
        board.wait_for(re.compile(r'File "main.py", line \d, in <module>\nKeyboardInterrupt'))
        board.wait_for(">>> ")
        assert ask(board, "n + 1") == "42"
        board.write(b"while True: pass\r\r")
        time.sleep(0.3)
        board.write(b"\x03")
        board.wait_for("KeyboardInterrupt")
        assert ask(board, "n") == "41"


def test_what_is_typed_ahead_is_not_lost(board):
    board.write(b"import time\rtime.sleep_ms(200)\r" + b"".join(b"print(%d * 1000)\r" % n for n in range(9)))
    for n in range(9):
        board.wait_for(f"\n{n * 1000}\n")


# The watchdog


def test_a_watchdog_that_is_not_fed_resets_the_board(tmp_path):
    main = """
import machine, time
print("cause", machine.reset_cause())
if machine.reset_cause() == machine.PWRON_RESET:
    wdt = machine.WDT(timeout=1000)
    for n in range(60):
        time.sleep_ms(20)
        wdt.feed()
    print("fed")
    del wdt
    while True:
        try:
            time.sleep_ms(10)
        except BaseException:
            pass
"""
    with Board(tmp_path, image(main)) as board:
        board.wait_for("fed\n")
        board.wait_for("watchdog got triggered")
        board.wait_for("cause 3\n")
        board.wait_for(">>> ")
        time.sleep(1.2)
        assert board.output.count("cause") == 2, "a reset stops the watchdog"


def test_the_watchdog_survives_a_soft_reset_and_takes_a_new_timeout(board):
    board.write(b"import machine\rw = machine.WDT(timeout=60000)\r")
    board.wait_for(">>> ")
    board.write(b"w = machine.WDT(timeout=400)\r")
    board.write(b"\x04")
    board.wait_for("soft reboot")
    board.wait_for("watchdog got triggered")
    board.wait_for(">>> ")
    board.write(b"import machine\rw = machine.WDT(timeout=1000); w = machine.WDT(timeout=3600000)\r")
    time.sleep(1.2)
    assert ask(board, "machine.reset_cause()") == "3"
    assert board.output.count("triggered") == 1
