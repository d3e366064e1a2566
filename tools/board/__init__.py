"""The virtual ESP32: boot.py and main.py from a flash image in the real MicroPython VM.

with Board("/tmp/board", image=build(files, 512, built)) as board:
    board.wait_for("enrolled")
    board.cut_power()
"""

try:
    import fcntl  # noqa: F401
    import pty  # noqa: F401
    import termios  # noqa: F401
    from select import poll  # noqa: F401
except ImportError:
    raise RuntimeError(
        "a virtual board needs a pseudo-terminal, which this computer does not have: on Windows, run this "
        "command in WSL, the Windows Subsystem for Linux."
    ) from None

from tools.board.board import Board, BoardError

__all__ = ["Board", "BoardError"]
