"""Several calls at once over the devices of a journal, and each device's outcome into it."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice

from .journal import DONE, FAILED, NOT_SENT, UNKNOWN, BatchDevice, DeviceOutcome, Journal
from .operations import Operation
from .retry import CallFailed

# So many calls in a row failed for no reason of their devices': it is not the devices.
BREAKER = 5

# Devices whose fate is looked up in one step: a kill costs the answers of a step.
LOOKS = 10

Step = Callable[[list[BatchDevice]], Iterator[DeviceOutcome]]
UnderWay = dict[Future[tuple[list[DeviceOutcome], CallFailed | None]], list[BatchDevice]]


class Dispatcher:
    """Works through the devices of a journal that are not done.

    settled() hears of each device that is over.

    Attributes:
        stop: ends the run as soon as may be.
        stopped: why the run ended early, a sentence; None if it did not.
        interrupted: it was Ctrl-C.
        done: how many devices were done, by what was done.
        seconds: how long it took.
    """

    def __init__(self, journal: Journal, jobs: int, settled: Callable[[], None]) -> None:
        self.stop = threading.Event()
        self.stopped: str | None = None
        self.interrupted = False
        self.done: Counter[str] = Counter()
        self.seconds = 0.0
        self._journal, self._jobs, self._settled = journal, jobs, settled
        self._strange = 0

    def work_through(self, operation: Operation, again: bool) -> None:
        """Sends what is not done; with `again` what is done as well."""
        began = time.monotonic()
        before = signal.signal(signal.SIGINT, self._interrupt)
        try:
            if operation.look:
                self._through(self._journal.batches(LOOKS, *UNKNOWN), operation.look_up)
            self._through(self._journal.batches(operation.size, *to_send(operation, again)), operation.send)
        finally:
            signal.signal(signal.SIGINT, before)
        self.seconds = time.monotonic() - began

    def _through(self, batches: Iterator[list[BatchDevice]], step: Step) -> None:
        under_way: UnderWay = {}
        with ThreadPoolExecutor(self._jobs) as pool:
            try:
                while True:
                    if not self.stop.is_set():
                        begun = list(islice(batches, self._jobs - len(under_way)))
                        for devices in begun:
                            self._journal.sent(devices)
                        self._journal.commit()
                        under_way |= {pool.submit(_outcomes, step, devices): devices for devices in begun}
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

    def _settle(self, finished: set[Future], under_way: UnderWay) -> None:
        for future in finished:
            devices = under_way.pop(future)
            outcomes, failed = future.result()
            over = [outcome for outcome in outcomes if outcome.state != NOT_SENT]
            self._journal.record(over)
            self._journal.forget(outcome.device for outcome in outcomes if outcome.state == NOT_SENT)
            self.done.update(outcome.note for outcome in over if outcome.state == DONE)
            for _ in over:
                self._settled()
            if failed:
                if not failed.doubt:
                    named = {outcome.device.line for outcome in outcomes}
                    self._journal.forget(device for device in devices if device.line not in named)
                self._end(str(failed))
            self._watch(outcomes)

    def _watch(self, outcomes: list[DeviceOutcome]) -> None:
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


def to_send(operation: Operation, again: bool) -> tuple[str, ...]:
    """The states in which a device is sent; of the others the cloud is asked first, or they are done."""
    unknown = () if operation.look else UNKNOWN
    return (NOT_SENT, FAILED, *unknown, *((DONE,) if again else ()))


def _outcomes(step: Step, devices: list[BatchDevice]) -> tuple[list[DeviceOutcome], CallFailed | None]:
    """A step's outcomes, as far as it came, and what ended it."""
    outcomes = []
    try:
        for outcome in step(devices):
            outcomes.append(outcome)
    except CallFailed as e:
        return outcomes, e
    return outcomes, None
