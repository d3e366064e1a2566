"""Programs that run on somebody's board, from memory, and leave it as it was."""

from __future__ import annotations

import calendar
import contextlib
import json
import socket
import time
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any

from tools.factory.ports import Lost
from tools.factory.raw_repl import ANSWER_S, RawRepl, literal
from tools.factory.stopped import ONBOARD, be_patient, stopped

RAM = "/ram/"
LOOPBACK = "127.0.0.1"
JOINS_MS = 20000
# In one line of the raw REPL, which takes four times as much of the heap.
CHUNK = 1024
# What a board that was reset takes until it can be stopped, and how often that is tried.
COMES_BACK_S = 5
TRIES = 6


class Guest:
    """A board that runs functions sent to it, while its own program is stopped; inside `with`.

    Nothing is written to its flash. Its clock is this computer's, and goes on as its own in the end, when its
    program starts again. A soft reset, or a reset that somebody made, begins with a clean memory.

    free: bytes of heap at the first.  after: and after the last soft reset of ours.
    Raises Lost where the board does not answer.
    """

    def __init__(self, port: str) -> None:
        self.port = port
        self.free = self.after = 0
        self._ahead: float | None = None

    def __enter__(self) -> Guest:
        self._stop()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with contextlib.suppress(RuntimeError):
                self.restart()
                self._leave(self.board)
        self._stopped.__exit__(kind, error, trace)

    def come_back(self) -> None:
        """Stops the board anew after it was lost. Raises Lost if it stays away."""
        self._stopped.__exit__(None, None, None)
        for tries in range(TRIES):
            try:
                return self._stop()
            except Lost:
                if tries == TRIES - 1:
                    raise
                time.sleep(COMES_BACK_S)

    def restart(self) -> None:
        """A soft reset."""
        self.board.restart()
        self._settle()

    def lay(self, files: Mapping[str, bytes]) -> None:
        """Puts these files, and no others, into RAM. Raises Raised, and Lost.

        files: by their paths under RAM; one that ends in "/" is a folder's.
        """
        self._set_clock(self.board, time.time())
        folders = {str(folder) for path in files for folder in PurePosixPath(path, "x").parents} - {"."}
        self.board.run(f"fresh({sorted(folders - files.keys())})")
        for path, data in files.items():
            if path.endswith("/"):
                continue
            for start in range(0, len(data) or 1, CHUNK):
                name = repr(RAM + path).encode()
                self.board.run(b"put(%b, %b)" % (name, literal(data[start : start + CHUNK])))

    def seed(self, number: int) -> None:
        """What programs draw from the module random, they draw anew."""
        self.board.run(f"import random\nrandom.seed({number})")

    def call(self, module: str, function: str, arguments: object, patience: float) -> str:
        """Runs a function of a module among those files, as if nothing had been imported before.

        arguments: by name, as JSON has them.  patience: seconds of silence after which the board is lost.
        Returns what was printed. Raises Raised for what the function raises, and Lost.
        """
        return self.board.run(f"call({module!r}, {function!r}, {json.dumps(arguments)!r})", patience)

    def place(self, host: str | None = None) -> str:
        """This computer's address, as the board reaches it: found by trying, for a virtual board loopback.

        host: the only one to try. Raises ValueError saying that the board reaches none, and Lost.
        """
        own = self.ask("reach", {"wait_ms": JOINS_MS, "places": []}, 2 * JOINS_MS / 1000)["own"]
        wanted = [host] if host else [LOOPBACK, *map(_towards, own)]
        with contextlib.ExitStack() as stack:
            try:
                servers = [stack.enter_context(socket.create_server((name, 0))) for name in wanted]
            except OSError as e:
                raise ValueError(f"{host} is no address of this computer: {e.strerror}.") from None
            places = [server.getsockname() for server in servers]
            found = self.ask("reach", {"wait_ms": 0, "places": places})["reached"]
        if not found:
            raise ValueError(
                f"the board, at {', '.join(own) or 'no address'}, does not reach this computer at "
                f"{' or '.join(wanted)}: bring both into one network, or give --host; a firewall may be why."
            )
        return found

    def ask(self, program: str, request: object = None, patience: float = ANSWER_S) -> Any:
        """See RawRepl.ask(). program: the name of one of onboard/."""
        return self.board.ask(ONBOARD / f"{program}.py", request, patience)

    def ask_of_flash(self, program: str) -> Any:
        """The same for one that writes to flash: it has the board as a soft reset leaves it."""
        self.board.restart()
        be_patient(self.board)
        try:
            return self.ask(program)
        finally:
            self.restart()

    def _stop(self) -> None:
        with contextlib.ExitStack() as stack:
            self.board = stack.enter_context(stopped(self.port, undo=self._leave))
            self._settle()
            self._stopped = stack.pop_all()

    def _settle(self) -> None:
        be_patient(self.board)
        found = self.ask("guest")
        self.after = found["free"]
        if self._ahead is None:
            year, month, day, _, hour, minute, second, us = found["clock"]
            own = calendar.timegm((year, month, day, hour, minute, second)) + us / 1e6
            self._ahead = own - time.monotonic()
            self.free = self.after

    def _leave(self, board: RawRepl) -> None:
        """Puts the board's clock to what it would tell without us."""
        if self._ahead is not None:
            self._set_clock(board, self._ahead + time.monotonic())

    def _set_clock(self, board: RawRepl, seconds: float) -> None:
        now = time.gmtime(seconds)
        clock = (*now[:3], now.tm_wday, *now[3:6], int(seconds % 1 * 1e6))
        board.run(f"import machine\nmachine.RTC().datetime({clock})")


def _towards(other: str) -> str:
    """This computer's address on its way to another."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((other, 9))
        return s.getsockname()[0]
