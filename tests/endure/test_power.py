"""Power cuts in short; python3 -m tools test --full tries them all."""

import struct
import zlib

import pytest
from endure import lab as power
from endure.lab import Bench, newest

from tools.cli.verdict import SEED
from tools.cloud import Cloud
from tools.common.vm import find_micropython

pytestmark = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")


@pytest.fixture
def bench(tmp_path):
    with Cloud(issued_days_ago=30) as cloud:
        yield Bench(cloud, tmp_path, "POWER")


def test_a_power_cut_at_any_flash_operation_loses_nothing():
    told = []
    verdict = power.run(full=False, tell=told.append)
    assert not verdict.failures, "\n".join([told[0], *verdict.failures])
    assert verdict.note == f"seed {SEED}; flash operations cut: first boot 15, heartbeat 1"
    # Some of a first boot's and a heartbeat's one, a deeper one for either, and those of FAT.
    assert verdict.cases == power.SAMPLE + 1 + 2 + 5 and verdict.losses == 0


def test_a_token_is_renewed_without_a_flash_operation(bench):
    assert bench.token_renewal() == []


def slot(sequence, text):
    body = struct.pack("<IH", sequence, len(text)) + text
    return struct.pack("<I", zlib.crc32(body)) + body


def test_only_whole_records_count():
    old, new = slot(1, b'{"n":1}'), slot(2, b'{"n":2}')
    assert newest({"/state/r.0": old, "/state/r.1": new}, "r") == {"n": 2}
    for torn in range(len(new)):
        assert newest({"/state/r.0": old, "/state/r.1": new[:torn]}, "r") == {"n": 1}
        assert newest({"/state/r.1": new[:torn] + b"?" + new[torn + 1 :]}, "r") is None


def test_a_wrong_secret_on_flash_is_seen(bench, monkeypatch):
    text = bench.enrolled().files["/state/credentials.0"][10:]
    wrong_secret = slot(9, text.replace(b'"deviceSecret":"', b'"deviceSecret":"f'))
    scenario = bench.re_enrolment()
    boots = Bench.boots

    def spoils(self, scenario, board, first, before):
        lasted = boots(self, scenario, board, first, before)
        board.stop()
        files = {**board.files(), "/state/credentials.1": wrong_secret}
        board.flash.write(power.littlefs.build(files, power.BLOCKS, 0))
        return lasted

    monkeypatch.setattr(Bench, "boots", spoils)
    wrong, losses = bench.live(scenario, [(1, 1.0)])
    assert wrong == ["boot 1: its credentials are neither those before nor the new ones"] and losses == 1


def test_a_cut_that_does_not_come_is_seen(bench):
    wrong, _ = bench.live(bench.first_boot(), [(1000, 1.0)])
    assert wrong == ["boot 1: the power did not go"]
