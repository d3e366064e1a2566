import sys

from chip import FAULTS, HOME, WLAN, Machine, Watchdog, broken, chip, lines, no_board, run, teardown_function  # noqa: F401
from muster import board, wifi


def test_mac_and_serial_number():
    chip()
    assert board.mac() == "50-5A-65-51-82-13"
    assert board.serial_number() == "505A65518213"


def test_zeros_are_no_mac():
    chip(WLAN(mac=bytes(6)), Machine(b"\x01\x02\x03\x04\x05\xff"))
    assert board.mac() == "01-02-03-04-05-FF"
    assert board.serial_number() == "0102030405FF"


def test_mac_without_wifi_comes_from_the_chip():
    def broken(name):
        raise OSError("Wifi Unknown Error")

    wlan = chip(WLAN())
    wlan.config = broken
    assert board.mac() == "50-5A-65-51-82-13"
    sys.modules["machine"] = Machine(b"\x01\x02\x03\x04\x05\x06\x07\x08")
    assert board.mac() == "" and board.serial_number() == ""


def test_a_laptop_knows_nothing_and_is_connected(laptop):
    no_board()
    assert board.mac() == "" and board.serial_number() == ""
    assert board.addresses() == [] and board.net_type() == ""
    assert board.connected() is True
    assert run(wifi.join([HOME])) == (None, 0)
    board.watchdog(120)
    board.feed()


def test_a_chip_without_wifi():
    chip()

    class Bare:
        pass

    sys.modules["network"] = Bare()
    assert board.addresses() == [] and board.net_type() == "" and board.connected() is False
    assert run(wifi.join([HOME])) == (None, 0)


def test_addresses_and_network_type():
    wlan = chip(WLAN())
    assert (board.addresses(), board.net_type(), board.connected()) == ([], "", False)
    wlan.joined = "home"
    assert (board.addresses(), board.net_type(), board.connected()) == (
        ["192.168.1.7"],
        "wifi",
        True,
    )
    wlan.address = "0.0.0.0"
    assert board.addresses() == []


def test_ethernet_that_the_program_brought():
    wlan = chip(WLAN())
    board.lan = WLAN(address="10.0.0.5")
    assert (board.addresses(), board.net_type(), board.connected()) == ([], "", False)
    board.lan.joined = "cable"
    assert (board.addresses(), board.net_type(), board.connected()) == (
        ["10.0.0.5"],
        "ethernet",
        True,
    )
    wlan.joined = "home"
    assert (board.addresses(), board.net_type()) == (["192.168.1.7", "10.0.0.5"], "wifi")


def test_no_fault_of_a_driver_ends_a_program():
    for fault in FAULTS:
        for name in ("config", "isconnected", "ifconfig"):
            wlan = chip(WLAN())
            wlan.joined = "home"
            setattr(wlan, name, broken(fault))
            board.lan = WLAN(address="10.0.0.5")
            board.lan.joined = "cable"
            assert board.mac() == "50-5A-65-51-82-13"
            assert board.addresses()[-1] == "10.0.0.5"
            assert board.net_type() == ("ethernet" if name == "isconnected" else "wifi")
            assert board.connected()
        sys.modules["network"].WLAN = sys.modules["machine"].unique_id = broken(fault)
        assert board.serial_number() == "" and board.net_type() == "ethernet"
        assert run(wifi.join([HOME])) == (None, 0)


def test_a_watchdog_that_fails_is_said_and_ends_nothing():
    class Broken(Watchdog):
        def feed(self):
            raise OSError(-258)

    chip()
    sys.modules["machine"].WDT = Broken
    board.watchdog(120)
    board.feed()
    assert lines == []
    for fault in FAULTS:
        sys.modules["machine"].WDT = broken(fault)
        board.watchdog(120)
        board.feed()
        assert "no watchdog: " + str(fault) in lines.pop()


def test_watchdog():
    chip()
    board.feed()
    assert Watchdog.log == []
    board.watchdog(120)
    board.feed()
    assert Watchdog.log == [120000, "fed", "fed"]
    board.watchdog(7200)
    assert Watchdog.log[3] == 7200000
    board.watchdog(0)
    assert "WDT timeout too short" in lines[0] and Watchdog.log[-1] == "fed"


def test_what_joins_leaves_a_board_s_memory():
    chip(WLAN([HOME]))
    generator = board.join([HOME], wait_ms=1000)
    try:
        while True:
            next(generator)
    except StopIteration as e:
        assert e.value == "home"
    assert ("muster.wifi" in sys.modules) == (sys.implementation.name == "cpython")
