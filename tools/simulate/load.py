"""How many requests the platform gets in each second: the shipped schedule, once for each device.

No device knows of another, so each is followed alone from its start to the end, by the code that runs
on the board; only the counts are kept, and memory does not grow with the number of devices.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy
from muster.schedule import Schedule

_PERIOD_S = 43200
_DAY_S = 86400
_SWITCH_ON_S = 60  # a production batch comes to life within this
_BOOT_S = 10  # devices whose power comes back together have booted and joined within this of each other
_RETRY_S = 60
LONG_OUTAGE_S = 30 * 3600  # beyond the deadline of everybody
PART = 10_000  # devices that a process takes at a time


@dataclass(frozen=True)
class Strategy:
    """What a device does; times are Unix seconds.

    settings  the Schedule's
    start     of (schedule, now): when to report after a power cut that ended now
    retry_s   seconds from a report that failed to the next try; None leaves it to the Schedule
    """

    name: str
    settings: dict[str, int]
    start: Callable[[Schedule, int], int]
    retry_s: int | None


# Heartbeat strategy 2 of China Mobile's device access document says nothing of failures: the two that
# are not ours try again every minute, so as not to miss the 24 hours. Of a power cut it says only that
# a device's very first start reports, so it gets credit here for keeping T_next on flash.
STRATEGIES = (
    Strategy("fixed 12 h timer", {"jitter_s": 0, "spread_s": 0}, lambda schedule, now: now, _RETRY_S),
    Strategy(
        "document's strategy 2", {"spread_s": 0}, lambda schedule, now: max(now, schedule.next), _RETRY_S
    ),
    Strategy("muster", {}, Schedule.first, None),
)


@dataclass(frozen=True)
class Outage:
    """An outage, of the power or of the platform, in some days that are followed.

    off, on  its begin and its end, seconds from the start
    share    of the devices that lose their power, above 0 up to 1
    """

    days: int
    off: int
    on: int
    share: float

    @property
    def end(self) -> int:
        return self.days * _DAY_S


class Load:
    """Requests in each second: `counts` has a row for each kind.

    firsts      a device's first report, right after its enrolment: so many of each
    reports     all others that were answered
    unanswered  those that the platform, being down, did not answer
    """

    def __init__(self, seconds: int) -> None:
        self.counts = numpy.zeros((3, seconds), numpy.int32)
        # To count one by one these are faster than the array.
        self.firsts, self.reports, self.unanswered = (kind.data for kind in self.counts)


def follow(
    schedule: Schedule, strategy: Strategy, due: int, until: int, load: Load, down: range = range(0)
) -> None:
    """Counts a device, from a report that is due until its power goes; the platform is down for a while."""
    while due < until:
        if due in down:
            if strategy.retry_s:
                # All at once: in 30 hours they are 1,800.
                tries = range(due, min(down.stop, until), strategy.retry_s)
                load.counts[2, due : tries.stop : tries.step] += 1
                due = tries[-1] + strategy.retry_s
            else:
                load.unanswered[due] += 1
                due = schedule.after_failure(due)
        else:
            kind = load.reports if schedule.reports else load.firsts
            kind[due] += 1
            due = schedule.after_success(due)


def batch(strategy: Strategy, outage: Outage, dice: random.Random, load: Load) -> None:
    """A new device, switched on with all the others."""
    schedule = Schedule(random=dice.randbytes, **strategy.settings)
    follow(schedule, strategy, dice.randrange(_SWITCH_ON_S), outage.end, load)


def power(strategy: Strategy, outage: Outage, dice: random.Random, load: Load) -> None:
    """A device in the field, perhaps one whose power fails."""
    schedule = in_the_field(strategy, dice)
    if dice.random() >= outage.share:
        follow(schedule, strategy, schedule.next, outage.end, load)
        return
    follow(schedule, strategy, schedule.next, outage.off, load)
    restarted = Schedule(random=dice.randbytes, **strategy.settings)
    restarted.restore(schedule.state())
    due = strategy.start(restarted, outage.on + dice.randrange(_BOOT_S))
    follow(restarted, strategy, due, outage.end, load)


def platform(strategy: Strategy, outage: Outage, dice: random.Random, load: Load) -> None:
    """A device in the field, and a platform that answers nobody for a while."""
    schedule = in_the_field(strategy, dice)
    follow(schedule, strategy, schedule.next, outage.end, load, range(outage.off, outage.on))


def deadlines(strategy: Strategy, outage: Outage, dice: random.Random, load: Load) -> None:
    """The same, and the platform stays down until every deadline has passed."""
    longer = dataclasses.replace(outage, on=outage.off + LONG_OUTAGE_S)
    platform(strategy, longer, dice, load)


SCENES = (batch, power, platform, deadlines)


def titles(outage: Outage) -> tuple[str, str, str, str]:
    """Of the scenes, for people."""
    hours = f"{(outage.on - outage.off) / 3600:g} h"
    return (
        f"a batch switched on within {_SWITCH_ON_S} s",
        f"{100 * outage.share:g}% without power for {hours}",
        f"the platform down for {hours}",
        f"the platform down for {LONG_OUTAGE_S // 3600} h",
    )


def mean(devices: int) -> float:
    """Reports a minute if they were spread evenly: what every peak is measured by."""
    return devices * 60 / _PERIOD_S


def in_words(devices: int) -> tuple[str, str]:
    """So many devices and their mean, for people."""
    even = mean(devices)
    return f"{devices:,} device{'s' * (devices != 1)}", f"{even:,.1f}" if even >= 1 else f"{even:.2g}"


def in_the_field(strategy: Strategy, dice: random.Random) -> Schedule:
    """Of a device that was switched on long ago, at a time of its own: anywhere in an interval."""
    schedule = Schedule(random=dice.randbytes, **strategy.settings)
    schedule.restore({"last": 0, "next": 0, "reports": 2})
    interval = schedule.after_success(0)
    due = dice.randrange(interval)
    schedule.restore({"last": due - interval, "next": due, "reports": 3})
    return schedule


def count(scene: int, strategy: int, part: int, devices: int, outage: Outage, seed: int) -> numpy.ndarray:
    """The counts of a part of a scene's devices. Its dice depend on no other part: any process may do it."""
    dice = random.Random(f"{seed} {scene} {strategy} {part}")
    load = Load(outage.end)
    for _ in range(devices):
        SCENES[scene](STRATEGIES[strategy], outage, dice, load)
    return load.counts


class Curve:
    """A strategy's load in a scene: requests in each minute, of the kinds of Load.

    load         what the platform gets to do, enrolments and first reports apart
    peak_second  requests in the busiest second of it
    """

    def __init__(self, scene: int, strategy: Strategy, seconds: numpy.ndarray) -> None:
        self.scene, self.strategy = scene, strategy
        self.firsts, self.reports, self.unanswered = seconds.reshape(3, -1, 60).sum(axis=2)
        self.load = self.reports + self.unanswered
        self.peak_second = int(seconds[1:].sum(axis=0).max())

    def figures(self, outage: Outage, devices: int) -> dict[str, Any]:
        """For programs and for a table."""
        peak = int(self.load.max())
        return {
            "scene": titles(outage)[self.scene],
            "strategy": self.strategy.name,
            "reports": int(self.reports.sum()),
            "unanswered": int(self.unanswered.sum()),
            "peak_minute": peak,
            "peak_second": self.peak_second,
            "peak_to_mean": round(peak / mean(devices), 1),
        }


def parts(devices: int) -> int:
    """In how many parts a curve's devices are followed."""
    return -(-devices // PART)


def curves(
    devices: int, outage: Outage, seed: int, done: Callable[[], None], run: Callable = map
) -> Iterator[Curve]:
    """Each scene with each strategy. The same seed gives the same curves, on however many processors.

    Args:
        done: hears of each part of a curve that is over.
        run: maps a function to the parts.
    """
    for scene in range(len(SCENES)):
        for number, strategy in enumerate(STRATEGIES):
            some = [
                (scene, number, part, min(PART, devices - part * PART), outage, seed)
                for part in range(parts(devices))
            ]
            total = numpy.zeros((3, outage.end), numpy.int64)
            for counts in run(_counted, some):
                total += counts
                done()
            yield Curve(scene, strategy, total)


def _counted(arguments: tuple) -> numpy.ndarray:
    return count(*arguments)


@contextlib.contextmanager
def processors(devices: int) -> Iterator[Callable]:
    """Gives what maps a function to parts, on all processors if there is more than one part."""
    if parts(devices) == 1:
        yield map
        return
    # Ctrl-C is for the parent: it ends these.
    quiet = (signal.SIGINT, signal.SIG_IGN)
    with multiprocessing.get_context("spawn").Pool(initializer=signal.signal, initargs=quiet) as pool:
        yield pool.imap
