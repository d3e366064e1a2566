"""What a device has stored, read from its flash: the newest of two slots that is whole."""

import pytest
from muster.store import FileStore

from tools.common.records import newest


@pytest.fixture
def slots(tmp_path):
    """Two slots as the library writes them, the second one newer."""
    store = FileStore(str(tmp_path / "credentials"))
    for n in (1, 2):
        store.save({"n": n})
    return {f"/state/{path.name}": path.read_bytes() for path in tmp_path.iterdir()}


def test_the_newest_record_is_read(slots):
    assert len(slots) == 2 and newest(slots, "credentials") == {"n": 2}
    assert newest(slots, "schedule") == newest({}, "credentials") == {}


def test_a_slot_that_is_torn_or_rotten_does_not_count(slots):
    newer = max(slots, key=lambda path: slots[path][4:8])
    raw = slots[newer]
    for torn in range(len(raw)):
        assert newest({**slots, newer: raw[:torn]}, "credentials") == {"n": 1}
        assert newest({**slots, newer: raw[:torn] + b"?" + raw[torn + 1 :]}, "credentials") == {"n": 1}
