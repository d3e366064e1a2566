"""What a device must outlive, as a plugin of pytest: a count of what was tried, and the table at the end.

A test asks for `trial`, adds to its cases, failures and losses, and need assert nothing more. By itself it is
short, with a fixed seed; `python3 -m tools test --full` tries everything, with a fresh seed, and also the
tests that are marked `full`.
"""

import dataclasses
import os
from collections.abc import Iterable

import pytest

FULL_S = 3 * 3600  # of one test in its full form: it bounds what hangs, not what is slow


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


@pytest.fixture
def trial(request):
    part = request.path.stem.removeprefix("test_")
    return Trial(part, request.config.getoption("full"), int(os.environ["MUSTER_SEED"]))


def pytest_addoption(parser):
    parser.addoption(
        "--full", action="store_true", help="tries all that a device must outlive, with a fresh seed"
    )


def pytest_configure(config):
    config.addinivalue_line("markers", "full: tried with --full only")


def pytest_collection_modifyitems(config, items):
    full = config.getoption("full")
    left_out = [item for item in items if item.get_closest_marker("full") and not full]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    for item in items:
        if full and "trial" in item.fixturenames:
            item.add_marker(pytest.mark.timeout(FULL_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    trial = item.funcargs.get("trial")
    try:
        result = yield
    finally:
        if trial is not None:
            # Reaches the table from another process, and the file of --junitxml.
            item.user_properties += [(name, value) for name, value in vars(trial).items() if name != "full"]
    if trial is not None and (trial.failures or trial.losses):
        lost = [f"{trial.losses} secrets were lost"] if trial.losses else []
        pytest.fail("\n".join([*trial.failures, *lost]), pytrace=False)
    return result


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
        return f"{self.tried:9,}{self.failures:10}{self.losses:8}{took:>10}  {'; '.join(self.notes)}".rstrip()


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
            terminalreporter.write_line(f"{part:12}{row}")
