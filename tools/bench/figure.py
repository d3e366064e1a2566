"""One line of the table."""

from __future__ import annotations

import statistics
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


def ratio_of(pairs: list[tuple[float, float]]) -> float:
    """How many times the second of a pair is the first, in the middle of all pairs.

    Both of a pair are measured one right after the other: a machine that other work slows down for a
    while slows both.
    """
    return statistics.median(theirs / ours for ours, theirs in pairs)


def times(ratio: float) -> str:
    return f"{ratio:.1f} times" if ratio < 20 else f"{ratio:,.0f} times"
