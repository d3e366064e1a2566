"""Which second brings the platform how many requests: the shipped schedule, once for each device.

No device knows of another, so each is followed alone from its start to the end, by the code that runs
on the board; only the counts are kept, and memory does not grow with the number of devices.
"""

from __future__ import annotations

import multiprocessing
import random
import signal
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy
from muster.schedule import Schedule

_PERIOD_S = 43200
_DAY_S = 86400
_SWITCH_ON_S = 60  # a production batch comes to life within this
_BOOT_S = 10  # devices whose power comes back together have booted and joined within this of each other
_RETRY_S = 60
LONG_OUTAGE_S = 30 * 3600  # beyond the deadline of everybody
_PART = 10_000  # devices that a process takes at a time


def _at_once(schedule: Schedule, now: int) -> int:
    return now


def _when_due(schedule: Schedule, now: int) -> int:
    return max(now, schedule.next)


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
    Strategy("fixed 12 h timer", {"jitter_s": 0, "spread_s": 0}, _at_once, _RETRY_S),
    Strategy("document's strategy 2", {"spread_s": 0}, _when_due, _RETRY_S),
    Strategy("muster", {}, Schedule.first, None),
)


@dataclass(frozen=True)
class World:
    """days: how long it is watched. off, on: begin and end of the outage, seconds from the start. share: of
    the devices, above 0 up to 1."""

    days: int
    off: int
    on: int
    share: float

    @property
    def end(self) -> int:
        return self.days * _DAY_S


class Load:
    """Requests in each second, three kinds.

    firsts      a device's first report, right after its enrolment: so many of each
    reports     all others that were answered
    unanswered  those that the platform, being down, did not answer
    """

    KINDS = ("firsts", "reports", "unanswered")

    def __init__(self, seconds: int) -> None:
        self.firsts, self.reports, self.unanswered = (array("i", bytes(4 * seconds)) for _ in self.KINDS)


def live(
    schedule: Schedule, strategy: Strategy, due: int, until: int, load: Load, down: range = range(0)
) -> None:
    """A device, from a report that is due until its power goes; the platform is down for a while."""
    while due < until:
        if due in down:
            if strategy.retry_s:
                # All at once: in 30 hours they are 1,800.
                tries = range(due, min(down.stop, until), strategy.retry_s)
                numpy.frombuffer(load.unanswered, numpy.int32)[due : tries.stop : tries.step] += 1
                due = tries[-1] + strategy.retry_s
            else:
                load.unanswered[due] += 1
                due = schedule.after_failure(due)
        else:
            counts = load.reports if schedule.reports else load.firsts
            counts[due] += 1
            due = schedule.after_success(due)


def batch(strategy: Strategy, world: World, dice: random.Random, load: Load) -> None:
    """A new device, switched on with all the others."""
    schedule = Schedule(random=dice.randbytes, **strategy.settings)
    live(schedule, strategy, dice.randrange(_SWITCH_ON_S), world.end, load)


def power(strategy: Strategy, world: World, dice: random.Random, load: Load) -> None:
    """A device in the field, perhaps one whose power fails."""
    schedule = _in_the_field(strategy, dice)
    if dice.random() >= world.share:
        live(schedule, strategy, schedule.next, world.end, load)
        return
    live(schedule, strategy, schedule.next, world.off, load)
    restarted = Schedule(random=dice.randbytes, **strategy.settings)
    restarted.restore(schedule.state())
    due = strategy.start(restarted, world.on + dice.randrange(_BOOT_S))
    live(restarted, strategy, due, world.end, load)


def platform(strategy: Strategy, world: World, dice: random.Random, load: Load) -> None:
    """A device in the field, and a platform that answers nobody for a while."""
    schedule = _in_the_field(strategy, dice)
    live(schedule, strategy, schedule.next, world.end, load, range(world.off, world.on))


def deadlines(strategy: Strategy, world: World, dice: random.Random, load: Load) -> None:
    """The same, and the platform stays down until every deadline has passed."""
    schedule = _in_the_field(strategy, dice)
    down = range(world.off, world.off + LONG_OUTAGE_S)
    live(schedule, strategy, schedule.next, world.end, load, down)


SCENES = (batch, power, platform, deadlines)


def titles(world: World) -> tuple[str, str, str, str]:
    """Of the scenes, for people."""
    hours = f"{(world.on - world.off) / 3600:g} h"
    return (
        f"a batch switched on within {_SWITCH_ON_S} s",
        f"{100 * world.share:g}% without power for {hours}",
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


def _in_the_field(strategy: Strategy, dice: random.Random) -> Schedule:
    """Of a device that was switched on long ago, at a time of its own: anywhere in an interval."""
    schedule = Schedule(random=dice.randbytes, **strategy.settings)
    schedule.restore({"last": 0, "next": 0, "reports": 2})
    interval = schedule.after_success(0)
    due = dice.randrange(interval)
    schedule.restore({"last": due - interval, "next": due, "reports": 3})
    return schedule


@dataclass(frozen=True)
class Part:
    """Some of a scene's devices. Its dice depend on no other part: any process may take it."""

    scene: int
    strategy: int
    number: int
    devices: int
    world: World
    seed: int

    def run(self) -> Load:
        dice = random.Random(f"{self.seed} {self.scene} {self.strategy} {self.number}")
        scene, strategy, load = SCENES[self.scene], STRATEGIES[self.strategy], Load(self.world.end)
        for _ in range(self.devices):
            scene(strategy, self.world, dice, load)
        return load


@dataclass(frozen=True)
class Curve:
    """A strategy's load in a scene: requests in each minute, of the kinds of Load."""

    scene: int
    strategy: Strategy
    firsts: numpy.ndarray
    reports: numpy.ndarray
    unanswered: numpy.ndarray
    peak_second: int

    @property
    def load(self) -> numpy.ndarray:
        """What the platform gets to do, enrolments and first reports apart."""
        return self.reports + self.unanswered


def curves(devices: int, world: World, seed: int, tell: Callable[[int], None]) -> Iterator[Curve]:
    """Each scene with each strategy. tell(n) hears of n more devices that have been followed.

    The same seed gives the same curves, on however many processors.
    """
    if devices <= _PART:
        yield from _curves(devices, world, seed, tell, map)
        return
    # Ctrl-C is for the parent: it ends these.
    quiet = (signal.SIGINT, signal.SIG_IGN)
    with multiprocessing.get_context("spawn").Pool(initializer=signal.signal, initargs=quiet) as pool:
        yield from _curves(devices, world, seed, tell, pool.imap)


def _curves(
    devices: int, world: World, seed: int, tell: Callable[[int], None], run: Callable
) -> Iterator[Curve]:
    for scene in range(len(SCENES)):
        for strategy in range(len(STRATEGIES)):
            parts = [
                Part(scene, strategy, number, min(_PART, devices - begin), world, seed)
                for number, begin in enumerate(range(0, devices, _PART))
            ]
            total = {kind: numpy.zeros(world.end, numpy.int64) for kind in Load.KINDS}
            for part, load in zip(parts, run(Part.run, parts), strict=True):
                for kind, counts in total.items():
                    counts += numpy.frombuffer(getattr(load, kind), numpy.int32)
                tell(part.devices)
            yield _curve(scene, strategy, total)


def _curve(scene: int, strategy: int, seconds: dict[str, numpy.ndarray]) -> Curve:
    minutes = {kind: counts.reshape(-1, 60).sum(axis=1) for kind, counts in seconds.items()}
    peak = int((seconds["reports"] + seconds["unanswered"]).max())
    return Curve(scene, STRATEGIES[strategy], **minutes, peak_second=peak)
