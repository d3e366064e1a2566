"""One line of the table, and what two contenders took in turns."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """what is measured, and beside what; the target and what was found, in words; whether that meets it.

    met: None where there is no target to meet. note: what a reader must know to believe the figure.
    """

    what: str
    beside: str
    target: str
    found: str
    met: bool | None
    note: str = ""


class Turns:
    """What two contenders took, round by round: pairs of numbers, ours and theirs.

    Both of a pair are measured one right after the other: a machine that other work slows down for a
    while slows both.

    ours, theirs: the median of each.  ratio: how many times ours theirs is, in the middle of all pairs.
    """

    def __init__(self, pairs: Iterable[tuple[float, float]]) -> None:
        self.pairs = list(pairs)
        self.ours, self.theirs = (statistics.median(side) for side in zip(*self.pairs, strict=True))
        self.ratio = statistics.median(theirs / ours for ours, theirs in self.pairs)


def times(ratio: float) -> str:
    return f"{ratio:.1f} times" if ratio < 20 else f"{ratio:,.0f} times"
