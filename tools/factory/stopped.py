"""A board whose own program is stopped for a while: by whoever must ask it something, or change it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from tools.factory.ports import Lost
from tools.factory.raw_repl import RawRepl

# What commands run on a board, a file a program; see RawRepl.ask().
ONBOARD = Path(__file__).with_name("onboard")


@contextlib.contextmanager
def stopped(
    port: str,
    via: str = "mpremote",
    reset: bool = True,
    undo: Callable[[RawRepl], object] | None = None,
) -> Iterator[RawRepl]:
    """A board whose program is stopped, and whose watchdog has hours.

    In the end a reset starts the program again, whatever happened here; without reset the board stays at its
    prompt. undo: what is done with the board before, if an exception ended this. Raises Lost.
    """
    with contextlib.ExitStack() as connected:
        try:
            board = _stop(port, via)
            connected.callback(board.close)
            yield board
        except Lost:
            raise
        except BaseException:
            # Nobody knows where in a line or in a program it was stopped: begin anew.
            connected.close()
            with contextlib.suppress(RuntimeError):
                again = _stop(port)
                with contextlib.suppress(RuntimeError):
                    if undo:
                        undo(again)
                again.close(reset)
            raise
        connected.pop_all()
        board.close(reset)


def _stop(port: str, via: str = "mpremote") -> RawRepl:
    board = RawRepl(port, via)
    with contextlib.ExitStack() as given_up:
        given_up.callback(board.close)
        be_patient(board)
        given_up.pop_all()
    return board


def be_patient(board: RawRepl) -> None:
    """Gives the board's watchdog hours from now on."""
    board.run((ONBOARD / "watchdog.py").read_text())
