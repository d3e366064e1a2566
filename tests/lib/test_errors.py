from configurations import minimal
from helpers import logged, raises
from muster import config, log
from muster.errors import CloudError, ConfigError, Error, TransportError, line

# C0, DEL and C1; marks, overrides and isolates of a direction; ends of lines; half of a surrogate pair.
STEERING = [chr(n) for n in list(range(32)) + list(range(0x7F, 0xA0))]
STEERING += list(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\ud83d\ude00"
)
KEPT = "AI 玩具 é \xa0\u05d0\u0627 \U0001f600\u200d~"


def test_what_steers_a_terminal_becomes_a_blank():
    for c in STEERING:
        assert line("a%sb" % c) == "a b", hex(ord(c))
    assert line(KEPT) == KEPT and line("") == ""


def test_no_exception_of_the_library_steers_a_terminal():
    text = "red \x9b31m\u202e" + KEPT + "\x1b[2J\n"
    shown = "red  31m " + KEPT + " [2J "
    for kind in (Error, ConfigError, TransportError):
        e = raises(kind, _raise, kind(text))
        assert str(e) == shown and e.args == (shown,)
        assert str(kind()) == ""
    e = CloudError("coze", text, 500, "\x9b1", "log\u2066")
    assert str(e) == "coze refused: %s (code  1) log id log " % shown
    assert (e.message, e.code, e.log_id) == (shown, " 1", "log ")


def _raise(e):
    raise e


def test_no_log_line_steers_a_terminal():
    with logged() as lines:
        log.info("joined \x9bm\u202e玩具")
        log.warning("a\nb\u2028c")
    assert lines == ["joined  m 玩具", "warning: a b c"]


def test_no_value_of_a_configuration_steers_a_terminal():
    for c in STEERING:
        for name, value in (
            ("deviceNo", "x" + c),
            ("platform", c),
            ("hostname", c),
            ("baseUrl", "https://a" + c),
        ):
            text = str(raises(ConfigError, config.check, minimal(**{name: value})))
            assert '"%s" holds' % name in text and c not in text
        raw = minimal()
        raw["zz" + c] = 1
        assert c not in str(raises(ConfigError, config.check, raw))
        raises(ConfigError, config.check, minimal(wifi=[{"ssid": "home" + c}]))


def test_a_value_that_is_text_is_shown_as_it_is():
    assert 'holds "玩 具"; expected' in str(raises(ConfigError, config.check, minimal(hostname="玩 具")))
    assert "holds 'a\\nb'; expected" in str(raises(ConfigError, config.check, minimal(hostname="a\nb")))
    for value, shown in ((True, "true"), (None, "null"), (1.5, "1.5"), (b"x", "what JSON cannot hold")):
        assert "holds %s; expected" % shown in str(raises(ConfigError, config.check, minimal(hostname=value)))
