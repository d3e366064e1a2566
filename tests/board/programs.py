"""Programs for a board, as images of its flash, and its prompt."""

import re

import pytest

from tools.common.littlefs import build
from tools.common.vm import find_faketime, find_micropython
from tools.factory.product import BLOCKS

needs_micropython = pytest.mark.skipif(find_micropython() is None, reason="needs MicroPython")
needs_faketime = pytest.mark.skipif(find_faketime() is None, reason="needs libfaketime, which is for Linux")

IDLE = "import time\nprint('main')\nwhile True:\n    time.sleep_ms(20)\n"


def image(main=IDLE, boot="print('boot')\n", **files):
    return build({"/boot.py": boot.encode(), "/main.py": main.encode(), **files}, BLOCKS, 1763600000)


def stop(board):
    """Ctrl-C, up to the prompt."""
    board.write(b"\x03")
    board.wait_for(">>> ")


def ask(board, expression):
    """The prompt's answer to expression."""
    board.write(f"print('<%s>' % str({expression}))\r".encode())
    return board.wait_for(re.compile(r"^<(.*)>\n", re.MULTILINE))[1]
