"""A release and the devices that look for it: when each looks, and when it has it.

A device looks once in a period, at times of its own: from one look to the next three to five quarters of a
period pass, uniform, and before the first a part of such a time. Were that part one of the period itself, so
many second looks would fall among the last of the first ones that the busiest minute had 1.56 times the mean.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy

SCENES = ("devices in the field", "switched on at once")
MOST = 1.5  # times the mean that the busiest minute may have
_BEFORE = 10  # periods for which those in the field have been on
_BUILD = 7


@dataclass(frozen=True)
class Plan:
    """What is released to whom.

    days     that are followed, from the release on
    period   seconds, as the configuration's updates.period
    rollout  percent of the devices
    files    that differ, and so are fetched
    """

    devices: int
    days: int
    period: int
    rollout: int
    files: int

    @property
    def mean(self) -> float:
        """Looks a minute if they were spread evenly."""
        return self.devices * 60 / self.period


class Course:
    """What a scene comes to: looks and requests in each minute, and how many devices have it at its end."""

    def __init__(self, scene: int, plan: Plan) -> None:
        self.scene, self.plan = scene, plan
        self.looks, fetching = numpy.zeros((2, plan.days * 1440), numpy.int64)
        self._fetching = fetching

    def count(self, due: numpy.ndarray, taking: numpy.ndarray) -> None:
        """Counts looks, in seconds; taking: of those that find what they have not yet."""
        self.looks += numpy.bincount(due // 60, minlength=len(self.looks))
        self._fetching += numpy.bincount(taking // 60, minlength=len(self.looks))

    @property
    def requests(self) -> numpy.ndarray:
        return self.looks + self._fetching * self.plan.files

    @property
    def taken(self) -> numpy.ndarray:
        return self._fetching.cumsum()

    @property
    def peak_to_mean(self) -> float:
        return float(self.looks.max()) / self.plan.mean

    def hours(self, share: float) -> float | None:
        """Until this share of all that take it have it; None if nobody does."""
        taken = self.taken
        if not taken[-1]:
            return None
        return (int(numpy.searchsorted(taken, share * taken[-1])) + 1) / 60

    def figures(self) -> dict[str, Any]:
        """For programs and for a table."""
        return {
            "scene": SCENES[self.scene],
            "looks": int(self.looks.sum()),
            "peak_minute": int(self.looks.max()),
            "peak_to_mean": round(self.peak_to_mean, 2),
            "requests": int(self.requests.sum()),
            "requests_peak_minute": int(self.requests.max()),
            "taken": int(self.taken[-1]),
            "half_in_h": self.hours(0.5),
            "all_in_h": self.hours(1),
        }


def courses(plan: Plan, seed: int) -> list[Course]:
    """Each scene; the same seed gives the same."""
    return [_follow(scene, plan, numpy.random.default_rng([seed, scene])) for scene in range(len(SCENES))]


def chosen(plan: Plan) -> numpy.ndarray:
    """Whether each device is of the rollout's share: its number and the build decide."""
    shares = (zlib.crc32(b"AI-%08d %d" % (n, _BUILD)) % 100 for n in range(plan.devices))
    return numpy.fromiter(shares, numpy.int64, plan.devices) < plan.rollout


def _follow(scene: int, plan: Plan, dice: numpy.random.Generator) -> Course:
    course, end = Course(scene, plan), plan.days * 86400
    due = dice.integers(0, _gaps(plan.devices, plan, dice))
    if not scene:
        due -= _BEFORE * plan.period
        while (early := due < 0).any():
            due[early] += _gaps(int(early.sum()), plan, dice)
    wanting = chosen(plan)
    while (here := due < end).any():
        due, wanting = due[here], wanting[here]
        course.count(due, due[wanting])
        wanting[:] = False
        due = due + _gaps(len(due), plan, dice)
    return course


def _gaps(count: int, plan: Plan, dice: numpy.random.Generator) -> numpy.ndarray:
    return plan.period * 3 // 4 + dice.integers(0, plan.period // 2 + 1, count)
