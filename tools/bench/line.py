"""A serial line that takes its time."""

from __future__ import annotations

import os
import pty
import threading
import time
import tty
from select import POLLHUP, POLLIN

from tools.board.port import LOOK_S, wait

BITS = 10  # of a byte on the line: start and stop with it


class SlowLine:
    """A serial line of so many bits a second to a virtual board, which itself takes bytes at once.

    port: its end for programs.  bytes: how many went over it, both ways. Who closes their end, closes the
    board's too, by which its chip's ROM knows that esptool has gone.
    """

    def __init__(self, board: str, baud: int) -> None:
        self.bytes = 0
        self._board, self._byte_s = board, BITS / baud
        self._ours, its = pty.openpty()
        tty.setraw(its)
        self.port = os.ttyname(its)
        os.close(its)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._relay, name=f"line {board}", daemon=True)

    def __enter__(self) -> SlowLine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        os.close(self._ours)

    def _relay(self) -> None:
        while not self._ended.is_set():
            if wait({self._ours: POLLIN}).get(self._ours, 0) & POLLIN:
                its = os.open(self._board, os.O_RDWR | os.O_NOCTTY)
                try:
                    self._connect(its)
                finally:
                    os.close(its)
            else:
                time.sleep(0.002)  # nobody has it open, which poll() tells without waiting

    def _connect(self, its: int) -> None:
        other = {self._ours: its, its: self._ours}
        free = dict.fromkeys(other, 0.0)  # when each direction has carried all that it was given
        while not self._ended.is_set():
            now = time.monotonic()
            wanted = {fd: POLLIN if free[fd] <= now else 0 for fd in other}
            busy = [then - now for then in free.values() if then > now]
            for fd, event in wait(wanted, min([LOOK_S, *busy])).items():
                if event & POLLIN:
                    data = os.read(fd, 256)
                    self.bytes += len(data)
                    free[fd] = max(free[fd], now - 0.002) + len(data) * self._byte_s
                    while data:
                        data = data[os.write(other[fd], data) :]
                elif event & POLLHUP and fd == self._ours:
                    return
