"""A board at its raw REPL, through mpremote's transport or through ampy's."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import struct
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import serial
from ampy import pyboard
from ampy.pyboard import Pyboard, PyboardError
from mpremote import transport_serial
from mpremote.transport import TransportError
from mpremote.transport_serial import SerialTransport

from tools.common.printable import printable
from tools.factory import ports
from tools.factory.ports import Lost

# How long a board may take to its raw REPL, boot.py included, and how long it may pause in an answer.
ANSWER_S = 10
BAUD = 115200
LINE_S = 5
# Ends what a program printed, and again what it raised.
END = b"\4"
INTERRUPT = b"\r\3"
# How long a program may pause before the one who reads its output has a turn.
LOOK_S = 0.2
# A reset that muster.last does not take for a crash, nor a build on trial, to which a wake is none.
RESET = """
import machine
try:
    from muster import last
    last.asked()
except Exception:
    pass
try:
    with open("/boot.py") as f:
        if f.read(26) == "# muster: a build on trial":
            machine.deepsleep(1)
except OSError:
    pass
machine.reset()
"""

WHOLE = "It has all of its files as they were, or all of the new ones. Run the command again."
STOPPED = f"the board stopped answering: was it unplugged, or reset? {WHOLE}"
# What the chip's ROM says first after a reset, and within how many bytes.
RESTARTED = re.compile(rb"rst:0x\w+ \(\w+\)")
LATEST = 400

# What ends a literal or the raw REPL takes for itself, and an octal digit behind it. Any other byte stands in
# MicroPython's source as it is (py/lexer.c: "so that we remain 8-bit clean").
NOT_LITERAL = re.compile(rb'([\0-\4\r\n"\\])(?=([0-7]?))')


def literal(data: bytes) -> bytes:
    """The bytes as a program for the raw REPL has them."""
    return b'b"%b"' % NOT_LITERAL.sub(lambda found: (b"\\%03o" if found[2] else b"\\%o") % found[1][0], data)


class Raised(RuntimeError):
    """What a program raised on the board. traceback: all of it.  printed: what the program had printed."""

    def __init__(self, traceback: str, printed: str = "") -> None:
        self.traceback = traceback.replace("\r\n", "\n").strip()
        self.printed = printed
        last = self.traceback.rpartition("\n")[2]
        super().__init__(
            "the board's flash is full: remove files of your own there. Nothing was changed."
            if "ENOSPC" in traceback
            else f"the board could not do it: {printable(last)}"
        )


# Both print what a board said when it is not at its raw REPL: not on a terminal that shows other boards too.
for _module in (transport_serial, pyboard):
    vars(_module)["print"] = lambda *_: None


class RawRepl:
    """A board at its raw REPL, through mpremote's transport or through ampy's.

    port: its name, or the port itself if it is open. chunk: bytes of files sent at once. On the board they
    take about four times as much of the heap; ampy does not wait for the board to take what it sends. fresh:
    after a soft reset; else with all that the stopped program has in memory. Raises Lost.
    """

    def __init__(self, port: str | serial.Serial, via: str = "mpremote", fresh: bool = True) -> None:
        self.chunk = 4096 if via == "mpremote" else 512
        transport = opened(port) if isinstance(port, str) else _OnLine(port)
        with contextlib.ExitStack() as given_up:
            given_up.callback(transport.serial.close)
            with _answered(
                f"no MicroPython answers on {transport.device_name}: flash it first (python3 -m tools "
                "flash), or press the board's reset button and try again."
            ):
                _enter(transport, fresh)
            given_up.pop_all()
        self._board: SerialTransport | Pyboard = transport
        if via == "ampy":
            self.close()  # it answers; ampy itself would wait for ever for a board that does not
            self._board = _by_ampy(transport.device_name)

    def run(self, code: str | bytes, patience: float = ANSWER_S) -> str:
        """What code prints. Raises Raised for what it raises there, and Lost.

        patience: seconds without a byte after which the board is lost; ampy has its own.
        """
        with _answered():
            if isinstance(self._board, Pyboard):
                return self._board.exec_(code).decode()
            said = bytearray()

            def hear(byte: bytes) -> None:
                said.extend(byte)
                if byte == b")" and RESTARTED.search(said[-LATEST:]):
                    raise Lost(f"the board was reset. {WHOLE}")

            _, error = self._board.exec_raw(code, patience, hear)
            printed = said[:-1].decode(errors="replace").replace("\r\n", "\n")
            if error:
                raise Raised(error.decode(errors="replace"), printed)
            return printed

    def restart(self) -> None:
        """A soft reset: nothing of what was run is left. Raises Lost."""
        with _answered():
            self._board.enter_raw_repl()

    def start_and_hear(
        self, until: re.Pattern[bytes], seconds: float
    ) -> tuple[re.Match[bytes], float] | None:
        """Resets the board, and hears what it says. Returns the match and the seconds it took, or None.

        Raises Lost, also where the port is the chip's own and goes away with it.
        """
        assert not isinstance(self._board, Pyboard)
        said = bytearray()
        with _answered():
            self._board.exec_raw_no_follow(RESET)
            began = time.monotonic()
            while time.monotonic() - began < seconds:
                said += self._board.read_until(1, b"\n", timeout_overall=1)
                found = until.search(said)
                if found:
                    return found, time.monotonic() - began
        return None

    def ask(self, program: Path, request: object = None, patience: float = ANSWER_S) -> Any:
        """Gives a program the request, as its global of that name. Returns what it prints last, JSON.

        request: what JSON holds.  patience: see run(). Raises RuntimeError for what the program raises there,
        and Lost.
        """
        self.run(f"request = {request!r}")
        lines = self.run(program.read_text(encoding="utf-8"), patience).splitlines()
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
        line, ends = self.line, 0
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

    @property
    def line(self) -> serial.Serial:
        """The open port."""
        return self._board.serial

    def reset(self) -> None:
        """Resets the board, and keeps the port open. Raises Lost."""
        with _answered():
            self._board.exec_raw_no_follow(RESET)

    def close(self, reset: bool = False) -> None:
        """Leaves the board at its friendly prompt, or resets it."""
        with contextlib.suppress(Lost), _answered():
            if reset:
                self.reset()
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


def _enter(transport: SerialTransport, fresh: bool) -> None:
    if not fresh:
        # A chip that resets again and again does not hear a Ctrl-C before MicroPython has started.
        with contextlib.suppress(TransportError):
            return transport.enter_raw_repl(soft_reset=False, timeout_overall=ANSWER_S)
    transport.enter_raw_repl(soft_reset=fresh, timeout_overall=ANSWER_S)


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
    except PyboardError as e:
        raise (Raised(e.args[2].decode()) if len(e.args) == 3 else Lost(otherwise)) from None
    except OSError as e:
        raise (Raised("ENOSPC") if e.errno == errno.ENOSPC else Lost(otherwise)) from None
    except (TransportError, struct.error):
        raise Lost(otherwise) from None
