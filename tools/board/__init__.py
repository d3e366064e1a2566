"""The virtual ESP32: boot.py and main.py from a flash image in the real MicroPython VM.

with Board("/tmp/board", image=build(files, 512, built)) as board:
    board.wait_for("enrolled")
    board.cut_power()
"""

from tools.board.board import Board, BoardError, choose_vm, find_faketime, find_micropython
from tools.board.serve import prepare, serve

__all__ = ["Board", "BoardError", "choose_vm", "find_faketime", "find_micropython", "prepare", "serve"]
