import json
import sys

from muster.redact import Masked, redacted

SECRET = "tiger7"
NAMES = (
    "productKey",
    "deviceSecret",
    "key",
    "aiToken",
    "access_token",
    "tenant_access_token",
    "token",
    "jwt",
    "private_key",
    "secret_access_key",
    "secretAccessKey",
    "sk",
    "app_secret",
    "Authorization",
    "setup.key",
    "wifi[0].key",
)


def printed(value):
    return [
        str(value),
        repr(value),
        "%s" % value,
        "%r" % (value,),
        "{}".format(value),
        repr([value]),
        str({"x": value}),
    ]


def test_no_secret_is_printed_at_any_depth():
    for name in NAMES:
        for value in (
            Masked({name: SECRET, "ssid": "shown"}),
            Masked({"list": [{name: SECRET, "ssid": "shown"}]}),
            Masked({"tuple": ({"deep": {name: [SECRET]}, "ssid": "shown"},)}),
            Masked({"inner": Masked({name: {"x": SECRET}, "ssid": "shown"})}),
        ):
            for text in printed(value):
                assert SECRET not in text, text
                assert "***" in text and "shown" in text, text


def test_a_copy_hides_them_too():
    value = Masked({"key": SECRET, "ssid": "shown"}).copy()
    assert type(value) is Masked and value == {"key": SECRET, "ssid": "shown"}
    for text in printed(value):
        assert SECRET not in text and "shown" in text, text


def test_what_is_joined_to_it_is_hidden_too():
    value, more = Masked({"key": SECRET, "ssid": "shown"}), {"sk": SECRET, "ssid": "shown too"}
    joined = [value | more, value | Masked(more)]
    if sys.implementation.name == "cpython":  # MicroPython's dict cannot: it raises
        joined.append({"key": SECRET} | Masked(more))
        value |= more
        joined.append(value)
    for both in joined:
        assert type(both) is Masked and both == {"key": SECRET, "sk": SECRET, "ssid": "shown too"}
        for text in printed(both):
            assert SECRET not in text and "shown too" in text, text


def test_it_is_a_plain_dict_otherwise():
    value = Masked({"productKey": SECRET})
    value["n"] = 1
    assert isinstance(value, dict)
    assert value["productKey"] == SECRET and value.get("n") == 1 and value.get("none") is None
    assert len(value) == 2 and "n" in value and sorted(value) == ["n", "productKey"]
    assert value == {"productKey": SECRET, "n": 1}
    del value["n"]
    assert value == {"productKey": SECRET}
    assert not Masked()


def test_plain_is_ordinary_and_has_the_secrets():
    value = Masked({"key": SECRET, "wifi": [Masked({"key": SECRET})], "n": {"m": Masked(a=1)}})
    plain = value.plain()
    assert type(plain) is dict and type(plain["wifi"][0]) is dict and type(plain["n"]["m"]) is dict
    assert json.loads(json.dumps(plain)) == {"key": SECRET, "wifi": [{"key": SECRET}], "n": {"m": {"a": 1}}}


def test_masked_copies_and_leaves_the_original():
    original = {"sk": SECRET, "ak": "device", "n": [1, None, True, "text"], 5: "number"}
    assert redacted(original) == {"sk": "***", "ak": "device", "n": [1, None, True, "text"], 5: "number"}
    assert original["sk"] == SECRET
    assert redacted("text") == "text" and redacted(None) is None
