"""A run over a batch: several calls at once, each device's outcome into the journal."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from .journal import ABSENT, DONE, FAILED, SENT, UNCONFIRMED, Journal, Outcome, Row
from .operations import Work
from .remedies import sentence
from .retry import Failed

# So many calls in a row failed for no reason of their devices': it is not the devices.
BREAKER = 5

# Devices whose fate is looked up in one step: a kill costs the answers of a step.
LOOKS = 10

Step = Callable[[list[Row]], Iterator[Outcome]]


class Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        # Over the whole run: batches come in leaps.
        elapsed = task.finished_time or task.elapsed
        return Text(f"{task.completed / elapsed:,.0f}/s" if elapsed and task.completed else "")


class Run:
    """Works through the devices of a journal that are not done.

    Attributes:
        stop: ends the run as soon as may be.
        stopped: why the run ended early, a sentence; None if it did not.
        interrupted: it was Ctrl-C.
        done: how many devices were done, by what was done.
        seconds: how long it took.
    """

    def __init__(self, journal: Journal, jobs: int, console: Console) -> None:
        self._journal, self._jobs = journal, jobs
        self.stop = threading.Event()
        self.stopped: str | None = None
        self.interrupted = False
        self.done: Counter[str] = Counter()
        self.seconds = 0.0
        self._progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.description}", markup=True),
            console=console,
        )
        self._task = self._progress.add_task("", total=None)
        self._strange = 0

    def tell(self, text: str) -> None:
        """Shows a sentence beside the bar; from any thread."""
        self._progress.update(self._task, description=escape(text))

    def over(self, work: Work, again: bool = False) -> None:
        """Sends what is not done; with `again` what is done as well."""
        fresh, unknown = [None, FAILED], [SENT, UNCONFIRMED]
        if again:
            fresh.append(DONE)
        total = self._journal.count(*fresh, *unknown)
        if not total:
            return
        self._progress.update(self._task, total=total)
        began = time.monotonic()
        before = signal.signal(signal.SIGINT, self._interrupt)
        try:
            with self._progress:
                if work.look:
                    self._through(self._journal.batches(LOOKS, *unknown), looking(work.look))
                else:
                    fresh += unknown
                self._through(self._journal.batches(work.size, *fresh), work.send)
        finally:
            signal.signal(signal.SIGINT, before)
        self.seconds = time.monotonic() - began

    def _through(self, batches: Iterator[list[Row]], step: Step) -> None:
        under_way: dict[Future[tuple[list[Outcome], Failed | None]], list[Row]] = {}
        with ThreadPoolExecutor(self._jobs) as pool:
            try:
                while True:
                    if not self.stop.is_set():
                        begun = list(islice(batches, self._jobs - len(under_way)))
                        for rows in begun:
                            self._journal.sent(rows)
                        self._journal.commit()
                        under_way |= {pool.submit(_outcomes, step, rows): rows for rows in begun}
                    if not under_way:
                        break
                    # Windows does not hear Ctrl-C in a wait without an end.
                    finished, _ = wait(under_way, timeout=1, return_when=FIRST_COMPLETED)
                    self._settle(finished, under_way)
            except BaseException:
                self.stop.set()
                self._settle(wait(under_way).done, under_way)
                self._journal.commit()
                raise
        self._journal.commit()

    def _interrupt(self, *_: object) -> None:
        """Begins no more calls and hears those under way to their end; a second Ctrl-C leaves them "sent"."""
        if self.interrupted:
            os._exit(130)
        self.interrupted = True
        self._end("interrupted.")

    def _settle(self, finished: set, under_way: dict) -> None:
        for future in finished:
            rows = under_way.pop(future)
            outcomes, failed = future.result()
            for outcome in outcomes:
                self._keep(outcome)
            if failed:
                if not failed.doubt:
                    settled = {outcome.row.line for outcome in outcomes}
                    self._journal.forget([row for row in rows if row.line not in settled])
                self._end(sentence(failed.error))
            self._watch(outcomes)

    def _keep(self, outcome: Outcome) -> None:
        if outcome.state == ABSENT:
            self._journal.forget([outcome.row])
            return
        self._journal.record(outcome)
        if outcome.state == DONE:
            self.done[outcome.note] += 1
        self._progress.advance(self._task)

    def _watch(self, outcomes: list[Outcome]) -> None:
        """Ends the run when nothing but strange failures comes back."""
        if any(not outcome.strange for outcome in outcomes):
            self._strange = 0
        elif outcomes:
            self._strange += 1
            if self._strange == BREAKER:
                self._end(f"{BREAKER} calls in a row failed, the last with: {outcomes[-1].note}")

    def _end(self, why: str) -> None:
        # The first reason is the cause; the calls that it ended come after it.
        self.stopped = self.stopped or why
        self.stop.set()


def looking(look: Callable[[Row], Outcome | None]) -> Step:
    def step(rows: list[Row]) -> Iterator[Outcome]:
        for row in rows:
            yield look(row) or Outcome(row, ABSENT)

    return step


def _outcomes(step: Step, rows: list[Row]) -> tuple[list[Outcome], Failed | None]:
    """A step's outcomes, as far as it came, and what ended it."""
    outcomes = []
    try:
        for outcome in step(rows):
            outcomes.append(outcome)
    except Failed as e:
        return outcomes, e
    return outcomes, None
