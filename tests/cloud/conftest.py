"""A box of its own for each file, well-behaved at the start of each test."""

import time

import pytest
import requests

from tools.cloud import Cloud


@pytest.fixture(scope="module")
def box():
    with Cloud() as cloud:
        yield cloud


@pytest.fixture
def cloud(box):
    box.behave()
    yield box
    box.behave()


class Clock:
    """Stands still until a test turns it on."""

    def __init__(self):
        self.now = time.time()

    def __call__(self):
        return self.now


@pytest.fixture
def clock(cloud, monkeypatch):
    """The box's clock, for what expires and for what has a rate."""
    clock = Clock()
    monkeypatch.setattr(cloud._state, "now", clock)
    return clock


@pytest.fixture
def session(cloud):
    """A session of requests that trusts the box, and nothing that the environment says."""
    with requests.Session() as session:
        session.trust_env, session.verify = False, str(cloud.ca_pem)
        yield session
