"""The counts of `python3 -m tools bench --only wire`; what it times, no test can hold it to."""

import json

import pytest

from tools.bench import wire
from tools.common.vm import find_micropython

pytestmark = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")

# Around what one record of TLS 1.2 with AES-GCM holds: its header, a nonce, a tag.
AROUND = 5 + 8 + 16


def test_a_heartbeat_is_one_record_and_the_peers_is_the_same_in_many():
    (ours, theirs), told = wire.exchange(1)
    assert (ours.records, ours.wire_bytes) == (1, len(ours.plain) + AROUND)
    assert ours.wire_bytes <= wire.MOST_BYTES
    assert theirs.records > 10 and theirs.wire_bytes == len(theirs.plain) + theirs.records * AROUND
    assert theirs.last and not ours.last
    assert ours.body == theirs.body and told["answers"][0] == told["answers"][1]
    sent = json.loads(ours.body)
    assert sent["deviceId"] == "123456789" and sent["params"]["innerIp"] == ["10.229.111.172", "192.168.1.7"]
    assert b"\r\nHost: ivs.chinamobiledevice.com:11443\r\n" in ours.plain
