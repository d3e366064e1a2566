"""What a virtual board's chip runs from one reset to the next: the VM, or the ROM that talks to esptool."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from select import POLLHUP, POLLIN, POLLOUT

from tools.board.port import SerialPort, read, wait

# What a board runs ends with its supervisor, however that ends.
HANG_UP = [sys.executable, "-I", "-S", str(Path(__file__).with_name("hang_up.py"))]


class Processor:
    """A process on a terminal of its own, of which this end is not blocking.

    signals: termios.ISIG or 0 for a raw terminal; None for a cooked one.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, signals: int | None
    ) -> None:
        self.terminal, its = pty.openpty()
        try:
            if signals is not None:
                _make_raw(its, signals)
            self._process = subprocess.Popen(
                [*HANG_UP, *command],
                stdin=its,
                stdout=its,
                stderr=its,
                cwd=folder,
                env=environment,
                start_new_session=True,
                umask=0o077,  # the chip keeps its NVS in a file
            )
        except BaseException:
            os.close(self.terminal)
            raise
        finally:
            os.close(its)
        os.set_blocking(self.terminal, False)
        self.pid = self._process.pid

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None:
                os.killpg(self.pid, signal.SIGKILL)

    def bury(self) -> int:
        """Kills it if it still runs. Returns its exit status."""
        self.kill()
        status = self._process.wait()
        os.close(self.terminal)
        # libfaketime cannot tidy up after a SIGKILL.
        for name in ("faketime_shm_", "sem.faketime_sem_"):
            Path(f"/dev/shm/{name}{self.pid}").unlink(missing_ok=True)
        return status


def _make_raw(terminal: int, signals: int) -> None:
    mode = termios.tcgetattr(terminal)
    mode[0], mode[1], mode[3] = 0, 0, signals
    # The console sends the signals; a program may want these characters as they are.
    for key in (termios.VINTR, termios.VQUIT, termios.VSUSP):
        mode[6][key] = b"\0"
    termios.tcsetattr(terminal, termios.TCSANOW, mode)


def sweep() -> None:
    """Removes what libfaketime could not of boards whose supervisor was killed with them."""
    for left in Path("/dev/shm").glob("*faketime_s*_[0-9]*"):
        if not Path(f"/proc/{left.name.rpartition('_')[2]}").exists():
            left.unlink(missing_ok=True)


def download(port: SerialPort, rom: int, typed: bytes, powered: Callable[[], bool]) -> None:
    """Leaves the port to the ROM, until who held it lets go, the ROM starts the program or the power goes.

    rom: our end of the ROM's terminal.  typed: what esptool has sent so far.
    """
    told = b""
    while powered():
        ready = wait(
            {
                port.bell: POLLIN,
                port.fd: (0 if typed else POLLIN) | (POLLOUT if told else 0),
                rom: (0 if told else POLLIN) | (POLLOUT if typed else 0),
            }
        )
        outside, inside = ready.get(port.fd, 0), ready.get(rom, 0)
        if port.bell in ready:
            read(port.bell)
        if outside & POLLHUP:
            return  # nobody has the port open any more
        if outside & POLLOUT:
            told = told[os.write(port.fd, told) :]
        elif outside & POLLIN:
            typed = read(port.fd)
            port.let_go()
        if inside & POLLIN:
            told += read(rom)
        elif inside & POLLHUP and not told:
            return  # the ROM has started the program
        elif inside == POLLOUT:
            typed = typed[os.write(rom, typed) :]
