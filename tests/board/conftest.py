"""A board at its prompt."""

import pytest
from programs import image

from tools.board import Board


@pytest.fixture
def board(tmp_path):
    with Board(tmp_path, image("print('main')\n")) as board:
        board.wait_for("main\n")
        board.wait_for(">>> ")
        yield board
