"""The bench's update topic: what it counts is counted, and what is a target holds."""

import pytest

from tools.bench import programs, update
from tools.cloud import Cloud
from tools.common.vm import find_micropython

in_the_vm = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")


@pytest.fixture
def bench(tmp_path):
    (tmp_path / "release").mkdir()
    with Cloud(release=tmp_path / "release") as cloud, update.Relay(cloud.url) as relay:
        yield update.UpdateBench(tmp_path, cloud, relay)


@in_the_vm
def test_an_update_of_all_costs_more_than_one_of_a_file_and_no_more_than_it_may(bench):
    one, every = bench.take(False), bench.take(True)
    assert one.files == 1 and every.files > 40
    size = sum(path.stat().st_size for path in (bench.folder / "release").iterdir())
    assert 5000 < one.bytes < every.bytes / 4 and every.bytes > size / 2
    assert all(0 < one.told[move] < every.told[move] for move in update.MOVES)
    most = {"stage": 21, "move": 4.3, "confirm": 1.4, "back": 1.6}
    assert all(every.told[move] <= most[move] * every.files for move in most), every.told
    assert len(every.told["signature"]) == len(every.told["manifest"]) == update.VERIFIED


@in_the_vm
def test_a_device_takes_a_release_on_the_bare_vm(bench, monkeypatch):
    tried = []

    def once(program, request, paths):
        tried.append(program)
        programs.run(program, request, paths, 1 << 20)
        return len(tried)

    monkeypatch.setattr(update, "least_heap", once)
    reports, takes, [report, first, second] = bench.heaps()
    assert (reports, takes) == (1, 2) and tried == ["memory_report", "memory_release"]
    assert 0 < first - report < 2000 and second - first < 100
    assert len(list((bench.folder / "flash" / "update").glob("*.*"))) > 40


def test_the_code_of_updates_grows_no_more():
    sizes = update.code()
    assert int(sizes.found.split()[0].replace(",", "")) <= 11_800
