"""The devices of a command's CSV, checked whole before anything is sent, and sent."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.common import rows

from . import journal as journals
from .accounts import Account, account
from .dispatcher import Dispatcher, to_send
from .dry_run import DryRunSession
from .journal import DONE, SENT, UNKNOWN, Journal
from .operations import OPERATIONS, Operation
from .retry import Retrier
from .session import ThreadedSession


@dataclass(frozen=True)
class Batch:
    """The devices that a command is for.

    path        of the journal
    parameters  of the operation
    todo        how many of the devices will be sent
    again       all will, those that are done as well
    """

    account: Account
    operation: type[Operation]
    parameters: dict[str, Any]
    journal: Journal
    path: Path
    todo: int
    again: bool

    @property
    def columns(self) -> list[str]:
        """Of outcomes()."""
        kept = [name for name in (*self.operation.columns, *self.operation.optional) if name != "sk"]
        return ["line", *kept, "outcome", "code", "why"]

    def outcomes(self, *states: str) -> Iterator[dict[str, Any]]:
        """The devices in these states and what became of them, without secrets."""
        for one in self.journal.outcomes(*states):
            known = {name: value for name, value in one.device.known.items() if name != "sk"}
            state = "unknown" if one.state == SENT else one.state
            found = {"line": one.device.line, **known, "outcome": state, "code": one.code, "why": one.note}
            yield found | ({"device_record_id": one.record} if one.record else {})

    def looked_up(self) -> int:
        """How many devices the cloud is asked for first, because nobody knows whether they were sent."""
        counts = self.journal.counts()
        return sum(counts[state] for state in UNKNOWN) if self.operation.look else 0

    def requests(self) -> Iterator[dict[str, Any]]:
        """Each request that would be made for the rest; nothing is sent."""
        session = DryRunSession()
        operation = self._made(Retrier(session, None, threading.Event()), session)
        for devices in self.journal.batches(operation.size, *to_send(operation, self.again)):
            for _ in operation.send(devices):
                pass
            yield from session.requests
            session.requests.clear()

    def send(
        self, jobs: int, rate: float | None, tell: Callable[[str], None], settled: Callable[[], None]
    ) -> Dispatcher:
        """Sends what is not done; see Dispatcher and Retrier. Returns how it went."""
        dispatcher = Dispatcher(self.journal, jobs, settled)
        session = ThreadedSession(self.account.ca)
        operation = self._made(Retrier(session, rate, dispatcher.stop, tell), session)
        dispatcher.work_through(operation, self.again)
        return dispatcher

    def _made(self, call: Retrier, session: ThreadedSession) -> Operation:
        return self.operation(call, self.account.client(session=session), **self.parameters)


@contextlib.contextmanager
def opened(
    command: str,
    file: Path,
    profile: Path | None,
    journal: Path | None,
    dry_run: bool,
    together: bool = False,
    **parameters: Any,
) -> Iterator[Batch]:
    """The batch of a CSV and the account's journal.

    Args:
        file: "-" is standard input.
        journal: its file, by default the account's.
        dry_run: leaves no journal behind.
        together: all devices are sent again as long as one of them is not done.
        parameters: of the operation.

    Raises:
        ValueError: says what is wrong with the profile, the journal, or the rows; nothing was sent.
    """
    operation = OPERATIONS[command]
    whose = account(operation.cloud, profile, parameters.get("channel"))
    path = journal or journals.default(whose.scope)
    with journals.in_words(path), contextlib.closing(Journal()) as kept:
        _read(file, operation, kept)
        kept.open(path if path.exists() or not dry_run else None, whose.scope, command)
        counts = kept.counts()
        left = counts.total() - counts[DONE]
        again = together and left > 0
        yield Batch(whose, operation, parameters, kept, path, counts.total() if again else left, again)


def _read(file: Path, operation: type[Operation], journal: Journal) -> None:
    def take(line: int, texts: dict[str, str]) -> None:
        journal.add(line, *operation.device(texts))

    piped = str(file) == "-"
    if piped and sys.stdin is None:
        raise ValueError("FILE is -, and standard input is closed: pipe the CSV in, or name a file")
    try:
        with contextlib.nullcontext(sys.stdin.buffer) if piped else file.open("rb") as opened_file:
            name = "standard input" if piped else str(file)
            rows.read(opened_file, name, operation.columns, operation.optional, take, words=("label",))
    except ValueError as e:
        raise ValueError(f"{e}\nNothing was sent.") from None
