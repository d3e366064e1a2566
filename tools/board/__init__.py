"""The virtual ESP32: boot.py and main.py from a flash image in the real MicroPython VM.

with Board("/tmp/board", image=build(files, 512, built)) as board:
    board.wait_for("enrolled")
    board.cut_power()
"""

from tools.board.board import Board, BoardError

__all__ = ["Board", "BoardError"]
