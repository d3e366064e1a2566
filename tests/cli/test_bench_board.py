"""The bench's board topic: its counts are right, and those that are targets hold."""

import os
import pty
import tty

import pytest

from tools.bench import board
from tools.bench.line import SlowLine
from tools.common.vm import find_micropython

pytestmark = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return board.BoardBench(tmp_path_factory.mktemp("bench"), baud=10_000_000)


def test_a_heartbeat_takes_flash_no_more_than_a_json_file_and_three_programs(bench):
    told = bench.heartbeats(70)
    assert board.flash_figure(told).met
    for way, heartbeats in told.items():
        assert len(heartbeats) == 70
        for programs, _, count in heartbeats:
            assert programs and count <= 128 * programs, way
        # Each has tidied its directory at least once.
        assert any(erases for _, erases, _ in heartbeats), way


def test_a_record_that_took_four_programs_or_more_than_the_file_would_be_seen():
    def met(ours, theirs):
        return board.flash_figure({"agent": ours, "rewrite": theirs, "rename": theirs}).met

    assert met([(1, 0, 96), (1, 0, 96), (3, 1, 300)], [(1, 0, 96)] * 3)
    assert not met([(1, 0, 96), (1, 0, 96), (4, 1, 400)], [(1, 0, 96)] * 3)
    assert not met([(2, 0, 192)] * 3, [(1, 0, 96)] * 3)


def test_a_line_carries_and_counts_every_byte_both_ways_and_for_each_who_opens_it():
    sent = [bytes(range(256)) * 5, b"\x04\x03\x11\x13", b"last"]
    ours, its = pty.openpty()
    tty.setraw(its)
    with SlowLine(os.ttyname(its), baud=10_000_000) as line:
        for data in sent:
            held = os.open(line.port, os.O_RDWR | os.O_NOCTTY)
            os.write(held, data)
            assert read(ours, len(data)) == data
            os.write(ours, data[::-1])
            assert read(held, len(data)) == data[::-1]
            os.close(held)
    assert line.bytes == 2 * sum(map(len, sent))
    os.close(ours)
    os.close(its)


def read(fd, size):
    data = b""
    while len(data) < size:
        data += os.read(fd, size - len(data))
    return data


def test_what_goes_over_the_line_is_less_than_the_files_and_little_more_with_esptool(bench):
    content = sum(map(len, bench.files.values()))
    _, by_deploy = bench.deploy()
    _, by_flash = bench.flash()
    assert by_deploy < 0.9 * content
    assert by_flash < 1.3 * content


def test_the_verdicts_follow_from_the_seconds():
    def written(deploy, mpremote, ampy):
        turn = {"deploy": (deploy, 1), "flash": (1.0, 1), "mpremote": (mpremote, 1), "cp -r": (1.0, 1)}
        return board.written_figure([turn], (ampy, 1)).met

    assert written(1.0, 5.0, 20.0)
    assert not written(1.0, 4.9, 20.0) and not written(1.0, 5.0, 19.9)
    assert board.rack_figure(1.0, 1.6).met and not board.rack_figure(1.0, 1.7).met
