"""Rotten flash in short; python3 -m tools test --full tries it all."""

import pytest
from endure import rot
from endure.rot import Harm, Rot

from tools.cloud import Cloud
from tools.common.vm import find_micropython

pytestmark = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")


def test_rotten_flash_gives_no_wrong_secret_and_no_dead_device():
    told = []
    verdict = rot.run(full=False, tell=told.append)
    assert not verdict.failures, "\n".join([told[0], *verdict.failures])
    assert verdict.cases > 2 * rot.SAMPLE + rot.HARMED and verdict.losses == 0


@pytest.fixture
def bench(tmp_path):
    with Cloud(issued_days_ago=30) as cloud:
        yield Rot(cloud, tmp_path, "ROT")


def test_an_empty_directory_in_the_place_of_a_record_makes_way(bench):
    folders = "; ".join(
        f"folder('/state/{name}')" for name in ("credentials.0", "credentials.1", "schedule.0")
    )
    assert bench.harmed(bench.enrolled(), Harm("directories", folders)) == []


def test_a_secret_that_is_kept_nowhere_is_seen(bench, monkeypatch):
    monkeypatch.setattr(rot, "UNWRITTEN", "something that it does not say")
    harm = Harm("flash that raises", world=rot.WORN.format(errno=5), kept=False)
    assert bench.harmed(bench.enrolled(), harm) == [
        "boot 1: it did not keep its secret, and says nothing",
        "boot 2: it did not keep its secret, and says nothing",
    ]
