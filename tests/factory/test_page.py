"""The set-up page as the image carries it."""

import base64
import gzip
import hashlib
import re

import pytest
from muster.portal.web import tail

from tools.common.paths import ROOT
from tools.factory.page import LANGUAGES, LIVE, MOST, STATES, built

PAGE = ROOT / "firmware" / "setup.html"


@pytest.fixture
def page(tmp_path):
    """Builds the page with some of its text replaced. Returns what a browser has of it, less what is live."""

    def build(*changes):
        text = PAGE.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        changed = tmp_path / "setup.html"
        changed.write_text(text)
        return gzip.decompress(built(changed)).decode()

    return build


def between(text, start, end):
    return text.partition(start)[2].partition(end)[0]


def test_it_is_small_and_the_same_each_time():
    live = b"".join(tail("0" * 32, [(b"twelve bytes", -70, True)] * 20, "unreached"))
    assert len(live) <= LIVE and len(built(PAGE)) + LIVE <= MOST
    assert built(PAGE) == built(PAGE)


def test_the_board_can_put_its_own_end_in_place_of_the_last_13_bytes():
    assert built(PAGE)[-13:-8] == bytes.fromhex("010000ffff") and built(PAGE)[-17:-13] == bytes.fromhex(
        "0000ffff"
    )


def test_nothing_is_from_elsewhere_and_only_its_own_script_and_style_run(page):
    text = page()
    assert not re.findall(r"https?:|//", text)
    policy = between(text, 'Content-Security-Policy content="', '"').split(";")
    assert {"default-src 'none'", "connect-src 'self'", "form-action 'self'", "base-uri 'none'"} < set(policy)
    for kind in ("script", "style"):
        inside = between(text, f"<{kind}>", f"</{kind}>").encode()
        digest = base64.b64encode(hashlib.sha256(inside).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not re.findall(r"\son\w+=|style=|innerHTML|alert|[sS]torage|cookie", text)


def test_comments_and_indentation_stay_here(page):
    text = page()
    assert "<!--" not in text and "/*" not in text
    assert not any(line != line.strip() or line.startswith("//") for line in text.splitlines())
    # Texts are left as they are.
    assert '"Connected, but the platform does not answer. ' in text


def test_it_ends_inside_its_form(page):
    text = page()
    assert text.count("<form ") == 1 and "</form" not in text


def test_both_languages_say_the_same_things(page):
    text = page()
    for element in ("style", "script"):
        text = text.replace(between(text, f"<{element}>", f"</{element}>"), "")
    texts = re.findall(r"<span lang=(\w\w)>[^<]+</span>", text)
    assert texts and texts == ["zh", "en"] * (len(texts) // 2)


@pytest.mark.parametrize("state", STATES)
def test_each_state_has_its_text_in_each_language(page, state):
    rule = between(page(), f"[data-state={state}]{{", "}")
    assert re.findall(r'--(\w\w):"[^"]+"', rule) == list(LANGUAGES)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<title>muster", "<title>" + "".join(map(chr, range(0x4E00, 0x4F00))), "expected 5120 at most"),
        ("name=key", "name=password", "'name=key' stands there 0 times; expected once"),
        ("<main>", '<main><img src="http://example.com/logo.png">', "'src=' stands there"),
        ("textContent", "innerHTML", "'innerHTML' stands there"),
        ("[data-state=silent]", "[data-state=quiet]", "the state 'silent' has no text --zh"),
        ('--en: "Scanning…"', '--en: ""', "the state 'scanning' has no text --en"),
    ],
)
def test_a_page_that_a_board_cannot_use_is_refused_with_what_is_wrong(page, old, new, words):
    with pytest.raises(ValueError, match=r"^setup\.html: ") as refused:
        page((old, new))
    assert words in str(refused.value)
