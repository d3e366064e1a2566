"""The box's NTP, judged by struct."""

import socket
import struct
import threading
import time

import pytest
from wire import wait_until

from tools.cloud.ntp import Ntp

FROM_1900 = 2208988800
QUESTION = struct.pack("!B39xII", 0b00_100_011, 0xDEADBEEF, 0x12345678)  # version 4, client


def ask(ntp, question=QUESTION, timeout=10.0):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout)
        client.sendto(question, ntp.address)
        return client.recv(512)


@pytest.mark.parametrize("offset", [0, -3600, 86400.5])
def test_ntp_reply(offset):
    with Ntp(offset_s=offset) as ntp:
        before = time.time()
        reply = ask(ntp)
        after = time.time()
        assert ntp.requests == 1
    assert len(reply) == 48
    first, stratum, poll, precision, delay, dispersion, identifier, *stamps = struct.unpack(
        "!BBbbII4s8I", reply
    )
    assert (first >> 6, first >> 3 & 7, first & 7) == (0, 4, 4), "no leap second, version 4, server"
    assert (stratum, identifier) == (2, socket.inet_aton("127.0.0.1"))
    assert (delay, dispersion) == (0, 0) and precision < 0 < poll
    assert stamps[2:4] == [0xDEADBEEF, 0x12345678]
    received, sent = (stamps[i] - FROM_1900 + stamps[i + 1] / 2**32 for i in (4, 6))
    assert before - 0.001 <= received - offset <= sent - offset <= after + 0.001


def test_ntp_answers_in_the_version_that_was_asked_and_only_clients():
    with Ntp() as ntp:
        assert ask(ntp, b"\x1b" + 47 * b"\0")[0] == 0x1C
        for nothing in (b"", b"\x23" * 40, b"\x24" + 47 * b"\0"):
            with pytest.raises(TimeoutError):
                ask(ntp, nothing, timeout=0.1)
        assert len(ask(ntp)) == 48


def test_ntp_lies():
    with Ntp(stratum=0) as ntp:
        reply = ask(ntp)
        assert reply[1] == 0 and reply[12:16] == b"RATE"
        ntp.stratum, ntp.wrong_originate = 2, True
        reply = ask(ntp)
        assert reply[1] == 2 and reply[24:32] != QUESTION[40:48]
        ntp.silent = True
        with pytest.raises(TimeoutError):
            ask(ntp, timeout=0.1)
        wait_until(lambda: ntp.requests == 3)


def test_ntp_leaves_nothing_behind():
    threads = threading.active_count()
    with Ntp() as ntp:
        pass
    assert threading.active_count() == threads
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(ntp.address)
