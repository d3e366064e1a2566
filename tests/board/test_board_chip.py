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


# Its audio, its modem and its Ethernet, of which each has a file of its own


def audio(chip, id, mode, **changes):
    how = {"bits": 16, "format": chip.machine.I2S.MONO, "rate": 16000, "ibuf": 4096, **changes}
    return chip.machine.I2S(id, sck=1, ws=2, sd=3, mode=mode, **how)


@pytest.fixture
def ticks(chip, monkeypatch):
    """Milliseconds that a test lets pass, and the chip's sleep."""
    now = [1000]
    monkeypatch.setattr(chip.board, "ticks_ms", lambda: now[0])

    def sleep_ms(ms):
        now[0] += ms

    monkeypatch.setattr(chip.board, "sleep_ms", sleep_ms)
    return sleep_ms


def test_a_microphone_hears_by_the_clock_and_loses_what_its_buffer_has_no_room_for(chip, ticks):
    chip.board.write("i2s0.in", bytes(range(250)))
    microphone = audio(chip, 0, chip.machine.I2S.RX)
    buffer = bytearray(1000)
    assert microphone.readinto(buffer) == 1000 and buffer == bytes(range(250)) * 4
    assert chip.board.ticks_ms() == 1032  # as long as they take
    assert not microphone.ioctl(3, 1)
    assert microphone.readinto(buffer) == 24  # once polled, what is there
    ticks(16)
    assert microphone.ioctl(3, 1) == 1
    ticks(10_000)
    assert [microphone.readinto(buffer) for _ in range(5)] == [1000] * 4 + [96]
    with pytest.raises(OSError, match="22"):
        microphone.readinto(bytearray(3))
    with pytest.raises(OSError, match="1"):
        microphone.write(b"12")


def test_a_loudspeaker_takes_what_its_buffer_has_room_for_and_waits_without_a_poll(chip, ticks):
    speaker = audio(chip, 1, chip.machine.I2S.TX)
    assert speaker.write(bytes(8192)) == 8192 and chip.board.ticks_ms() == 1128
    assert speaker.ioctl(3, 4) == 0 and speaker.write(bytes(100)) == 0
    ticks(16)
    assert speaker.ioctl(3, 4) == 4 and speaker.write(b"s" * 600) == 512
    assert chip.board.read("i2s1.out") == bytes(8192) + b"s" * 512


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"id": 2}, "id"), ({"mode": 1}, "mode"), ({"bits": 24}, "bits"), ({"format": 2}, "format")],
)
def test_settings_that_no_i2s_has_are_refused(chip, changes, words):
    with pytest.raises(ValueError, match="invalid " + words):
        audio(chip, **{"id": 0, "mode": chip.machine.I2S.RX, **changes})


IMEI = "867322040000010"


def modem(chip, **settings):
    chip.board.write("modem", json.dumps({"imei": IMEI, **settings}).encode())
    return chip.machine.UART(1, 115200, tx=17, rx=18, timeout=10)


def said(uart, command):
    uart.write(command + "\r")
    return uart.read()


def test_a_modem_answers_commands_and_is_on_line_after_it_has_dialled(chip, ticks):
    uart = modem(chip)
    assert said(uart, "AT") == b"AT\r\r\nOK\r\n" and said(uart, "ATE0") == b"ATE0\r\r\nOK\r\n"
    assert said(uart, "at+cgsn") == f"\r\n{IMEI}\r\n\r\nOK\r\n".encode()
    assert said(uart, "AT+NONSENSE") == b"\r\nERROR\r\n"
    assert uart.readline() is None and uart.read() is None
    assert said(uart, "ATD*99#") == b"\r\nCONNECT\r\n"
    assert said(uart, "AT") is None
    uart.write("+++")
    assert uart.read() is None  # not a second after the last word
    ticks(1000)
    uart.write("+++")
    assert [uart.readline(), uart.readline()] == [b"\r\n", b"OK\r\n"]
    with pytest.raises(ValueError, match="UART\\(0\\) is disabled"):
        chip.machine.UART(0)
    assert chip.machine.UART(2).read() is None


def test_ppp_is_connected_while_its_modem_is_on_line(chip, ticks):
    uart = modem(chip)
    ppp = chip.network.PPP(uart)
    assert ppp.ifconfig() == (None,) * 4 and ppp.status() == 0
    ppp.connect()
    ticks(500)
    assert not ppp.isconnected() and ppp.status() == 3 and ppp.ifconfig()[0] == "0.0.0.0"
    with pytest.raises(OSError):
        ppp.connect()
    said(uart, "ATD*99#")
    assert ppp.isconnected() and ppp.ifconfig()[0] == "10.64.0.2" == ppp.ipconfig("addr4")[0]
    modem(chip, carrier=False)
    assert not ppp.isconnected() and ppp.status() < 0
    assert uart.read() == b"\r\nNO CARRIER\r\n" and b"NO CARRIER" in said(uart, "ATD*99#")
    ppp.connect(security=ppp.SEC_PAP, user="", key="")
    modem(chip)
    said(uart, "ATD*99#")
    ticks(200)
    assert ppp.isconnected()
    ppp.disconnect()
    assert not ppp.isconnected() and ppp.status() == 0


def test_ethernet_is_connected_with_its_cable_and_has_an_address_a_little_later(chip, ticks):
    how = {"phy_type": chip.network.PHY_LAN8720, "phy_addr": 1}
    with pytest.raises(ValueError, match="mdc and mdio"):
        chip.network.LAN(**how)
    lan = chip.network.LAN(mdc=23, mdio=18, **how)
    assert not lan.isconnected() and not lan.active(False) and lan.active(True)
    assert lan.isconnected() and lan.status() == chip.network.ETH_CONNECTED
    assert lan.ifconfig()[0] == "0.0.0.0"
    ticks(200)
    assert lan.status() == chip.network.ETH_GOT_IP and lan.ifconfig()[0] == "192.168.4.7"
    assert chip.network.LAN(mdc=23, mdio=18, **how).isconnected()  # the same
    assert lan.config("mac").hex() == "240ac4c0fff1"
    chip.board.write("cable", b"false")
    assert not lan.isconnected() and lan.ifconfig()[0] == "0.0.0.0"
