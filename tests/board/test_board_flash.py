"""A virtual board's flash, its NVS and its network, and the power that goes in between."""

import errno
import os
import re
from pathlib import Path

import pytest
from programs import ask, image, needs_micropython

from tools.board import Board, BoardError
from tools.board.flash import Flash
from tools.common import boards

ESP32 = boards.board_types()["ESP32_GENERIC"]

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
        pid = board.pid
        board.cut_power()
        assert not board.running
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        with pytest.raises(BoardError, match="did not print 'x' and is off"):
            board.wait_for("x")
        board.start()
        board.wait_for("main\n")
        last = board.pid
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


# The folder


def test_a_folder_is_one_boards_at_a_time(board, tmp_path):
    with pytest.raises(BoardError, match="is in use by another board: stop that one"):
        Board(tmp_path)
    board.stop()
    Board(tmp_path).stop()


@pytest.mark.parametrize("size", [0, 24 * 1024, 3 * boards.MB])
def test_a_flash_that_is_damaged_is_said(tmp_path, size):
    path = tmp_path / "flash.bin"
    Flash(path, ESP32, 4 * boards.MB)
    os.truncate(path, size)
    with pytest.raises(ValueError, match=f"is damaged: it has {size:,} bytes, expected one of 4, 8, 16 MB"):
        Flash(path, ESP32, 4 * boards.MB)
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match="is no file, and so not the flash of a board"):
        Flash(path, ESP32, 4 * boards.MB)


@needs_micropython
def test_a_request_without_its_arguments_resets_a_chip_that_waits_for_esptool(tmp_path):
    with Board(tmp_path, bare=True) as board:
        board.wait_for("rst:")
        with open(board.port, "r+b", buffering=0) as line:
            line.write(b"\xc0\x00\x10\x00\x00\x00\x00\x00\x00\xc0")  # FLASH_DEFL_BEGIN
            board.wait_for("rst:")
        board.cut_power()


def test_a_flash_without_its_partition_table_waits_for_esptool(tmp_path):
    path = tmp_path / "flash.bin"
    flash = Flash(path, ESP32, 4 * boards.MB)
    assert flash.bootable
    with path.open("r+b") as file:
        file.seek(0x8000)
        file.write(bytes(4096))
    assert not flash.bootable
    with pytest.raises(ValueError, match=r"has no firmware that could hold files \(there is no partition"):
        flash.write(b"")


def test_a_full_disk_leaves_no_part_of_a_flash(tmp_path, monkeypatch):
    def write_half(path, data):
        with path.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match="No space left"):
        Flash(tmp_path / "flash.bin", ESP32, 4 * boards.MB)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("vm", [pytest.param("micropython", marks=needs_micropython), "cpython"])
def test_nobody_else_can_read_what_a_board_keeps(tmp_path, vm):
    main = "import esp32\nn = esp32.NVS('muster')\nn.set_i32('count', 1)\nn.commit()\nprint('committed')\n"
    folder = tmp_path / "board"
    with Board(folder, image(main), vm=vm) as board:
        board.wait_for("committed")
        kept = [folder, *folder.iterdir()]
        assert [path.name for path in kept if not path.is_symlink() and path.stat().st_mode & 0o077] == []
    assert {"nvs", "air"} < {path.name for path in kept}


def test_a_folder_that_holds_another_kind_is_said(tmp_path):
    Board(tmp_path, kind="ESP32_GENERIC_S3").stop()
    with pytest.raises(BoardError, match="holds an ESP32_GENERIC_S3, not an ESP32_GENERIC: start it with"):
        Board(tmp_path)
    Board(tmp_path, kind="ESP32_GENERIC_S3").stop()


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
