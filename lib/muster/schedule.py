"""When the next report is due. Pure: it knows neither a clock nor a network.

The platform wants a report at least every 24 hours and no crowd at any minute.
Its document's strategy 2 is T_next = T_report + 12 h ± 15 min; on top of that the
first interval alone is spread over 12 hours, since a production batch is
switched on together. What failed, and what became overdue while the device was off,
is spread over what the deadline allows.
"""

import os

from . import const

_FIRST_RETRY_S = const(30)
_LONGEST_S = const(3600)  # no server's Retry-After is obeyed for longer
_NETWORK_S = const(300)  # the longest wait for a network: to look for one is a load on no server
_WRONG_S = const(60)


class Schedule:
    """Times are Unix seconds, ints.

    last      the last report, None before the first
    next      when the next report is due, None as long as nobody knows
    wake      the next attempt: mostly next; earlier where it is the network that is missing
    reports   how many there were
    failures  how many attempts in a row have failed

    period_s    from one report to the next
    jitter_s    the period is uniform within this much of it on either side
    deadline_s  never longer than this without a report
    spread_s    the first interval is uniform in (0, spread_s]; 0 makes it like the others; it is kept under
                the deadline
    random      a function of n that returns n random bytes
    """

    def __init__(self, period_s=43200, jitter_s=900, deadline_s=86400, spread_s=43200, random=os.urandom):
        if not 0 <= jitter_s < period_s < deadline_s - jitter_s:
            raise ValueError("expected jitter_s < period_s < deadline_s - jitter_s")
        self.period_s = period_s
        self.jitter_s = jitter_s
        self.deadline_s = deadline_s
        self.spread_s = min(spread_s, deadline_s - 1)
        # Of 24 hours: from two hours before the deadline on, a try within every 15 minutes.
        self._close = deadline_s // 12
        self._often = max(1, deadline_s // 96)
        self.random = random
        self.last = None
        self.next = None
        self.wake = 0  # what restore() brings says something only to a clock that has been asked
        self.reports = 0
        self.failures = 0

    def first(self, now, woken=False):
        """The time of the first attempt after a start; woken: it has slept, and was not off."""
        due = now
        if self.reports:
            due = self.next
            if not self.plausible(now):
                self.last = None
                due = now + self._uniform(self._often)
            elif due <= now and not woken:
                # A street whose power is back must not come as one.
                due = now + self._uniform(min(self._close, self._spare(now)))
        return self.due_at(due)

    def due_at(self, time):
        """Has the next report at that time, and no attempt before it. Returns the time."""
        self.next = self.wake = time
        return time

    def plausible(self, now):
        """False if what is due was reckoned by another clock than this: nobody knows how long ago."""
        return self.next <= now + self.deadline_s and (self.last or 0) <= now + _WRONG_S

    def after_success(self, now):
        """The time of the next report, after one at now."""
        self.last = now
        self.reports += 1
        self.failures = 0
        if self.reports == 1 and self.spread_s:
            return self.due_at(now + 1 + self._uniform(self.spread_s - 1))
        return self.due_at(now + self.period_s - self.jitter_s + self._uniform(2 * self.jitter_s))

    def after_failure(self, now, asked=0, due=True, offline=False):
        """The time of the next attempt, after one that failed at now.

        asked    seconds, the server's Retry-After
        due      False: the report was not due, or nobody knows whether it was, and stays where it is
        offline  True: there was not even a network
        """
        self.wake = now + self.backoff(asked, now if due else None)
        if due:
            self.next = self.wake
        if offline:
            # The report itself waits as long as it would have: homes whose power is back are no herd.
            self.wake = min(self.wake, now + _NETWORK_S)
        return self.wake

    def backoff(self, asked=0, now=None):
        """Seconds until another try; now is None if the clock does not know it.

        Full jitter under a ceiling that grows eightfold from 30 s, as far as the deadline allows;
        close to a deadline, or after it, the ceiling is 15 minutes. Where the deadline is not
        known, it grows to 15 minutes. A Retry-After comes before that, and never crosses the deadline.
        """
        ceiling = _FIRST_RETRY_S << 3 * min(self.failures, 4)
        self.failures += 1
        asked = min(asked, _LONGEST_S)
        if now is None or self.last is None:
            ceiling = min(ceiling, self._often)
        else:
            left = self.last + self.deadline_s - now
            if left > 0:
                asked = min(asked, max(0, left - self._often))
            spare = self._spare(now + asked)
            ceiling = min(ceiling, spare) if spare > self._often else spare
        return asked + 1 + self._uniform(ceiling - 1)

    def _spare(self, now):
        """Seconds over which a report can be spread: until the deadline is close, and 15 minutes at least."""
        return max(self._often, self.last + self.deadline_s - self._close - now)

    def shift(self, seconds, due=True):
        """The clock was set by so much: what was due in an hour still is. due=False moves wake alone."""
        self.wake += seconds
        if due and self.last is not None:
            self.last += seconds
        if due and self.next is not None:
            self.next += seconds

    def state(self):
        """What must survive a reboot, as a small dict."""
        return {"last": self.last, "next": self.next, "reports": self.reports}

    def restore(self, state):
        """Takes up what state() gave. What is not of that form is ignored: the report is then due at once."""
        values = [state.get(key) for key in ("last", "next", "reports")] if state else [None]
        if all(type(value) is int for value in values):
            self.last, self.next, self.reports = values

    def _uniform(self, most):
        """A random int from 0 to most."""
        return int.from_bytes(self.random(8), "big") % (most + 1)
