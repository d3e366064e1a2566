"""What a configuration's "setup" may say, and the access point's name."""

from configurations import SECRET, minimal
from helpers import lines_of, raises
from muster import config
from muster.errors import ConfigError
from muster.portal import radio

KEY = "ABCDE23456"


def taken(**setup):
    return config.check(minimal(setup=setup))["setup"]


def refused(setup, *fragments):
    text = str(raises(ConfigError, config.check, minimal(setup=setup)))
    for fragment in fragments:
        assert fragment in text, text
    assert KEY not in text and SECRET not in text, text


def test_defaults():
    assert taken(key=KEY) == {
        "key": KEY,
        "name": "muster",
        "address": "192.168.4.1",
        "after": 120,
        "idle": 300,
        "limit": 1800,
    }
    assert lines_of(config.check, minimal(setup={"key": KEY})) == ""
    assert taken() == {}


def test_what_is_checked_passes_again():
    checked = config.check(minimal(wifi=[], setup={"key": KEY, "name": "\u5c0f\u718a", "idle": 60}))
    assert config.check(checked) == checked


def test_the_key_is_masked_when_printed():
    checked = config.check(minimal(setup={"key": KEY}))
    for text in (str(checked), repr(checked), str(checked["setup"]), "%s" % checked["setup"]):
        assert KEY not in text and "***" in text and "192.168.4.1" in text


def test_keys():
    for good in ("k" * 8, "k" * 63, 'a" ;:,\\~b'):
        assert taken(key=good)["key"] == good
    refused({"name": "Bear"}, '"setup.key" is missing', "8 to 63", '""')
    for bad in ("k" * 7, "k" * 64, KEY + "\n", KEY + "\x7f", KEY + "\u00e9", "\u5bc6" * 8, None, 5, [KEY]):
        refused({"key": bad}, '"setup.key" holds something that is not shown', "8 to 63")


def test_an_open_access_point_is_warned_about():
    assert "setup.key" in lines_of(config.check, minimal(setup={"key": ""}))
    assert taken(key="")["key"] == ""


def test_names():
    for good in ("x", "My Toy", "n" * 24, "\u5c0f" * 8):
        assert taken(key=KEY, name=good)["name"] == good
    for bad in ("", "n" * 25, "\u5c0f" * 9, "a\r\nb", None, 5):
        refused({"key": KEY, "name": bad}, '"setup.name"', "1 to 24 bytes")


def test_addresses():
    for good in ("192.168.4.1", "10.0.0.254", "172.31.0.1", "8.8.4.4", "100.64.0.1", "223.0.255.1"):
        assert taken(key=KEY, address=good)["address"] == good
    for bad in (
        "192.168.4.0",
        "192.168.4.255",
        "192.168.4.256",
        "192.168.4",
        "192.168.4.1.1",
        "192.168.04.1",
        "192.168.4.+1",
        "192.168.4.1 ",
        "192.168.-4.1",
        "0.1.2.3",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.1",
        "fe80::1",
        "toy.local",
        "",
        None,
        5,
    ):
        refused({"key": KEY, "address": bad}, '"setup.address"', "an IPv4 address")


def test_times():
    assert taken(key=KEY, after=1, idle=3600, limit=3600)["limit"] == 3600
    for name in ("after", "idle", "limit"):
        for bad in (0, -1, True, 60.0, "60", None):
            refused({"key": KEY, name: bad}, '"setup.%s"' % name, "whole seconds")
    refused({"key": KEY, "limit": 3601}, '"setup.limit"', "1 to 3600")
    refused({"key": KEY, "after": 86401}, '"setup.after"', "1 to 86400")  # an ESP32 counts six days
    refused({"key": KEY, "idle": 61, "limit": 60}, '"setup.idle" holds 61', "at most limit, 60")


def test_what_is_no_object_or_unknown_is_refused():
    for bad in (None, [], KEY, True, 0):
        refused(bad, '"setup" holds something that is not shown', "an object")
    refused({"key": KEY, "adress": "10.0.0.1"}, "setup has an unknown key", '"address"')
    refused({"key": KEY, KEY: 1}, "setup has an unknown key")


def test_no_message_shows_the_key_where_it_stands_elsewhere():
    for name in ("baseUrl", "hostname", "policy"):
        text = str(raises(ConfigError, config.check, minimal(setup={"key": KEY}, **{name: KEY + "_"})))
        assert '"%s"' % name in text and KEY not in text


def test_the_key_is_one_of_the_secrets():
    assert config.secrets(minimal(setup={"key": KEY})) == [SECRET, KEY]
    assert config.secrets(minimal(setup={"key": ""})) == [SECRET]
    assert config.secrets(minimal(setup=KEY)) == [SECRET]


def test_the_access_point_is_named_by_the_end_of_the_device_number():
    def named(name, number):
        return radio.ssid(taken(key=KEY, name=name), number)

    assert named("muster", "AI-2611-00042") == "muster-00042"
    assert named("Bear", "24DCC3A1B2C4") == "Bear-A1B2C4"
    assert named("Bear", "7") == "Bear-7"
    assert named("n" * 24, "AI2611000042") == "n" * 24 + "-000042"
    # 32 bytes hold the ends of two Chinese characters here, and never a part of one.
    assert named("n" * 24, "\u97f3\u7bb1\u7532\u4e59\u4e19\u4e01") == "n" * 24 + "-\u4e19\u4e01"
    assert named("\u5c0f" * 8, "\u97f3\u7bb1-00042") == "\u5c0f" * 8 + "-00042"
