"""What is written in two languages says the same: its commands, tables, files and links."""

import re

import pytest

from tools.common.paths import ROOT

PAIRS = [("README.md", "README.zh-CN.md")]
PAIRS += [(f"docs/{path.name}", f"docs/zh-CN/{path.name}") for path in (ROOT / "docs" / "zh-CN").glob("*.md")]


def blocks(text):
    """What is typed and what stands in files, without the comments behind it and the drawing."""
    drawing = r"(?s)## (How it fits together|整体结构).*?\n1\. "
    lines = re.findall(r"^ {4}(.*\S.*)$", re.sub(drawing, "", text), re.MULTILINE)
    return [re.sub(r"\s+#.*", "", line) for line in lines]


def tables(text):
    """The names in the first cell of each row, and those in the other cells."""
    rows = [row.split("|")[1:-1] for row in re.findall(r"^\|.*\|$", text, re.MULTILINE)]
    return [(re.findall("`[^`]+`", row[0]), set(re.findall("`[^`]+`", "".join(row[1:])))) for row in rows]


def links(text):
    """Where it leads; a page that is there in both languages counts as one."""
    found = re.findall(r"\]\(([^)#]+)", text)
    return sorted(
        re.sub(r"(zh-CN|\.\.)/", "", target).replace(".zh-CN", "").split("docs/")[-1] for target in found
    )


def words(text):
    """Names in the running text: commands, keys, files."""
    prose = re.sub(r"^( {4}|\|).*$", "", text, flags=re.MULTILINE)
    return set(re.findall("`([^`]+)`", prose))


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_both_languages_say_the_same(english, chinese):
    first, second = ((ROOT / name).read_text() for name in (english, chinese))
    translated = re.compile("[\u4e00-\u9fff…]")
    both = [[line for line in blocks(text) if not translated.search(line)] for text in (first, second)]
    assert both[0] == both[1]
    for one, other in zip(tables(first), tables(second), strict=True):
        assert one == other
    assert links(first) == links(second)
    assert len(re.findall("^#", first, re.MULTILINE)) == len(re.findall("^#", second, re.MULTILINE))
    assert words(first) == words(second)


@pytest.mark.parametrize("name", [name for pair in PAIRS for name in pair])
def test_what_it_links_to_is_there(name):
    page = ROOT / name
    text = page.read_text()
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", text):
        there = page.parent / target if target else page
        assert there.exists(), target
        if anchor:
            headings = re.findall("^#+ (.*)$", there.read_text(), re.MULTILINE)
            found = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in found, (anchor, found)
