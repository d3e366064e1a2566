"""The bench's fleet topic: what it counts is what was imported, and what it concludes follows from that."""

import signal

from tools.bench import fleet
from tools.bench.figure import Turns
from tools.cloud import Cloud


def test_both_ways_import_every_device_they_are_timed_with(tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "ALONE", 3)
    with Cloud() as cloud:
        keys = cloud.add_baidu_account("bench", "product", quota=100)
        seconds, memory = fleet.ImportingOperator(cloud, keys, tmp_path).imports(5)
        alone = fleet.one_at_a_time(cloud.url, str(cloud.ca_pem), keys, "alone-")
        arrived = [device["ak"] for device in cloud.baidu_devices()]
        calls = len(cloud.calls("/v2/manage/device"))
    assert arrived == [f"ak-1-{n:06}" for n in range(5)] + [f"ak-alone-{n:06}" for n in range(3)]
    assert calls == 1 + 1 + 3, "a list of all connects the second"
    assert seconds > 0 and alone > 0
    assert memory == 0 or 10e6 < memory < 200e6


def test_ctrl_c_is_not_for_the_process_of_those_that_go_one_at_a_time():
    with fleet.process() as loop:
        assert loop.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_IGN


def test_it_must_be_ten_times_as_fast_and_flat():
    def met(ours, alone, small, large):
        return fleet.figure(Turns([(ours, alone)]), small, large).met

    assert met(1e-4, 1e-3, 50, 55)
    assert not met(1.01e-4, 1e-3, 50, 55)
    assert not met(1e-4, 1e-3, 50, 56)
    assert met(1e-4, 1e-3, 0, 0) is None, "what was not measured is not flat"
