"""When the next report is due. Pure: it knows neither a clock nor a network.

The platform wants a report at least every 24 hours and no crowd at any minute.
Its document's strategy 2 is T_next = T_report + 12 h ± 15 min; on top of that the
first interval alone is spread over 12 hours, since a production batch is
switched on together.
"""

import os

_FIRST_RETRY_S = 30
_LAST_RETRY_S = 3600
_SHORT_S = 300
_WRONG_S = 60


class Schedule:
    """Times are Unix seconds, ints.

    period_s    from one report to the next
    jitter_s    the period is uniform within this much of it on either side
    deadline_s  never longer than this without a report
    spread_s    the first interval is uniform in (0, spread_s]; 0 makes it like the others; it is kept under
                the deadline
    random      a function of n that returns n random bytes
    """

    def __init__(self, period_s=43200, jitter_s=900, deadline_s=86400, spread_s=43200, random=os.urandom):
        if not 0 <= jitter_s < period_s or period_s + jitter_s >= deadline_s:
            raise ValueError(
                "jitter_s (%d) must be less than period_s (%d), and both together less than deadline_s (%d)"
                % (jitter_s, period_s, deadline_s)
            )
        self._period = period_s
        self._jitter = jitter_s
        self._deadline = deadline_s
        self._spread = min(spread_s, deadline_s - 1)
        self._random = random
        self.last = None
        self.next = None
        self.reports = 0
        self.failures = 0

    def first(self, now):
        """The time of the first attempt after a start."""
        if self.next is None:
            self.next = now
        elif self.next <= now or not self.plausible(now):
            # A street whose power is back must not come as one.
            self.last = None if self.last is None else min(self.last, now)
            self.next = now + self._uniform(min(self._jitter, _SHORT_S))
        return self.next

    def plausible(self, now):
        """False if what is due was reckoned by another clock than this: nobody knows how long ago."""
        longest = max(self._period + self._jitter, self._spread)
        return self.next <= now + longest and (self.last or 0) <= now + _WRONG_S

    def after_success(self, now):
        """The time of the next report, after one at now."""
        self.last = now
        self.reports += 1
        self.failures = 0
        if self.reports == 1 and self._spread:
            self.next = now + 1 + self._uniform(self._spread - 1)
        else:
            self.next = now + self._period - self._jitter + self._uniform(2 * self._jitter)
        return self.next

    def after_failure(self, now):
        """The time of the next attempt, after one that failed at now."""
        wait = self.backoff()
        if self.last is not None:
            # Halving what is left leaves several tries before the deadline, whatever the backoff.
            left = self.last + self._deadline - now
            if 0 < left < 2 * wait:
                wait = max(1, left // 2)
        self.next = now + wait
        return self.next

    def backoff(self):
        """Seconds until another try: full jitter under a ceiling that doubles from 30 s to an hour."""
        ceiling = min(_LAST_RETRY_S, _FIRST_RETRY_S << min(self.failures, 7))
        self.failures += 1
        return 1 + self._uniform(ceiling - 1)

    def shift(self, seconds):
        """The clock was moved by so much: what was due in an hour still is."""
        if self.last is not None:
            self.last += seconds
        if self.next is not None:
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
        return int.from_bytes(self._random(8), "big") % (most + 1)
