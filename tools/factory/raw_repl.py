"""A board at its raw REPL, through mpremote's transport or through ampy's."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ampy.pyboard import Pyboard, PyboardError
from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

from tools.common.printable import printable
from tools.factory import ports
from tools.factory.ports import Lost

# How long a board may take to its raw REPL, boot.py included, and how long it may pause in an answer.
ANSWER_S = 10
BAUD = 115200
LINE_S = 5
RESET = "import machine; machine.reset()"

STOPPED = (
    "the board stopped answering: was it unplugged, or reset? It has all of its files as they were, or all "
    "of the new ones. Run the command again."
)


class RawRepl:
    """A board at its raw REPL, after a soft reset, through mpremote's transport or through ampy's.

    chunk: bytes of files sent at once. On the board they take about four times as much of the heap; ampy does
    not wait for the board to take what it sends. Raises Lost.
    """

    def __init__(self, port: str, via: str = "mpremote") -> None:
        self.chunk = 4096 if via == "mpremote" else 512
        transport = opened(port)
        with contextlib.ExitStack() as given_up:
            given_up.callback(transport.serial.close)
            with _answered(
                f"no MicroPython answers on {port}: flash it first (python3 -m tools flash), or press the "
                "board's reset button and try again."
            ):
                transport.enter_raw_repl(timeout_overall=ANSWER_S)
            given_up.pop_all()
        self._board: SerialTransport | Pyboard = transport
        self._run = transport.exec
        if via == "ampy":
            self.close()  # it answers; ampy itself would wait for ever for a board that does not
            self._board = _by_ampy(port)
            self._run = self._board.exec_

    def run(self, code: str | bytes) -> str:
        """What code prints. Raises RuntimeError for what it raises there, and Lost."""
        with _answered():
            return self._run(code).decode()

    def ask(self, program: Path, request: object = None) -> Any:
        """Gives a program the request, as its global of that name. Returns what it prints last, JSON.

        request: what JSON holds. Raises RuntimeError for what the program raises there, and Lost.
        """
        self.run(f"request = {request!r}")
        lines = self.run(program.read_text(encoding="utf-8")).splitlines()
        try:
            return json.loads(lines[-1])
        except (IndexError, ValueError):
            said = printable(lines[-1]) if lines else "nothing"
            raise RuntimeError(f"the board's answer is damaged, perhaps by the chip's log: {said}") from None

    def close(self, reset: bool = False) -> None:
        """Leaves the board at its friendly prompt, or resets it."""
        with contextlib.suppress(Lost), _answered():
            if reset:
                self._board.exec_raw_no_follow(RESET)
            else:
                self._board.exit_raw_repl()
        with contextlib.suppress(OSError):
            self._board.close()


def _by_ampy(port: str) -> Pyboard:
    with contextlib.ExitStack() as given_up, _answered():
        board = Pyboard(port)
        given_up.callback(board.close)
        board.serial.timeout = LINE_S
        board.serial.exclusive = True
        board.enter_raw_repl()
        given_up.pop_all()
    return board


def opened(port: str) -> SerialTransport:
    """Raises Lost saying why the port does not open, which mpremote does not."""
    with contextlib.suppress(TransportError):
        return SerialTransport(port, timeout=LINE_S)
    ports.opened(port, BAUD).close()
    raise Lost(f"the port {port} did not open at first: try again.")


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
