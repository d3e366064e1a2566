"""What comes of a rule."""

from __future__ import annotations

from dataclasses import dataclass

PASSED, FAILED, UNSEEN = "passed", "failed", "not checked"


@dataclass(frozen=True)
class Verdict:
    """mark: PASSED, FAILED or UNSEEN. found: what was seen, or why nothing was. advice: what to do, or ""."""

    mark: str
    found: str
    advice: str = ""


def passed(found: str, advice: str = "") -> Verdict:
    return Verdict(PASSED, found, advice)


def failed(found: str, advice: str) -> Verdict:
    return Verdict(FAILED, found, advice)


def unseen(why: str) -> Verdict:
    return Verdict(UNSEEN, why)
