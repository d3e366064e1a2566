"""A call to a cloud: at the permitted rate, and again after a fault that passes."""

import math
import threading
import time
from collections.abc import Callable
from typing import Any

import tenacity
from muster import CloudError
from pyrate_limiter import Limiter, Rate

from .remedies import sentence
from .session import FAULTS, ThreadedSession, passing, uncertain, words

ATTEMPTS = 8
FIRST_ATTEMPTS = 3  # as long as nothing has answered yet: more likely the address is wrong
BACKOFF_S, BACKOFF_MAX_S = 0.5, 20
DEAF_S = 0.5


class RunEnded(Exception):
    """The run is ending, and no new attempt is made."""


class CallFailed(RuntimeError):
    """A call that came to nothing. Its words say what went wrong, and what to do about it.

    error   the last attempt's, one of FAULTS; or RunEnded
    doubt   the cloud may have done what was asked all the same
    code    the cloud's, or None
    """

    def __init__(self, error: Exception, doubt: bool, words: str) -> None:
        super().__init__(words)
        self.error, self.doubt, self.code = error, doubt, getattr(error, "code", None)


class Retrier:
    """Makes calls, from any thread.

    session   tells how far this computer's clock is ahead, see ThreadedSession
    rate      calls a second at most, None for no limit
    stop      ends all waiting, and with it the call
    tell      is handed a sentence when a call has to be repeated
    """

    def __init__(
        self,
        session: ThreadedSession,
        rate: float | None,
        stop: threading.Event,
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        # Evenly: ten at once and then none for a second would sit on the edge of the limit.
        self._limiter = Limiter(Rate(1, math.ceil(1000 / rate)), buffer_ms=0) if rate else None
        self._session, self._stop, self._tell = session, stop, tell
        self._held_until = 0.0
        self._answered = False
        self._jitter = tenacity.wait_random_exponential(BACKOFF_S, BACKOFF_MAX_S)
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(passing),
            wait=self._pause,
            stop=self._enough,
            before_sleep=self._tell_why,
            sleep=tenacity.sleep_using_event(stop),
            reraise=True,
        )

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Returns what the function returns; raises CallFailed."""
        doubt = False

        def attempt() -> Any:
            nonlocal doubt
            self._await_turn()
            try:
                result = function(*arguments)
            except FAULTS as e:
                self._answered = self._answered or isinstance(e, CloudError)
                doubt = doubt or uncertain(e)
                raise
            self._answered = True
            return result

        try:
            return self._retrying(attempt)
        except RunEnded as e:
            raise CallFailed(e, doubt, "the run has ended") from e
        except FAULTS as e:
            raise CallFailed(e, doubt, sentence(e, self._session.ahead)) from e

    def _await_turn(self) -> None:
        # What the cloud asks of one call, it asks of all.
        self._stop.wait(max(0.0, self._held_until - time.monotonic()))
        # The limiter is deaf to the event while it waits.
        while self._limiter and not self._stop.is_set():
            if self._limiter.try_acquire("call", timeout=DEAF_S):
                break
        if self._stop.is_set():
            raise RunEnded

    def _pause(self, state: tenacity.RetryCallState) -> float:
        """Seconds until the next attempt."""
        asked = getattr(_error(state), "retry_after", None) or 0
        self._held_until = max(self._held_until, time.monotonic() + asked)
        return asked + self._jitter(state)

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        return state.attempt_number >= (ATTEMPTS if self._answered else FIRST_ATTEMPTS)

    def _tell_why(self, state: tenacity.RetryCallState) -> None:
        self._tell(f"again in {state.upcoming_sleep:.1f} s: {words(_error(state))}")


def _error(state: tenacity.RetryCallState) -> BaseException:
    error = state.outcome and state.outcome.exception()
    assert error
    return error
