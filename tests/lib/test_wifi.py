"""muster.wifi, with a driver that behaves as the ESP32's."""

import sys

from chip import FAULTS, HOME, WLAN, WORK, broken, chip, lines, run, teardown_function  # noqa: F401
from muster import wifi


def test_join_takes_the_first_network():
    wlan = chip(WLAN([HOME, WORK]))
    ssid, took = run(wifi.join([HOME, WORK], "toy-7"))
    assert ssid == "home" and took < 1000
    assert sys.modules["network"].name == "toy-7"
    # The host name must stand before the radio asks DHCP.
    assert wlan.log == ["hostname", "active", "disconnect", "connect home"]


def test_join_without_a_host_name_leaves_the_chips_own():
    wlan = chip(WLAN([HOME]))
    assert run(wifi.join([HOME]))[0] == "home"
    assert sys.modules["network"].name is None and "hostname" not in wlan.log


def test_join_an_open_network():
    chip(WLAN([{"ssid": "cafe", "key": ""}]))
    assert run(wifi.join([{"ssid": "cafe", "key": ""}]))[0] == "cafe"
    chip(WLAN([{"ssid": "cafe", "key": ""}]))
    assert run(wifi.join([{"ssid": "cafe"}]))[0] == "cafe"


def test_join_goes_on_to_the_next_network_after_its_time():
    wlan = chip(WLAN([WORK]))
    ssid, took = run(wifi.join([HOME, WORK], wait_ms=5000))
    assert ssid == "work" and 5000 <= took < 6000
    assert wlan.log == ["active", "disconnect", "connect home", "disconnect", "connect work"]
    assert len(lines) == 1 and "home" in lines[0] and "correct horse" not in lines[0]


def test_a_chinese_network_is_named_as_it_is():
    chip(WLAN())
    run(wifi.join([{"ssid": "工厂", "key": "password"}], wait_ms=1000))
    assert 'Wi-Fi "工厂" did not let the board in' in lines[-1]


def test_join_gives_up_in_time_and_stops_the_driver():
    wlan = chip(WLAN())
    ssid, took = run(wifi.join([HOME, WORK], wait_ms=5000))
    assert ssid is None and 10000 <= took <= 10200
    assert wlan.log[-1] == "disconnect" and wlan.trying is None


def test_join_when_joined_changes_nothing():
    wlan = chip(WLAN([HOME]))
    wlan.joined = "home"
    # Not its name: the driver's runs on into the key where it has 32 bytes.
    assert run(wifi.join([WORK, HOME])) == ("", 0)
    assert wlan.log == ["active"]


def test_join_while_the_driver_is_trying_what_it_lost():
    wlan = chip(WLAN([HOME]))
    wlan.active(True)
    wlan.connect("home", "an old key")
    assert run(wifi.join([HOME]))[0] == "home"


def test_join_does_not_take_the_network_before_for_this_one():
    # The first network answers just when its time is up, and its disconnect() takes a while to be seen.
    wlan = chip(WLAN([HOME], takes=10000))
    generator = wifi.join([HOME, WORK], wait_ms=1000)
    disconnect = wlan.disconnect

    def late():
        if wlan.trying:
            wlan.joined = "home"
        disconnect()

    wlan.disconnect = late
    assert run(generator)[0] is None
    assert wlan.log.count("connect work") == 1


def test_join_tries_again_when_the_driver_refuses_once():
    wlan = chip(WLAN([HOME]))
    connect = wlan.connect
    refusals = [1, 1]

    def stubborn(ssid, key):
        if refusals:
            refusals.pop()
            raise OSError("Wifi Internal State Error")
        connect(ssid, key)

    wlan.connect = stubborn
    assert run(wifi.join([HOME]))[0] == "home"


def test_join_survives_a_driver_that_always_fails():
    def broken(*args):
        raise OSError("Wifi Internal Error")

    wlan = chip(WLAN([HOME]))
    wlan.connect = wlan.disconnect = broken
    ssid, took = run(wifi.join([HOME], wait_ms=5000))
    assert ssid is None and took <= 5100
    assert "Wifi Internal Error" in lines[0]
    wlan = chip(WLAN([HOME]))
    wlan.active = broken
    assert run(wifi.join([HOME])) == (None, 0)
    assert "Wifi Internal Error" in lines[1]


def test_the_second_network_is_tried_whatever_the_first_one_raises():
    for fault in FAULTS:
        for name in ("connect", "isconnected", "disconnect"):
            wlan = chip(WLAN([HOME, WORK]))
            setattr(wlan, name, broken(fault, getattr(wlan, name), until=1000))
            ssid, _ = run(wifi.join([HOME, WORK], wait_ms=1000))
            assert ssid == ("home" if name == "disconnect" else "work"), (fault, name, ssid)
            assert name == "disconnect" or str(fault) in lines[-1], lines


def test_neither_a_host_name_nor_a_network_s_name_keeps_the_board_out():
    for fault in FAULTS:
        wlan = chip(WLAN([HOME]))
        sys.modules["network"].hostname = broken(fault)
        assert run(wifi.join([HOME], "a name that the chip does not take"))[0] == "home"
        wlan.config = broken(fault)
        assert run(wifi.join([HOME])) == ("", 0)


def test_join_without_networks_leaves_the_radio_alone():
    wlan = chip(WLAN([HOME]))
    assert run(wifi.join([])) == (None, 0)
    assert wlan.log == []


def test_what_the_radio_may_save_and_send_is_set_before_it_joins():
    for pm, number in (("none", 0), ("performance", 1), ("powersave", 2)):
        wlan = chip(WLAN([HOME]))
        assert run(wifi.join([HOME], pm=pm, txpower=8))[0] == "home"
        assert wlan.log == ["active", "pm %d" % number, "txpower 8", "disconnect", "connect home"]


def test_a_driver_that_does_not_take_that_still_joins():
    for fault in FAULTS:
        wlan = chip(WLAN([HOME]))
        wlan.config = broken(fault)
        assert run(wifi.join([HOME], txpower=8))[0] == "home"
        assert "pm or txpower: " + str(fault) in lines.pop()
    chip(WLAN([HOME]))
    assert run(wifi.join([HOME], pm="a mode of the future"))[0] == "home"
    assert "pm or txpower" in lines.pop()
