"""A board at its raw REPL, through mpremote's transport or through ampy's."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import struct
from collections.abc import Iterator

import serial
from ampy.pyboard import Pyboard, PyboardError
from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

from tools.common.printable import printable

# How long a board may take to its raw REPL, boot.py included, and how long it may pause in an answer.
ANSWER_S = 10
LINE_S = 5
RESET = "import machine; machine.reset()"

STOPPED = (
    "the board stopped answering: was it unplugged, or reset? It has all of its files as they were, or all "
    "of the new ones. Run deploy again."
)


class Lost(RuntimeError):
    """The board does not answer, or not any more."""


class Mpremote:
    """A board at its raw REPL, after a soft reset, through mpremote's transport."""

    # Bytes of files sent at once: on the board they take about four times as much of the heap.
    CHUNK = 4096

    def __init__(self, port: str) -> None:
        self._transport = opened(port)
        with contextlib.ExitStack() as given_up:
            given_up.callback(self._transport.serial.close)
            with _answered(
                f"no MicroPython answers on {port}: flash it first (python3 -m tools flash), or press the "
                "board's reset button and try again."
            ):
                self._transport.enter_raw_repl(timeout_overall=ANSWER_S)
            given_up.pop_all()

    def run(self, code: str | bytes) -> str:
        """What code prints. Raises RuntimeError for what it raises there, and Lost."""
        with _answered():
            return self._transport.exec(code).decode()

    def close(self, reset: bool = False) -> None:
        """Leaves the board at its friendly prompt, or resets it."""
        with contextlib.suppress(Lost), _answered():
            if reset:
                self._transport.exec_raw_no_follow(RESET)
            else:
                self._transport.exit_raw_repl()
        with contextlib.suppress(OSError):
            self._transport.close()


class Ampy:
    """The same through ampy, which itself would wait for ever for a board that does not answer."""

    # It does not wait for the board to take what it sends.
    CHUNK = 512

    def __init__(self, port: str) -> None:
        Mpremote(port).close()
        with contextlib.ExitStack() as given_up, _answered():
            self._pyboard = Pyboard(port)
            given_up.callback(self._pyboard.close)
            self._pyboard.serial.timeout = LINE_S
            self._pyboard.serial.exclusive = True
            self._pyboard.enter_raw_repl()
            given_up.pop_all()

    def run(self, code: str | bytes) -> str:
        with _answered():
            return self._pyboard.exec_(code).decode()

    def close(self, reset: bool = False) -> None:
        with contextlib.suppress(Lost), _answered():
            if reset:
                self._pyboard.exec_raw_no_follow(RESET)
            else:
                self._pyboard.exit_raw_repl()
        with contextlib.suppress(OSError):
            self._pyboard.close()


VIA: dict[str, type[Mpremote] | type[Ampy]] = {"mpremote": Mpremote, "ampy": Ampy}


def opened(port: str) -> SerialTransport:
    """Raises Lost saying why the port does not open, which mpremote does not."""
    with contextlib.suppress(TransportError):
        return SerialTransport(port, timeout=LINE_S)
    if port.startswith("/") and not os.path.exists(port):
        raise Lost(
            f"there is no port {port}: is the board plugged in? `.venv/bin/mpremote connect list` lists them."
        )
    try:
        serial.serial_for_url(port, exclusive=True).close()
        reason = "did not open at first: try again"
    except (OSError, ValueError) as e:
        busy = "lock" in str(e) or "busy" in str(e)
        reason = "is in use by another program: close that first" if busy else f"cannot be opened: {e}"
    raise Lost(f"the port {port} {reason}.")


@contextlib.contextmanager
def _answered(otherwise: str = STOPPED) -> Iterator[None]:
    """Both libraries' errors, those of the board's files among them, as sentences and nothing else."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except TransportExecError as e:
        raise _raised(e.error_output) from None
    except PyboardError as e:
        raise (_raised(e.args[2].decode()) if len(e.args) == 3 else Lost(otherwise)) from None
    except OSError as e:
        raise (_raised("ENOSPC") if e.errno == errno.ENOSPC else Lost(otherwise)) from None
    except (TransportError, struct.error):
        raise Lost(otherwise) from None


def _raised(traceback: str) -> RuntimeError:
    if "ENOSPC" in traceback:
        return RuntimeError("the board's flash is full: remove files of your own there. Nothing was changed.")
    return RuntimeError(f"the board could not do it: {printable(traceback.strip().splitlines()[-1])}")
