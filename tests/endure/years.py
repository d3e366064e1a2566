"""Thousands of years of one device, in virtual time, and what must hold in every one of them.

Each case is a device-year in a world of its own (endure.world), drawn from its number: power that fails
or is there two hours a day, networks gone for seconds to days, a platform that is down, slow, silent or talks
nonsense for minutes to hours, answers that are lost, certificates that are renewed, NTP that is blocked for
good, comes and goes or lies by up to ten years, a Date that lies or is missing, clocks that drift or are set,
an RTC that is lost with the power, a flash that is full for days. Once in it the platform's CA changes, to
another root that is on flash, and others try to pass for the platform. In it:

secret    One fetch for an identity, for ever. Again only if the answer was lost, the power went within five
          seconds of it, or flash was full all the time since.

early     No two accepted reports are nearer than the policy allows: 12 h - 15 min (daily: 21 h 45 min, or
          the first use of another Beijing day), less what two clocks may be wrong by: 5 s and the drift
          within one boot, a minute more across a reboot (a Date is believed within 30 s). A day is another
          by the world's clock, or by the device's when it was used; an answer's Date that sets that clock
          back to an earlier day dates the use back with it, for the device cannot know which was the lie.
          What day it was used on, a reboot leaves only to a device whose record was kept. The interval after
          the first report, which is the spread one, is not bounded. Within one boot nothing excuses this but
          an answer that was lost. Across a reboot there are three excuses: the record of the report before
          could not be kept (power gone within 5 s, flash full); the clock was wrong when it was written; one
          source has lied since the power came, or none has told the time since the boot, and the platform
          was not up to be asked, or sends no Date.

late      Never 24 hours without an accepted report while everything is up long enough to make one.
          Everything: power, network, platform, and no source of time that lies; one that has set the clock
          back gives it so much more time, until another tells better. So does, after a reboot, a record that
          a lie has dated ahead: it cannot be told from one of a later report. A request or an answer that
          is lost counts as a moment in which it was not up, and so do the first four hours of a Wi-Fi that
          claims to be connected and is not. Long enough, by the shipped backoff, once all
          is up from a moment on:
          - after a power-on or a reset the random delay of what is overdue, and 60 s: two hours, or until
            two hours before the deadline if that is less, and never under 15 min
          - else until two hours before the deadline, 15 min at least, and 60 s: a wait of the backoff ends
            there, and from there on a wait is at most 15 min
          - if the device does not know since its boot how late it is, for want of the time or of a record
            with a right one, 15 min, then the delay of what is overdue, and 60 s
          - a good certificate that is refused by a wrong clock starts that wait again: once if nothing has
            lied since the power came, each time if something has and NTP does not answer, for then nobody
            can put that clock right
          The 60 s are for joining Wi-Fi (15 s), four silent NTP servers (4 * 1.7 s) and three exchanges.
          So: with all up since 16 min before the deadline, the report comes before it, never after. With
          all up ever since the last report, the next comes within 12 h + 15 min (daily: 22 h 15 min) and
          the 60 s.

burst     In any hour at most 40 requests to the platform, and 4 more for each boot in it.

flash     At most two writes for each secret, and one for each report whose answer came; with the interval
          policy at most 750 a year, and one more for each report that was early with an excuse.

watchdog  Fed at least every 120 s at work, and between any two steps.

delay     What became overdue while the device was off goes out within the delay above (and the 60 s) of the
          boot, and where all stayed up for that long, the delays are spread over it: their mean is half
          of it.

daily     The first use of a Beijing day reports within 40 minutes, if all was up for an hour before: at
          once, or when a Wi-Fi that only claims to be connected is joined anew, after three failed tries.
          A second use does not hurry what failed at the first.

unverified  Nothing is sent to anybody but the platform, and nothing taken.

alive     No exception ends run() or task(), and none but the library's own and MemoryError comes up in
          them.
"""

from __future__ import annotations

import math
import multiprocessing
import statistics
from collections import Counter, deque
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from endure.world import DAY, HOUR, SECOND, VirtualWorld, install

YEAR = 365
DEADLINE = 24 * HOUR
ENOUGH = 60 * SECOND  # for all that one try takes
CLOSE = 2 * HOUR  # to the deadline; and no overdue report waits longer
OFTEN = 900 * SECOND  # between two tries there
NEAREST = {"interval": (43200 - 900) * SECOND, "daily": (79200 - 900) * SECOND}
LONGEST = {"interval": (43200 + 900) * SECOND, "daily": (79200 + 900) * SECOND}
KEPT = 5 * SECOND  # an answer is on flash by then
MOST_REQUESTS, MOST_REQUESTS_OF_A_BOOT = 40, 4
MOST_WRITES = 750
FIRST_USE = 2400 * SECOND
MIDNIGHT = 60 * SECOND  # nearer to it than this nobody quarrels about the day
BEIJING = 8 * HOUR
JOINING = 5 * SECOND  # from a boot to a clock that is right, on average
TOLD = 3  # failures of one world that are reported


@dataclass
class AcceptedReport:
    """One that the platform has accepted."""

    at: int
    boot: int
    first: bool  # of its identity: the spread interval follows it
    delivered: int | None = None  # when its answer reached the device
    kept: bool = False  # on flash, if nothing is wrong
    error: int = 0  # seconds by which the device's clock was ahead when it wrote the record
    use_days: tuple[int, int] | None = None  # as the Judge's, when it wrote the record


class Judge:
    """Is told what happens in a world, as the world sees it, and says what must not have."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.failures: list[str] = []
        self.counts: Counter[str] = Counter()
        self.highest: Counter[str] = Counter()  # of what the highest count matters
        self.delays: list[tuple[int, int]] = []  # and what they may be at most
        self.delay: tuple[int, int] | None = None  # one of a boot that may end before its most is over
        self.history: list[int] = []  # when a report was accepted
        self.requests: deque[int] = deque()
        self.boots: deque[int] = deque()
        self.boot = 0
        self.good_since: int | None = None
        self.expected: int | None = None
        self.lied = False
        self.last_use = self.ahead = 0
        self.use_days: tuple[int, int] | None = None  # reported for last, as far as the device remembers

    def watch(self, watched: VirtualWorld) -> None:
        self.world = watched
        self.nearest = NEAREST[watched.policy]
        self.new_identity()

    def new_identity(self) -> None:
        self.since = self.world.now  # the last report, or the day it could first have come
        self.last: AcceptedReport | None = None
        self.known = self.secret_kept = False
        self.secret_at = 0
        self.kept: list[AcceptedReport] = []

    def fail(self, kind: str, text: str) -> None:
        self.counts[kind] += 1
        if len(self.failures) < TOLD:
            day = (self.world.now - self.world.born) / DAY
            self.failures.append(f"{kind}: device {self.seed}, day {day:.4f}: {text}")

    # Power and surroundings

    def booted(self, cold: bool, new_identity: bool) -> None:
        now = self.world.now
        self.boot += 1
        self.boots.append(now)
        self.booted_at = now
        self.told = self.used_since_boot = False
        self.delay = None
        # A clock that was lied to runs on through a reset.
        self.lied = self.lied and not cold
        if new_identity:
            self.new_identity()
        self.use_days = self.kept[-1].use_days if self.kept else None
        self.overdue = (
            self.last is not None
            and self.last.kept
            and abs(self.last.error) <= 60
            and now > self.last.at + LONGEST[self.world.policy]
        )
        self.most = min(CLOSE, self.spare())

    def stopped(self) -> None:
        """The power has gone, or a reset has come."""
        now = self.world.now
        self.surroundings(False)
        self.known = False
        if self.last and self.last.kept and now < self.last.delivered + KEPT:
            self.last.kept = False
            self.kept.pop()
        if now < self.secret_at + KEPT:
            self.secret_kept = False

    def surroundings(self, good: bool) -> None:
        """All is up, or it is not."""
        if good and self.good_since is None:
            self.all_up(self.world.now == self.booted_at)
        elif not good and self.good_since is not None:
            self.look_whether_late()
            # A boot that was too short for long delays shows only the short ones.
            if self.delay and self.world.now >= self.booted_at + self.delay[1]:
                self.delays.append(self.delay)
            self.delay = None
            self.good_since = self.expected = None

    def all_up(self, fresh: bool, again: bool = False) -> None:
        """From this moment on; fresh from a boot; again after a refusal that NTP can heal."""
        self.good_since = now = self.world.now
        self.again = again
        spare = self.spare()
        if fresh:
            wait = min(CLOSE, spare)
        elif not self.known:
            wait = OFTEN + min(CLOSE, spare)
        else:
            wait = spare
        self.enough = now + wait + ENOUGH

    def spare(self) -> int:
        """Until the deadline is close, or the next try there."""
        return max(OFTEN, self.since + DEADLINE - CLOSE - self.world.now)

    def look_whether_late(self) -> None:
        now = self.world.now
        never_down = self.last is not None and self.good_since == self.since
        if never_down:
            latest = self.since + LONGEST[self.world.policy] + ENOUGH + self.misled()
        else:
            latest = max(self.since + DEADLINE + self.misled(), self.enough)
        if self.good_since is not None and now > latest:
            without, up = (now - self.since) / HOUR, (now - self.good_since) / HOUR
            self.fail("late", f"{without:.3f} h without a report, and all was up for the last {up:.3f} h")

    def misled(self) -> int:
        """How much shorter than it was the device takes the time since its last report to be."""
        ahead = self.world.device_time() - self.world.now
        of_before = self.last is not None and self.last.kept and self.last.boot != self.boot
        dated_ahead = self.last.error * SECOND if of_before else 0
        return max(0, dated_ahead - ahead) if self.lied or dated_ahead > 60 * SECOND else 0

    def missed(self) -> None:
        """A request or its answer is lost."""
        if self.good_since is not None:
            self.look_whether_late()
            self.all_up(False)
            self.expected = None

    def refused(self) -> None:
        """The device has refused a good certificate, by a wrong clock."""
        self.counts["refused by a wrong clock"] += 1
        helpless = self.lied and not self.world.ntp
        if self.good_since is not None and (helpless or not self.again):
            self.look_whether_late()
            self.all_up(False, again=not helpless)

    def offered(self, truth: bool) -> None:
        """A source has told the time."""
        self.told |= truth
        self.lied |= not truth
        # When the last report was, it knows by a record of that boot's, or by one that is right.
        self.known |= truth and self.last is not None and self.last.kept and abs(self.last.error) <= 60

    def used(self) -> None:
        now = self.world.now
        again = self.last_use > self.since and day(self.last_use) == day(now)
        self.used_since_boot = True
        if not self.told:
            self.use_days = None  # of what day it is, the device learns later
        self.last_use, self.ahead = now, self.world.device_time() - now
        sure = self.known and not self.lied and abs(self.world.device_time() - now) < 60 * SECOND
        long_up = self.good_since is not None and now - self.good_since > HOUR + ENOUGH
        first = day(now - MIDNIGHT) > day(self.since + MIDNIGHT) and day(now) == day(now + MIDNIGHT)
        if sure and long_up and first and not again:
            self.expected = now + FIRST_USE

    # Requests

    def called(self) -> None:
        now = self.world.now
        self.requests.append(now)
        for times in (self.requests, self.boots):
            while times and times[0] <= now - HOUR:
                times.popleft()
        self.flash_was_full = self.world.flash_full
        self.counts["requests"] += 1
        most = MOST_REQUESTS + MOST_REQUESTS_OF_A_BOOT * len(self.boots)
        if len(self.boots) == 0:
            self.highest["requests"] = max(self.highest["requests"], len(self.requests))
        if len(self.requests) > most:
            self.fail("burst", f"{len(self.requests)} requests within an hour with {len(self.boots)} boots")

    def fetched(self) -> None:
        self.counts["secrets"] += 1
        if self.secret_kept:
            self.fail("secret", "it is fetched again, though it was there")

    def received_secret(self) -> None:
        self.counts["secrets received"] += 1
        self.secret_at = self.world.now
        self.secret_kept = not self.world.flash_full

    def trusted(self, genuine: bool, changed: bool) -> None:
        """The device has verified a server; changed: by the root that the platform changed to."""
        self.counts["changed CAs"] |= changed
        if not genuine:
            self.fail("unverified", "somebody else was taken for the platform")

    def accepted(self) -> None:
        now = self.world.now
        self.history.append(now)
        self.counts["reports"] += 1
        self.look_whether_late()
        if self.expected and now > self.expected:
            ago = (now - self.expected + FIRST_USE) // SECOND
            self.fail("daily", f"the first use of the day was {ago} s ago")
        self.expected = None
        if self.overdue and self.told and not self.lied and not self.used_since_boot:
            self.look_at_delay()
        self.overdue = False
        report = AcceptedReport(now, self.boot, not self.kept)
        if self.last:
            self.look_whether_early(self.last, report)
            # A use before the boot nobody remembers.
            if self.last_use >= self.last.at and self.used_since_boot:
                self.use_days = self.days_of_use()
        self.last, self.since = report, now
        if self.good_since is not None:
            self.all_up(False)

    def received(self) -> None:
        """The answer to the last report reaches the device."""
        now, last = self.world.now, self.last
        assert last is not None
        last.delivered = now
        last.kept = not self.world.flash_full
        if last.kept:
            self.kept.append(last)
        self.known = True
        self.counts["reports received"] += 1
        if not self.secret_kept and not self.flash_was_full and last.kept:
            self.secret_kept, self.secret_at = True, now

    def writes(self, key: str) -> None:
        """It tries to; whether flash takes it or not."""
        if key.startswith("schedule") and self.last:
            device_time = self.world.device_time()
            self.last.error = (device_time - self.world.now) // SECOND
            if self.use_days:
                self.use_days = self.use_days[0], min(self.use_days[1], day(device_time))
            self.last.use_days = self.use_days

    def wrote(self) -> None:
        self.counts["writes"] += 1

    def look_at_delay(self) -> None:
        delay = self.world.now - self.booted_at
        if self.good_since == self.booted_at:
            self.delay = delay, self.most
            if delay > self.most + ENOUGH:
                self.fail("delay", f"an overdue report went out {delay // SECOND} s after the boot")

    def look_whether_early(self, last: AcceptedReport, report: AcceptedReport) -> None:
        gap = report.at - last.at
        need = self.nearest - 5 * SECOND - self.nearest * abs(self.world.ppm) // 1_000_000
        if gap >= need or (last.first and last.delivered):
            return
        if self.world.policy == "daily" and self.last_use >= last.at and self.days_of_use() != self.use_days:
            return
        hours = f"{gap / HOUR:.3f} h after the one before"
        if last.delivered is None:
            self.counts["excused: the answer before was lost"] += 1
        elif last.boot == report.boot:
            self.fail("early", hours + ", without a reboot")
        elif not last.kept:
            self.counts["excused: the record before was not kept"] += 1
        elif abs(last.error) > 60:
            self.counts["excused: the record before has a wrong time"] += 1
        elif self.lied or not (self.told or self.could_ask()):
            self.counts["excused: nobody told the time, or one lied"] += 1
        elif gap < need - 60 * SECOND:
            self.fail("early", hours + ", after a reboot")

    def could_ask(self) -> bool:
        """Whether all has been up since the boot, the platform's Date with it."""
        return self.good_since == self.booted_at and self.world.sends_dates

    def days_of_use(self) -> tuple[int, int]:
        """The Beijing day of the last use, by the world's clock and by the device's."""
        return day(self.last_use), day(self.last_use + self.ahead)

    def over(self) -> None:
        self.look_whether_late()
        writes = self.counts["writes"]
        bound = 2 * self.counts["secrets received"] + self.counts["reports received"]
        if writes > bound:
            self.fail("flash", f"{writes} writes for {bound} answers")
        if self.world.policy == "interval":
            early = excused(self.counts)
            self.highest["writes"] = writes - early
            # Four more for an identity's secret and its first three reports.
            years = (self.world.now - self.world.born) / (YEAR * DAY)
            if writes - early > MOST_WRITES * years + 4 * self.counts["secrets received"]:
                self.fail("flash", f"{writes} writes, {early} of them for reports that had to be early")


def excused(counts: Counter[str]) -> int:
    """How many reports were early, with an excuse."""
    return sum(count for what, count in counts.items() if what.startswith("excused"))


def day(ms: int) -> int:
    """The Beijing day."""
    return (ms + BEIJING) // DAY


def live(seeds: Iterable[int], days: float = YEAR, leaps: bool = True, spare: bool = True) -> list[Judge]:
    """Lives through the worlds of these numbers, in a process in which install() was called."""
    judges = []
    for seed in seeds:
        judge = Judge(seed)
        judge.watch(VirtualWorld(seed, days, judge, leaps, spare))
        judge.world.live()
        del judge.world  # it cannot be sent to another process
        judges.append(judge)
    return judges


def elsewhere() -> ProcessPoolExecutor:
    """A process that has a virtual time of its own, for live()."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=install)


def uneven(delays: list[tuple[int, int]]) -> list[str]:
    """What is wrong with the delays of what was overdue: they should be spread over what they may be."""
    if len(delays) < 50:
        return [f"delay: only {len(delays)} overdue reports were seen after a boot"]
    mean = statistics.mean(delay / most for delay, most in delays)
    joining = statistics.mean(JOINING / most for _, most in delays)
    if abs(mean - joining - 0.5) < 4 / math.sqrt(12 * len(delays)) + joining:
        return []
    return [f"delay: {mean:.3f} of the most on average after a boot, in place of {0.5 + joining:.3f}"]
