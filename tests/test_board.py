"""The virtual ESP32 does what the chip and its MicroPython port do."""

import calendar
import contextlib
import importlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tools.board import Board, BoardError, find_faketime, find_micropython
from tools.board.console import Console
from tools.factory.littlefs import build
from tools.factory.product import BLOCKS

CHIP = Path(__file__).resolve().parents[1] / "tools/board/chip"

needs_micropython = pytest.mark.skipif(find_micropython() is None, reason="needs MicroPython")
needs_faketime = pytest.mark.skipif(find_faketime() is None, reason="needs libfaketime, which is for Linux")

IDLE = "import time\nprint('main')\nwhile True:\n    time.sleep_ms(20)\n"


def image(main=IDLE, boot="print('boot')\n", **files):
    return build({"/boot.py": boot.encode(), "/main.py": main.encode(), **files}, BLOCKS, 1763600000)


def ask(board, expression):
    """The prompt's answer to expression."""
    board.write(f"print('<%s>' % str({expression}))\r".encode())
    return board.wait_for(re.compile(r"^<(.*)>\n", re.MULTILINE))[1]


@pytest.fixture
def board(tmp_path):
    with Board(tmp_path, image("print('main')\n")) as board:
        board.wait_for("main\n")
        board.wait_for(">>> ")
        yield board


# Start-up


@needs_micropython
def test_it_boots_in_a_moment_boot_py_first(tmp_path):
    main = "print('main', shared, __name__, __import__('sys').path)\n"
    started = time.monotonic()
    with Board(tmp_path, image(main, boot="shared = 'from boot.py'\nprint('boot')\n")) as board:
        board.wait_for("boot\nmain from boot.py __main__ ['', '.frozen', '/lib']\n")
        board.wait_for(">>> ")
        assert time.monotonic() - started < 1
        assert ask(board, "shared") == "from boot.py"


@needs_micropython
def test_an_exception_in_main_py_is_printed_and_leaves_a_prompt(tmp_path):
    with Board(tmp_path, image("def f():\n    1/0\nf()\n")) as board:
        board.wait_for(
            'last):\n  File "main.py", line 3, in <module>\n  File "main.py", line 2, in f\nZeroDivisionError'
        )
        board.wait_for(">>> ")


@needs_micropython
def test_an_exception_in_boot_py_keeps_main_py_from_running(tmp_path):
    with Board(tmp_path, image("print('main')\n", boot="import nothing\n")) as board:
        board.wait_for(
            'Traceback (most recent call last):\n  File "boot.py", line 1, in <module>\nImportError'
        )
        board.wait_for(">>> ")
        assert "main\n" not in board.output


@needs_micropython
def test_an_erased_flash_is_formatted_and_other_contents_are_not(tmp_path):
    with Board(tmp_path / "new", flash=0x220000) as board:
        board.wait_for("Performing initial setup")
        board.wait_for(">>> ")
        assert list(board.files()) == ["/boot.py"]
        assert board.operations > 0
    with Board(tmp_path / "other", b"\x55" * BLOCKS * 4096) as board:
        board.wait_for("The filesystem appears to be corrupted")
        board.cut_power()
        assert board.image() == b"\x55" * BLOCKS * 4096


@needs_micropython
def test_the_host_is_out_of_reach(board):
    assert ask(board, "__import__('os').listdir('/')") == "['boot.py', 'main.py']"
    board.write(b"open('/etc/passwd')\r")
    board.wait_for("ENOENT")
    board.write(b"import tools\r")
    board.wait_for("ImportError")
    assert ask(board, "hasattr(__import__('os'), 'system')") == "False"
    assert ask(board, "__import__('os').uname()[0]") == "esp32"


@needs_micropython
def test_the_heap_can_be_small(tmp_path):
    with Board(
        tmp_path, image("import gc\nprint('heap', gc.mem_free() + gc.mem_alloc())\n"), heap=160_000
    ) as board:
        assert 150_000 < int(board.wait_for(re.compile(r"heap (\d+)\n"))[1]) < 165_000


@needs_micropython
def test_a_vm_that_cannot_start_is_said(tmp_path):
    board = Board(tmp_path, image(), environment={"BOARD_DIRECTORY": ""})
    board._micropython = board._micropython._replace(command=["/bin/false"])
    with pytest.raises(BoardError, match="status 1 before it had started"), board:
        board.wait_for("main", 5)


# The clock


@needs_micropython
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


@needs_micropython
@needs_faketime
def test_the_clock_runs_through_resets_and_forgets_without_power(board):
    board.write(b"import machine, time\r")
    assert ask(board, "machine.RTC().datetime((2026, 1, 2, 0, 3, 4, 5, 0))") == "None"
    set_to = 820638245
    assert 0 <= int(ask(board, "time.time()")) - set_to < 5
    board.write(b"\x04")
    board.wait_for("soft reboot")
    board.wait_for(">>> ")
    board.write(b"import machine, time\rmachine.RTC().memory(b'kept')\r")
    assert 0 <= int(ask(board, "time.time()")) - set_to < 5
    board.write(b"machine.reset()\r")
    board.wait_for("rst:")
    board.wait_for(">>> ")
    board.write(b"import machine, time\r")
    assert 0 <= int(ask(board, "time.time()")) - set_to < 5
    assert ask(board, "machine.RTC().memory()") == "b'kept'"
    board.cut_power()
    board.start()
    board.wait_for(">>> ")
    board.write(b"import machine, time\r")
    assert int(ask(board, "time.time()")) < 5
    assert ask(board, "machine.RTC().memory()") == "b''"


@needs_micropython
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


@needs_micropython
def test_each_reset_has_its_cause(board):
    cause = "__import__('machine').reset_cause()"
    assert ask(board, cause) == "1"
    board.write(b"\x04")
    board.wait_for(">>> ")
    assert ask(board, cause) == "5"
    board.write(b"import machine; machine.reset()\r")
    board.wait_for(">>> ")
    assert ask(board, cause) == "2"
    board.write(b"import machine; machine.soft_reset()\r")
    board.wait_for("soft reboot")
    board.wait_for(">>> ")
    assert ask(board, cause) == "5"
    board.write(b"import machine; machine.deepsleep(200)\r")
    board.wait_for("DEEPSLEEP")
    board.wait_for(">>> ")
    assert ask(board, cause) == "4"
    board.reset()
    board.wait_for(">>> ")
    assert ask(board, cause) == "1"


@needs_micropython
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


@needs_micropython
def test_a_program_that_exits_is_a_soft_reset(tmp_path):
    main = "import sys, machine\nif machine.reset_cause() == 1:\n    sys.exit()\nprint('again')\n"
    with Board(tmp_path, image(main)) as board:
        board.wait_for("boot\nMPY: soft reboot\nboot\nagain\n")


@needs_micropython
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


@needs_micropython
def test_what_is_typed_ahead_is_not_lost(board):
    board.write(b"import time\rtime.sleep_ms(200)\r" + b"".join(b"print(%d * 1000)\r" % n for n in range(9)))
    for n in range(9):
        board.wait_for(f"\n{n * 1000}\n")


# The watchdog


@needs_micropython
def test_a_watchdog_that_is_not_fed_resets_the_board(tmp_path):
    main = """
import machine, time
print("cause", machine.reset_cause())
if machine.reset_cause() == machine.PWRON_RESET:
    wdt = machine.WDT(timeout=300)
    for n in range(40):
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
        starved = time.monotonic()
        board.wait_for("watchdog got triggered")
        assert 0.2 < time.monotonic() - starved < 1
        board.wait_for("cause 3\n")
        board.wait_for(">>> ")
        time.sleep(0.5)
        assert board.output.count("cause") == 2, "a reset stops the watchdog"


@needs_micropython
def test_the_watchdog_survives_a_soft_reset_and_takes_a_new_timeout(board):
    board.write(b"import machine\rw = machine.WDT(timeout=60000)\r")
    board.wait_for(">>> ")
    board.write(b"w = machine.WDT(timeout=400)\r")
    board.write(b"\x04")
    board.wait_for("soft reboot")
    board.wait_for("watchdog got triggered", 2)
    board.wait_for(">>> ")
    board.write(b"import machine\rw = machine.WDT(timeout=200); w = machine.WDT(timeout=3600000)\r")
    time.sleep(0.5)
    assert ask(board, "machine.reset_cause()") == "3"
    assert board.output.count("triggered") == 1


# Power and flash

WRITER = """
import os
def put(name, data):
    with open(name, "wb") as f:
        f.write(data)
print("found", len(set(open("/value", "rb").read())), open("/value").read(3), open("/next").read(3))
put("/value", b"new" * 100)
put("/next~", b"NEW" * 3000)
os.rename("/next~", "/next")
print("written")
"""


@needs_micropython
def test_power_may_go_at_any_flash_operation(tmp_path):
    flash = image(WRITER, **{"/value": b"old" * 100, "/next": b"OLD" * 3000})
    with Board(tmp_path / "whole", flash) as board:
        board.wait_for("written")
        operations = board.operations
    assert operations > 10
    found = set()
    for n in range(1, operations + 1, 3):
        board = Board(tmp_path / str(n), flash, cut_at=n, torn=0.5)
        board.start()
        board.wait_off()
        assert board.operations == n
        assert "written" not in board.output
        board.stop()
        with Board(tmp_path / str(n), cut_at=None) as again:
            found.add(again.wait_for(re.compile("found (.*)\n"))[1])
            again.wait_for("written")
    assert found <= {"3 old OLD", "3 new OLD", "3 new NEW"}
    assert len(found) > 1, "some cuts come before the write, some after it"


@needs_micropython
def test_a_torn_page_is_written_in_part(tmp_path):
    flash = image("open('/value', 'wb').write(b'x' * 3000)\n")
    pages = []
    for torn in (0.0, 0.5, 1.0):
        board = Board(tmp_path / str(torn), flash, cut_at=3, torn=torn)
        board.start()
        board.wait_off()
        pages.append(board.image())
        board.stop()
    before, half, after = (sum(a != b for a, b in zip(flash, page, strict=True)) for page in pages)
    assert before < half < after


@needs_micropython
def test_the_plug_can_be_pulled_at_any_moment_and_nothing_runs_on(tmp_path):
    with Board(tmp_path, image()) as board:
        board.wait_for("main\n")
        pid = board._process.pid
        board.cut_power()
        assert not board.running
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        with pytest.raises(BoardError, match="did not print 'x' and is off"):
            board.wait_for("x")
        board.start()
        board.wait_for("main\n")
        last = board._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)
    assert not list(Path("/dev/shm").glob(f"*faketime*{pid}"))
    assert not list(Path("/dev/shm").glob(f"*faketime*{last}"))


@needs_micropython
def test_nvs_keeps_what_was_committed(board):
    board.write(b"import esp32; n = esp32.NVS('muster')\r")
    board.write(
        b"n.set_i32('count', -7); n.set_blob('blob', b'\\x00secret'); n.commit(); n.set_i32('count', 8)\r"
    )
    assert ask(board, "n.get_i32('count')") == "8"
    board.cut_power()
    board.start()
    board.wait_for(">>> ")
    board.write(b"import esp32; n = esp32.NVS('muster'); b = bytearray(10)\r")
    assert ask(board, "n.get_i32('count')") == "-7"
    assert ask(board, "(n.get_blob('blob', b), bytes(b))") == "(7, b'\\x00secret\\x00\\x00\\x00')"
    before = board.operations
    board.write(b"n.erase_key('count'); n.commit()\r")
    board.wait_for(">>> ")
    assert ask(board, "'count'") == "count"
    assert board.operations == before + 1
    board.write(b"n.get_i32('count')\r")
    board.wait_for("OSError: (-4354, 'ESP_ERR_NVS_NOT_FOUND')")


@needs_micropython
def test_power_can_go_during_a_commit(tmp_path):
    main = """
import esp32
n = esp32.NVS("muster")
try:
    print("had", n.get_i32("count"))
except OSError:
    print("had nothing")
n.set_i32("count", 1)
n.commit()
print("committed")
"""
    board = Board(tmp_path, image(main), cut_at=1)
    board.start()
    board.wait_off()
    assert "committed" not in board.output
    board.stop()
    with Board(tmp_path) as board:
        board.wait_for("had nothing")
        board.wait_for("committed")


# The network


@needs_micropython
def test_the_network_goes_and_comes_back_and_outlives_a_soft_reset(tmp_path):
    main = """
import network, time
wlan = network.WLAN(network.STA_IF)
print("from before", wlan.isconnected())
wlan.active(True)
if not wlan.isconnected():
    wlan.connect("home", "12345678")
last = None
for n in range(500):
    if wlan.status() != last:
        last = wlan.status()
        print("status", last, wlan.isconnected(), wlan.ifconfig()[0])
    time.sleep_ms(10)
"""
    air = [{"ssid": "home", "key": "12345678", "join_s": 0.1}]
    with Board(tmp_path, image(main), air=air) as board:
        board.wait_for("from before False\nstatus 1001 False 0.0.0.0\nstatus 1010 True 192.168.4.7\n")
        board.cut_network()
        board.wait_for("status 1001 False 0.0.0.0\nstatus 201 False 0.0.0.0\n")
        board.restore_network()
        board.wait_for("status 1010 True")
        board.write(b"\x03")
        board.wait_for(">>> ")
        board.write(b"\x04")
        board.wait_for("from before True\n")
        board.reset()
        board.wait_for("from before False\n")


# The chip's modules, under CPython


@pytest.fixture
def chip(monkeypatch):
    """Imports the chip's modules afresh, as a host test would."""
    monkeypatch.syspath_prepend(str(CHIP))
    names = ("_board", "machine", "network", "esp32", "ntptime")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    modules = type("Chip", (), {name.lstrip("_"): importlib.import_module(name) for name in names})
    yield modules
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)


def in_the_air(chip, *networks):
    chip.board.write("air", json.dumps(networks).encode())


def test_a_wrong_key_is_tried_for_ever_until_disconnect(chip):
    in_the_air(chip, {"ssid": "home", "key": "12345678", "join_s": 0})
    wlan = chip.network.WLAN(chip.network.WLAN.IF_STA)
    with pytest.raises(OSError, match="Wifi Not Started"):
        wlan.connect("home", "12345678")
    wlan.active(True)
    assert wlan.status() == chip.network.STAT_IDLE
    wlan.connect("home", "wrong")
    assert wlan.status() == chip.network.STAT_WRONG_PASSWORD
    assert not wlan.isconnected()
    with pytest.raises(OSError, match="Wifi Internal State Error"):
        wlan.connect("home", "12345678")
    wlan.disconnect()
    assert wlan.status() == chip.network.STAT_IDLE
    wlan.connect("home", "12345678")
    assert wlan.isconnected()
    assert wlan.status() == chip.network.STAT_GOT_IP
    assert wlan.ifconfig()[0] == "192.168.4.7" == wlan.ipconfig("addr4")[0]
    assert wlan.status("rssi") < 0
    wlan.active(False)
    assert not wlan.isconnected()


def test_an_unknown_network_is_tried_until_it_appears(chip):
    in_the_air(chip)
    wlan = chip.network.WLAN()
    wlan.active(True)
    wlan.connect("home", "12345678")
    assert wlan.status() == chip.network.STAT_CONNECTING
    time.sleep(0.06)
    assert wlan.status() == chip.network.STAT_NO_AP_FOUND
    in_the_air(chip, {"ssid": "home", "key": "12345678", "join_s": 0})
    assert [found[0] for found in wlan.scan()] == [b"home"]
    assert wlan.isconnected()
    assert chip.network.WLAN().isconnected()


def test_the_mac_is_the_chips(chip):
    assert chip.network.WLAN().config("mac") == chip.machine.unique_id() == bytes.fromhex("240ac4c0ffee")
    assert chip.network.WLAN(chip.network.AP_IF).config("mac") == bytes.fromhex("240ac4c0ffef")
    chip.network.hostname("toy")
    assert chip.network.hostname() == "toy"
    with pytest.raises(ValueError):
        chip.network.hostname("x" * 33)


def test_nvs_has_the_limits_of_the_chip(chip):
    nvs = chip.esp32.NVS("muster")
    for bad, error in (("", "INVALID_NAME"), ("x" * 16, "INVALID_NAME")):
        with pytest.raises(OSError, match=error):
            chip.esp32.NVS(bad)
    with pytest.raises(OSError, match="KEY_TOO_LONG"):
        nvs.set_i32("k" * 16, 1)
    with pytest.raises(OverflowError):
        nvs.set_i32("k", 1 << 31)
    with pytest.raises(OSError) as found:
        nvs.get_blob("k", bytearray(1))
    assert found.value.args == (-4354, "ESP_ERR_NVS_NOT_FOUND")
    nvs.set_blob("k", b"four")
    with pytest.raises(OSError, match="INVALID_LENGTH"):
        nvs.get_blob("k", bytearray(3))
    with pytest.raises(OSError, match="NOT_FOUND"):
        nvs.get_i32("k")
    assert chip.esp32.NVS("muster").get_blob("k", bytearray(4)) == 4
    with pytest.raises(OSError, match="NOT_FOUND"):
        chip.esp32.NVS("other").get_blob("k", bytearray(4))
    with pytest.raises(OSError, match="NOT_ENOUGH_SPACE"):
        nvs.set_blob("big", bytes(21_000))


def test_the_clock_of_a_host_test_can_be_set(chip):
    rtc = chip.machine.RTC()
    rtc.datetime((2031, 2, 28, 0, 23, 59, 58, 0))
    assert rtc.datetime()[:6] == (2031, 2, 28, 4, 23, 59)
    with pytest.raises(ValueError):
        rtc.memory(bytes(2049))
    with pytest.raises(ValueError, match="WDT timeout too short"):
        chip.machine.WDT(timeout=0)
    with pytest.raises(SystemExit):
        chip.machine.reset()


@pytest.mark.parametrize("now", [1767323045, 2085978495, 2085978497])
def test_ntptime_asks_and_sets_the_clock(chip, now, monkeypatch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer():
            question, client = server.recvfrom(48)
            assert question[0] & 7 == 3
            server.sendto(bytes(40) + ((now + 2208988800) % 2**32).to_bytes(4, "big") + bytes(4), client)

        thread = threading.Thread(target=answer)
        thread.start()
        address = [(socket.AF_INET, socket.SOCK_DGRAM, 0, "", server.getsockname())]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: address)
        chip.ntptime.settime()
        thread.join()
    year, month, day, _, hour, minute, second, _ = chip.machine.RTC().datetime()
    assert 0 <= calendar.timegm((year, month, day, hour, minute, second)) - now < 3


# The console


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


@needs_micropython
def test_serve_runs_a_board_until_ctrl_c(tmp_path):
    (tmp_path / "image").write_bytes(image())
    program = f"""
from pathlib import Path
from tools.board import Board, serve
here = Path({str(tmp_path)!r})
serve(Board(here / "board", (here / "image").read_bytes()))
"""
    served = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        printed = "".join(iter(served.stdout.readline, "main\n"))
        port = re.search(r"serial port: (\S+)", printed)[1]
        assert Path(port).is_char_device()
        served.send_signal(signal.SIGINT)
        assert served.wait(10) == 0
    finally:
        served.kill()
        served.wait()
        served.stdout.close()


@needs_micropython
@pytest.mark.parametrize("vm", ["micropython", "cpython"])
def test_a_board_ends_with_its_supervisor_however_that_ends(tmp_path, vm):
    (tmp_path / "image").write_bytes(image("import time\nprint('main')\nwhile True: time.sleep(0.05)\n"))
    program = f"""
import time
from pathlib import Path
from tools.board import Board
here = Path({str(tmp_path)!r})
board = Board(here / "board", (here / "image").read_bytes(), vm={vm!r}).start()
board.wait_for("main")
print(board._process.pid, flush=True)
time.sleep(60)
"""
    supervisor = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        pid = int(supervisor.stdout.readline())
    finally:
        supervisor.kill()
        supervisor.wait()
        supervisor.stdout.close()
    until = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


# CPython


def test_the_same_program_runs_where_there_is_no_micropython(tmp_path):
    main = """
import json, machine, network, esp32, os, time
wlan = network.WLAN(network.STA_IF)
wlan.active(True)
if not wlan.isconnected():
    wlan.connect("muster-lab", "password")
while not wlan.isconnected():
    time.sleep(0.01)
print("config", json.load(open("/config.json")), os.listdir("/lib"))
open("/made", "w").write("here")
print("cause", machine.reset_cause())
if machine.reset_cause() == machine.PWRON_RESET:
    machine.WDT(timeout=300)
while True:
    time.sleep(0.05)
"""
    files = {"/config.json": b'{"a": 1}', "/lib/muster.py": b""}
    with Board(tmp_path, image(main, **files), vm="cpython") as board:
        board.wait_for("boot\nconfig {'a': 1} ['muster.py']\ncause 1\n")
        board.wait_for("watchdog got triggered")
        board.wait_for("cause 3\n")
        board.write(b"\x03")
        board.wait_for("KeyboardInterrupt")
        board.wait_for(">>> ")
        board.write(b"6 * 7\r")
        board.wait_for("42\n")
        board.write(b"\x04")
        board.wait_for("MPY: soft reboot\nboot\n")
        board.wait_for("cause 5\n")
        board.cut_power()
        assert board.files()["/made"] == b"here"
    assert not Path("/made").exists()


def test_cut_at_needs_micropython(tmp_path):
    with pytest.raises(BoardError, match="cut_at counts flash operations"):
        Board(tmp_path, vm="cpython", cut_at=1)
