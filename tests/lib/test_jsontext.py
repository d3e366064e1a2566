import sys

from helpers import raises
from muster.jsontext import dumps, loads
from muster.redact import Masked


def test_an_escaped_emoji_is_one_character():
    assert loads('{"a":"x\\ud83d\\ude00y\\uD83D\\uDE00\\u4f60"}') == {"a": "x\U0001f600y\U0001f600你"}
    assert loads(b'{"\\ud83d\\ude00":["\\ud83d\\ude00"]}') == {"\U0001f600": ["\U0001f600"]}
    assert loads('{"a":"\\\\ud83d\\\\ude00"}') == {"a": "\\ud83d\\ude00"}
    assert loads('"\\\\\\ud83d\\ude00"') == "\\\U0001f600"
    assert loads('"\\ud83d\\ude00\\\\ud83d"') == "\U0001f600\\ud83d"
    assert loads('["\\ud83d\\ude00", "\\n\\"\\ud83d\\ude00\\u00e9"]') == ["\U0001f600", '\n"\U0001f600é']


def test_half_a_pair_is_the_replacement_character():
    for text, value in (
        ("\\ud83d", "\ufffd"),
        ("\\ude00\\ud83d", "\ufffd\ufffd"),
        ("\\ud83d\\ud83d\\ude00", "\ufffd\U0001f600"),
        ("a\\ud83d\\n", "a\ufffd\n"),
        ("\\ud83d\\u0041", "\ufffdA"),
    ):
        assert loads('"%s"' % text) == value
        assert loads(dumps(loads('["%s"]' % text))) == [value]


def test_a_byte_order_mark_is_passed_over():
    assert loads(b'\xef\xbb\xbf{"a":1}') == loads('\ufeff{"a":1}') == {"a": 1}


def test_what_is_no_json():
    for text in (
        "",
        " ",
        "{",
        '{"a":',
        '{"a":"\\ud83d\\u',
        "\\ud83d\\udXYZ",
        "nul",
        "{}x",
        "[1]]",
        "'a'",
        "NaN",
        "[-Infinity]",
    ):
        assert "not JSON" in str(raises(ValueError, loads, text)), text
    for data in (
        b"\xff\xfe{\x00}\x00",
        b'"\xff"',
        b'"\xe4\xb8"',
        b'"\xed\xa0\x80"',
        b'"\xed\xa0\xbd\xed\xb8\x80"',
    ):
        assert "not UTF-8" in str(raises(ValueError, loads, data)), data
    assert "not UTF-8" in str(raises(ValueError, loads, b"{\x00}\x00"))
    assert "line 3" in str(raises(ValueError, loads, '{\n"a": 1,\n"b": falsch\n}'))
    for deep in ("[" * 60000, '{"a":' * 30000, "[" * 30000 + "]" * 30000):
        assert "nested too deeply" in str(raises(ValueError, loads, deep))


def test_an_exception_carries_nothing_of_the_text():
    for wrong in ('{"key": "tiger"', '"tiger\ud83d"' if sys.implementation.name == "cpython" else "tiger"):
        e = raises(ValueError, loads, wrong)
        assert "tiger" not in str(e) and getattr(e, "__context__", None) is None
    e = raises(ValueError, dumps, {"key": "tiger\ud83d"})
    assert "tiger" not in str(e) and getattr(e, "__context__", None) is None


def test_numbers_of_any_size():
    for value in (0, -1, 1 << 31, (1 << 32) + 1, -(1 << 63), 1 << 70, 1.5, -0.25, True, None):
        assert loads(dumps(value)) == value and type(loads(dumps(value))) is type(value)


def test_what_is_written_is_compact_utf_8():
    assert (
        dumps({"a": [1, True, None, '设备\U0001f600\n"\\']})
        == '{"a":[1,true,null,"设备\U0001f600\\n\\"\\\\"]}'.encode()
    )
    assert dumps((1, [])) == b"[1,[]]" and dumps("x\x01") == b'"x\\u0001"' and dumps(1.5) == b"1.5"
    assert dumps("한\ud7ff") == '"한\ud7ff"'.encode()


def test_what_is_no_json_is_not_written():
    class Thing:
        pass

    for value in (
        {1},
        b"x",
        bytearray(b"x"),
        Thing(),
        Thing,
        len,
        range(3),
        1j,
        (x for x in ()),
        {}.items(),
        ...,
    ):
        for held in (value, [value], {"a": value}, ({"a": [value]},)):
            assert "JSON holds text" in str(raises(TypeError, dumps, held))
    for name in (1, None, True, (1,), 1.5, b"x"):
        assert "are text, not" in str(raises(TypeError, dumps, [{name: 1}]))
    for value in (float("nan"), float("inf"), -float("inf")):
        assert "NaN" in str(raises(ValueError, dumps, {"a": [value]}))
    for text in ("\ud83d", "a\ude00b", "\ude00\ud83d"):
        for held in (text, [text], {text: 1}):
            assert "surrogate" in str(raises(ValueError, dumps, held))
    endless = []
    endless.append(endless)
    assert "holds itself" in str(raises(ValueError, dumps, endless))


def test_secrets_are_written():
    value = Masked({"key": "tiger", "n": 1})
    for held, written in (
        (value, {"key": "tiger", "n": 1}),
        ({"wifi": [value, value]}, {"wifi": [{"key": "tiger", "n": 1}] * 2}),
        ((0, {"a": {}, "b": value}), [0, {"a": {}, "b": {"key": "tiger", "n": 1}}]),
    ):
        assert loads(dumps(held)) == written
    assert type(value) is Masked
