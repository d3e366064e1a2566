"""What came of trying: the count that a test keeps, and the table of all of them at the end."""

import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass
class Trial:
    """Of one kind of trouble.

    part: its name in the table.  full: everything is to be tried.  seed: of all that is drawn.
    cases: how many were tried.  failures: a sentence each, with what is needed to see it again.
    losses: secrets that were lost.  note: what a reader of the table should know.
    """

    part: str
    full: bool
    seed: int
    cases: int = 0
    failures: list[str] = dataclasses.field(default_factory=list)
    losses: int = 0
    note: str = ""

    def tried(self, case: str, wrong: Iterable[str], losses: int = 0) -> None:
        """Counts a case, and what was wrong in it."""
        self.cases += 1
        self.failures += [f"{case}: {fault}" for fault in wrong]
        self.losses += losses


@dataclasses.dataclass
class Row:
    """The trials of one part."""

    tried: int = 0
    failures: int = 0
    losses: int = 0
    seconds: float = 0
    notes: list[str] = dataclasses.field(default_factory=list)

    def add(self, report, told):
        self.tried += told["cases"]
        # A test that ended in an exception had no time to count it.
        self.failures += len(told["failures"]) or (report.failed and not told["losses"])
        self.losses += told["losses"]
        self.seconds += report.duration
        self.notes += [told["note"]] if told["note"] else []

    def __str__(self):
        took = f"{self.seconds / 60:.1f} min" if self.seconds >= 100 else f"{self.seconds:.0f} s"
        return f"{self.tried:9,}{self.failures:10}{self.losses:8}{took:>10}  {'; '.join(self.notes)}"


def pytest_terminal_summary(terminalreporter):
    parts = {}
    for report in (r for reports in terminalreporter.stats.values() for r in reports):
        told = dict(getattr(report, "user_properties", ()))
        if getattr(report, "when", "") == "call" and "part" in told:
            parts.setdefault(told["part"], Row()).add(report, told)
    if parts:
        terminalreporter.section("what a device must outlive")
        terminalreporter.write_line(f"{'part':12}{'tried':>9}{'failures':>10}{'losses':>8}{'time':>10}")
        for part, row in sorted(parts.items()):
            terminalreporter.write_line(f"{part:12}{row}".rstrip())
