"""The serial port of a virtual board: a pseudo-terminal, one end the board's, the other for programs."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import time
import tty
from collections.abc import Mapping

LOOK_S = 0.05
# As on USB, a board waits for a slow reader, and loses the oldest of what nobody reads.
UNREAD, PATIENCE_S = 65536, 2


class SerialPort:
    """name: the end for programs, such as /dev/pts/5.  fd: the board's own end.

    bell: readable after ring(), for the board that waits for its port.
    """

    def __init__(self) -> None:
        self.fd, held = pty.openpty()
        tty.setraw(held)
        os.set_blocking(self.fd, False)
        self.name = os.ttyname(held)
        # The board's own handle on the other end keeps it alive between two callers.
        self._held = [held]
        self.bell, self._rope = os.pipe()
        os.set_blocking(self.bell, False)
        self._open = [self.fd, self.bell, self._rope]
        self._unread = bytearray()
        self._handed_out = 0.0

    def print(self, data: bytes) -> None:
        self._unread = (self._unread + data)[-UNREAD:]

    def drop_unread(self) -> None:
        self._unread.clear()

    @property
    def unread(self) -> bool:
        return bool(self._unread)

    @property
    def takes_more(self) -> bool:
        """Whether there is room, or nobody seems to read."""
        return len(self._unread) < UNREAD // 2 or time.monotonic() - self._handed_out > PATIENCE_S

    def hand_out(self) -> None:
        with contextlib.suppress(BlockingIOError):
            sent = os.write(self.fd, self._unread)
            del self._unread[:sent]
            self._handed_out = time.monotonic()

    def let_go(self) -> None:
        """From now on the kernel tells when the last who has the port open closes it."""
        while self._held:
            os.close(self._held.pop())

    def hold(self) -> None:
        if not self._held:
            self._held = [os.open(self.name, os.O_RDWR | os.O_NOCTTY)]
            tty.setraw(self._held[0])

    def ring(self) -> None:
        if self._open:
            os.write(self._rope, b".")

    def close(self) -> None:
        self.let_go()
        while self._open:
            os.close(self._open.pop())


def wait(wanted: Mapping[int, int], seconds: float = LOOK_S) -> dict[int, int]:
    """Which of these events have come in so many seconds, by file descriptor; POLLHUP is told unasked."""
    poll = select.poll()
    for fd, events in wanted.items():
        poll.register(fd, events)
    return dict(poll.poll(seconds * 1000))


def read(fd: int) -> bytes:
    """What there is to read; b"" when there is none, or the other end is gone."""
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""
