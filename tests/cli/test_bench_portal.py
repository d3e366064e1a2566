"""The bench's portal topic: what it counts is counted, and what it takes grows no more."""

import pytest

from tools.bench import portal
from tools.common.vm import find_micropython


@pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")
def test_a_page_is_opened_twice_and_visited():
    told, took = portal.visited(portal.CLIENTS, 2)
    assert len(took) == 2 and told["stall"] > 0
    assert 10_000 < told["import"] <= 19_500 and 1000 < told["heap"] <= 7_500
    assert portal.heap(told).met


def test_its_files_grow_no_more():
    assert int(portal.code(0).found.split()[0].replace(",", "")) <= 11_200
