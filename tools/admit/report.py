"""The report: what came of each point, for a terminal, for programs and for paper."""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import muster

from tools.admit import rules
from tools.admit.facts import Facts
from tools.admit.verdict import FAILED, PASSED, UNSEEN, Verdict

MARKS = (FAILED, UNSEEN, PASSED)

_html = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
)
_html.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]  # Jinja's lowers the rest


@dataclass(frozen=True)
class Point:
    """A rule of the document and what came of it. No secret stands in its texts."""

    number: int
    rule: rules.Rule
    verdict: Verdict


@dataclass(frozen=True)
class Report:
    """at: when it was made, with the time zone."""

    facts: Facts
    points: tuple[Point, ...]
    at: datetime.datetime

    @property
    def failed_points(self) -> list[Point]:
        return [point for point in self.points if point.verdict.mark == FAILED]

    @property
    def failed(self) -> bool:
        return bool(self.failed_points)

    @property
    def counts(self) -> Counter[str]:
        return Counter(point.verdict.mark for point in self.points)

    @property
    def result(self) -> str:
        """In one sentence."""
        counts = self.counts
        result = "It does not pass" if self.failed else "Nothing failed"
        return f"{result}: {', '.join(f'{counts[mark]} {mark}' for mark in reversed(MARKS))}."

    @property
    def product(self) -> dict[str, str]:
        """What was judged, for people."""
        config = self.facts.config
        number = "imei" if self.facts.cellular else "cmei"
        return {
            "productId": str(config.get("productId")),
            "deviceNo": self.facts.device_no,
            number: str(config.get(number) or ""),
            "firmwareVersion": str(config.get("firmwareVersion")),
        }


def judged(facts: Facts) -> Report:
    points = []
    for number, rule in enumerate(rules.RULES, 1):
        verdict = rule.verdict(facts)
        hidden = Verdict(verdict.mark, facts.hide(verdict.found), facts.hide(verdict.advice))
        points.append(Point(number, rule, hidden))
    return Report(facts, tuple(points), datetime.datetime.now().astimezone())


def as_json(report: Report) -> dict[str, Any]:
    return {
        "at": report.at.isoformat(timespec="seconds"),
        "document": rules.DOCUMENT,
        "muster": muster.__version__,
        "subject": report.facts.subject,
        "product": report.product,
        "passed": not report.failed,
        "counts": {mark: report.counts[mark] for mark in MARKS},
        "differences": list(report.facts.differences),
        "unseen": report.facts.hide(report.facts.unseen),
        "note": rules.SILENT,
        "points": [
            {
                "number": point.number,
                "section": point.rule.section,
                "quote": point.rule.quote,
                "asks": point.rule.asks,
                "verdict": point.verdict.mark,
                "found": point.verdict.found,
                "advice": point.verdict.advice,
            }
            for point in report.points
        ],
    }


def as_html(report: Report) -> str:
    """A page of A4 for a browser to print."""
    return _html.get_template("report.html").render(
        report=report,
        facts=report.facts,
        rules=rules,
        muster=muster,
        marks=MARKS,
        failed=FAILED,
        passed=PASSED,
    )
