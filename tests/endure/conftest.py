"""What a device must outlive: the fixture that counts what was tried, and the table of it at the end.

A test here asks for `trial`, adds to its cases, failures and losses, and need assert nothing more. By itself
it is short, with a fixed seed; `python3 -m tools test --full` tries everything, with a fresh seed.
"""

import dataclasses

import pytest

from tools.cli.verdict import SEED

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


@pytest.fixture
def trial(request):
    part = request.path.stem.removeprefix("test_")
    return Trial(part, request.config.getoption("full"), SEED)


def pytest_collection_modifyitems(config, items):
    if config.getoption("full"):
        for item in items:
            if "trial" in item.fixturenames:
                item.add_marker(pytest.mark.timeout(FULL_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    try:
        return (yield)
    finally:
        trial = item.funcargs.get("trial")
        if trial is not None:
            # Reaches the table below from another process, and the file of --junitxml.
            item.user_properties += [(name, value) for name, value in vars(trial).items() if name != "full"]
            if trial.failures or trial.losses:
                pytest.fail("\n".join([*trial.failures, f"{trial.losses} secrets were lost"]), pytrace=False)


def pytest_terminal_summary(terminalreporter):
    parts = {}
    for report in (r for reports in terminalreporter.stats.values() for r in reports):
        told = dict(getattr(report, "user_properties", ()))
        if getattr(report, "when", "") == "call" and "part" in told:
            row = parts.setdefault(
                told["part"], {"tried": 0, "failures": 0, "losses": 0, "s": 0, "notes": []}
            )
            row["tried"] += told["cases"]
            row["failures"] += len(told["failures"])
            row["losses"] += told["losses"]
            row["s"] += report.duration
            row["notes"] += [told["note"]] if told["note"] else []
    if parts:
        terminalreporter.section("what a device must outlive")
        write = terminalreporter.write_line
        write(f"{'part':12}{'tried':>9}{'failures':>10}{'losses':>8}{'time':>9}")
        for part, row in sorted(parts.items()):
            time = f"{row['s'] / 60:.1f} min" if row["s"] >= 100 else f"{row['s']:.0f} s"
            write(
                f"{part:12}{row['tried']:9,}{row['failures']:10}{row['losses']:8}{time:>9}  "
                + "; ".join(row["notes"])
            )
