"""README.md and the pages of docs/, and what stands in their blocks."""

import re
from textwrap import dedent

from tools.common.paths import ROOT

NAMES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]

# How a block begins in which no command stands: a file, the drawing, what is typed at a board's prompt.
FILES = ("{", "productId,")
DRAWING = ("laptop ",)
PROMPT = (">>> ", "=== ")


def text(name):
    return (ROOT / name).read_text()


def blocks(page):
    """The indented blocks of a page's text, without their indentation."""
    assert "```" not in page, "a block is indented, without a fence"
    return [dedent(block).strip() for block in re.findall(r"^(?: {4}.*\n|\n(?= {4}))+", page, re.MULTILINE)]


def block_after(name, words):
    """The first block behind these words, as a file holds it."""
    return blocks(text(name).split(words, 1)[1])[0] + "\n"


def commands(name):
    """The commands of the page's blocks, each in one line, without the comment behind it."""
    found = []
    for block in blocks(text(name)):
        if not block.startswith(FILES + DRAWING + PROMPT):
            lines = re.sub(r" *\\\n *", " ", block).splitlines()
            if block.startswith("$ "):  # then the others are what it says
                lines = [line[2:] for line in lines if line.startswith("$ ")]
            found += [re.sub(r"\s+#.*", "", line) for line in lines if line]
    return found


def at_the_prompt(name):
    """What is typed at the prompt, each as (whether by paste mode, text, lines that it says come of it)."""
    typed = []
    for block in blocks(text(name)):
        if block.startswith(PROMPT):
            for line in block.splitlines():
                if line.startswith(PROMPT):
                    typed.append((line.startswith("==="), line[4:], []))
                else:
                    typed[-1][2].append(line)
    return typed
