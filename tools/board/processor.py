"""The process of the VM that a virtual board runs from one reset to the next."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

# What a board runs ends with its supervisor, however that ends.
HANG_UP = [sys.executable, "-I", "-S", str(Path(__file__).with_name("hang_up.py"))]


class Processor:
    """A process on a terminal of its own, of which this end is not blocking.

    raw: the terminal leaves what is typed as it is, but that it sends signals.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, raw: bool
    ) -> None:
        self.terminal, its = pty.openpty()
        try:
            if raw:
                _make_raw(its)
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


def _make_raw(terminal: int) -> None:
    mode = termios.tcgetattr(terminal)
    mode[0], mode[1], mode[3] = 0, 0, termios.ISIG
    # The console sends the signals; a program may want these characters as they are.
    for key in (termios.VINTR, termios.VQUIT, termios.VSUSP):
        mode[6][key] = b"\0"
    termios.tcsetattr(terminal, termios.TCSANOW, mode)


def sweep() -> None:
    """Removes what libfaketime could not of boards whose supervisor was killed with them."""
    for left in Path("/dev/shm").glob("*faketime_s*_[0-9]*"):
        if not Path(f"/proc/{left.name.rpartition('_')[2]}").exists():
            left.unlink(missing_ok=True)
