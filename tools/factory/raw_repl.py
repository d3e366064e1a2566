"""A board at its raw REPL, through mpremote's transport or through ampy's."""

from __future__ import annotations

import contextlib
import errno
import json
import struct
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import serial
from ampy import pyboard
from ampy.pyboard import Pyboard, PyboardError
from mpremote import transport_serial
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
# Ends what a program printed, and again what it raised.
END = b"\4"
INTERRUPT = b"\r\3"
# How long a program may pause before the one who reads its output has a turn.
LOOK_S = 0.2

STOPPED = (
    "the board stopped answering: was it unplugged, or reset? It has all of its files as they were, or all "
    "of the new ones. Run the command again."
)

# Both print what a board said when it is not at its raw REPL: not on a terminal that shows other boards too.
for _module in (transport_serial, pyboard):
    vars(_module)["print"] = lambda *_: None


class RawRepl:
    """A board at its raw REPL, after a soft reset, through mpremote's transport or through ampy's.

    port: its name, or the port itself if it is open. chunk: bytes of files sent at once. On the board they
    take about four times as much of the heap; ampy does not wait for the board to take what it sends. Raises
    Lost.
    """

    def __init__(self, port: str | serial.Serial, via: str = "mpremote") -> None:
        self.chunk = 4096 if via == "mpremote" else 512
        transport = opened(port) if isinstance(port, str) else _OnLine(port)
        with contextlib.ExitStack() as given_up:
            given_up.callback(transport.serial.close)
            with _answered(
                f"no MicroPython answers on {transport.device_name}: flash it first (python3 -m tools "
                "flash), or press the board's reset button and try again."
            ):
                transport.enter_raw_repl(timeout_overall=ANSWER_S)
            given_up.pop_all()
        self._board: SerialTransport | Pyboard = transport
        self._run = transport.exec
        if via == "ampy":
            self.close()  # it answers; ampy itself would wait for ever for a board that does not
            self._board = _by_ampy(transport.device_name)
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

    def output(self, program: bytes) -> Generator[bytes, None, None]:
        """What a program prints, as it comes, up to END, and the traceback of what it raises, up to END.

        A piece is empty when nothing came for a while. A program that has not ended is interrupted when the
        iterator is closed. Raises Lost.
        """
        line, ends = self._board.serial, 0
        with _answered():
            self._board.exec_raw_no_follow(program)
        line.timeout = LOOK_S
        try:
            while ends < 2:
                with _answered():
                    piece = line.read_until(END)
                ends += piece.endswith(END)
                yield piece
        finally:
            with contextlib.suppress(OSError):
                line.timeout = LINE_S
                if ends < 2:
                    line.write(INTERRUPT)

    def restart(self) -> None:
        """Resets the board, and keeps the port open. Raises Lost."""
        with _answered():
            self._board.exec_raw_no_follow(RESET)

    def close(self, reset: bool = False) -> None:
        """Leaves the board at its friendly prompt, or resets it."""
        with contextlib.suppress(Lost), _answered():
            if reset:
                self.restart()
            else:
                self._board.exit_raw_repl()
        with contextlib.suppress(OSError):
            self._board.close()


class _OnLine(SerialTransport):
    """mpremote's transport on a port that is open, which nobody else can take meanwhile."""

    def __init__(self, line: serial.Serial) -> None:
        line.timeout = LINE_S
        self.serial, self.device_name, self.is_pty = line, line.port, self._is_pty_device(line.port)
        self.in_raw_repl, self.use_raw_paste, self.mounted = False, True, False


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
