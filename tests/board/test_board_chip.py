"""The chip's modules under CPython, and a board without MicroPython."""

import calendar
import importlib
import json
import socket
import sys
import threading
from pathlib import Path

import pytest
from programs import image

from tools.board import Board, BoardError

CHIP = Path(__file__).resolve().parents[2] / "tools/board/chip"


# The chip's modules, under CPython


@pytest.fixture
def chip(monkeypatch):
    """Imports the chip's modules afresh, as a host test would."""
    monkeypatch.syspath_prepend(str(CHIP))
    names = ("_board", "_air", "_radio", "machine", "network", "esp32", "ntptime")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    modules = type("Chip", (), {name.lstrip("_"): importlib.import_module(name) for name in names})
    yield modules
    for name in names:
        sys.modules.pop(name, None)


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


def test_the_radio_s_power_is_set_as_the_esp32_port_has_it(chip):
    wlan = chip.network.WLAN()
    assert wlan.config("pm") == wlan.PM_PERFORMANCE and wlan.config("txpower") == 20
    with pytest.raises(OSError, match="Wifi Not Started"):
        wlan.config(txpower=8)
    wlan.active(True)
    wlan.config(pm=wlan.PM_NONE, txpower=8.6)
    assert wlan.config("pm") == 0 and wlan.config("txpower") == 8.5
    for wrong in ({"pm": 3}, {"txpower": 1}, {"txpower": 22}):
        with pytest.raises(RuntimeError, match="0x0102"):
            wlan.config(**wrong)


def test_an_unknown_network_is_tried_until_it_appears(chip, monkeypatch):
    passed_ms = 0
    monkeypatch.setattr(chip.board, "ticks_ms", lambda: passed_ms)
    in_the_air(chip)
    wlan = chip.network.WLAN()
    wlan.active(True)
    wlan.connect("home", "12345678")
    assert wlan.status() == chip.network.STAT_CONNECTING
    passed_ms = 60
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


def test_a_bare_chip_needs_micropython(tmp_path):
    with pytest.raises(BoardError, match="no flash chip that could be bare: leave out --bare"):
        Board(tmp_path, vm="cpython", bare=True)
