"""What a device must outlive: the fixture that counts what was tried, and what every part of it uses.

A test here asks for `trial`, adds to its cases, failures and losses, and need assert nothing more. By itself
it is short, with a fixed seed; `python3 -m tools test --full` tries everything, with a fresh seed, and also
the tests that are marked `full`. trials.py prints the table of all parts at the end.
"""

import os

import pytest
from devices import DEVICE
from endure.lab import SECOND, Lab
from endure.trials import Trial

from tools.cloud import Cloud

FULL_S = 3 * 3600  # of one test in its full form: it bounds what hangs, not what is slow


@pytest.fixture
def trial(request):
    part = request.path.stem.removeprefix("test_")
    return Trial(part, request.config.getoption("full"), int(os.environ["MUSTER_SEED"]))


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Cloud([DEVICE, SECOND], issued_days_ago=30) as cloud:
        yield Lab(cloud, tmp_path_factory.mktemp("lab"))


def pytest_configure(config):
    config.addinivalue_line("markers", "full: tried with --full only")


def pytest_collection_modifyitems(config, items):
    full = config.getoption("full")
    left_out = [item for item in items if item.get_closest_marker("full") and not full]
    if left_out:
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
