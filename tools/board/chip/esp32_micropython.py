"""The micropython module of a chip whose prompt is on a serial line.

On an ESP32 sys.stdout.buffer leaves line ends as they are, and print() does not. The Unix port cannot tell
them apart: here all output is left as it is while Ctrl-C is off the line, since who takes it off sends bytes.

Only the virtual board puts it in sys.modules["micropython"].
"""
# ruff: noqa: F403

from micropython import *
from micropython import kbd_intr as _kbd_intr


def kbd_intr(char):
    """Ctrl-C's number; -1 when no character shall interrupt. The supervisor is told."""
    _kbd_intr(char)
    print("\0[binary]\0" if char == -1 else "\0[text]\0", end="")
