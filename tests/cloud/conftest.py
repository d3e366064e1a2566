"""A box of its own for each file, well-behaved at the start of each test."""

import time

import pytest
from wire import trusting

from tools.cloud import Cloud


class BoxClock:
    """The box's clock: the computer's, until a test holds it and turns it on."""

    held = None

    def __call__(self):
        return time.time() if self.held is None else self.held


@pytest.fixture(scope="module")
def box_clock():
    return BoxClock()


@pytest.fixture(scope="module")
def box(box_clock):
    with Cloud(now=box_clock) as cloud:
        yield cloud


@pytest.fixture
def cloud(box):
    box.behave()
    yield box
    box.behave()


@pytest.fixture
def clock(cloud, box_clock):
    """The box's clock, held, for what expires and for what has a rate."""
    box_clock.held = time.time()
    yield box_clock
    box_clock.held = None


@pytest.fixture
def session(cloud):
    with trusting(cloud) as session:
        yield session


@pytest.fixture
def get(cloud, session):
    """The text at one of the box's own paths."""
    return lambda path: session.get(cloud.url + path, timeout=10).text
