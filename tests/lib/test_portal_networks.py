"""muster.portal.networks: what the buyer gave, on flash."""

import os

from muster.portal import networks
from muster.store import FileStore

STATE = networks.STATE
GBK = b"\xbc\xd2\xc0\xef"  # 家里, as an old router spells it


def at(tmp):
    networks.STATE = tmp + "/state/networks"


def teardown_function(_):
    networks.STATE = STATE


def given(*names):
    for name in names:
        networks.keep(networks.make(name, "key of " + str(len(name))))


def names():
    return [network["ssid"] for network in networks.load()]


def test_none_at_first(tmp):
    at(tmp)
    assert networks.load() == []


def test_the_newest_stands_first_and_four_are_kept(tmp):
    at(tmp)
    given(b"a", b"bb", b"ccc", b"dddd", b"eeeee")
    assert names() == ["eeeee", "dddd", "ccc", "bb"]
    assert networks.load()[0]["key"] == "key of 5"


def test_a_network_given_again_has_the_new_key_and_stands_once(tmp):
    at(tmp)
    given(b"a", b"bb")
    networks.keep(networks.make(b"a", "another key"))
    assert names() == ["a", "bb"] and networks.load()[0]["key"] == "another key"


def test_a_name_is_bytes(tmp):
    at(tmp)
    whole = bytes(range(128, 160))
    given(GBK, whole, "家".encode(), b"a\nb", b"\x1b[31m")
    # What is no UTF-8, or would not stay on its line in a log, stays bytes.
    assert names() == [b"\x1b[31m", b"a\nb", "家", whole]
    assert [networks.raw(network) for network in networks.load()][2:] == ["家".encode(), whole]


def test_both_slots_hold_it(tmp):
    at(tmp)
    given(b"home")
    for slot in "01":
        assert os.stat(tmp + "/state/networks." + slot)[6] > 10
    os.remove(tmp + "/state/networks.0")
    assert names() == ["home"]


def test_a_key_is_not_printed(tmp):
    at(tmp)
    given(b"home")
    assert "key of 4" not in str(networks.load()) + repr(networks.load()[0])
    assert "***" in str(networks.load()[0])


def test_erase(tmp):
    at(tmp)
    given(b"a", b"bb")
    networks.erase()
    assert networks.load() == [] and os.listdir(tmp + "/state") == []
    networks.erase()


def test_a_record_of_something_else_is_none(tmp):
    at(tmp)
    for record in ({}, {"wifi": 1}, {"wifi": [{}]}, {"wifi": [{"ssid": "zz", "key": ""}]}, {"wifi": [5]}):
        FileStore(networks.STATE).save(record)
        assert networks.load() == []
