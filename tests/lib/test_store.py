import gc
import os
import struct
import sys

from helpers import logged, raises
from muster import store
from muster.store import FileStore, NvsStore
from nvs_in_ram import Nvs, nvs

A = {"deviceId": "d1", "deviceSecret": "old secret"}
B = {"deviceId": "d1", "deviceSecret": "a new secret, a little longer"}
C = {"deviceId": "d2", "deviceSecret": "the third"}


class Flash:
    """A block device in RAM for MicroPython's file systems; it can remember what is written."""

    def __init__(self, count, size, data=None):
        self.count = count
        self.size = size
        self.data = data or bytearray(count * size)
        self.writes = None

    def readblocks(self, block, buffer, offset=0):
        start = block * self.size + offset
        buffer[:] = memoryview(self.data)[start : start + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        start = block * self.size + offset
        self.data[start : start + len(buffer)] = buffer
        if self.writes is not None:
            self.writes.append((start, bytes(buffer)))

    def ioctl(self, op, arg):
        return self.count if op == 4 else self.size if op == 5 else 0


GEOMETRY = {"VfsLfs2": (16, 4096), "VfsFat": (96, 512)}
mounts = []


def mounted(kind):
    """A directory on a fresh VfsLfs2 or VfsFat, or None on CPython."""
    if sys.implementation.name != "micropython":
        return None
    import vfs

    flash = Flash(*GEOMETRY[kind])
    getattr(vfs, kind).mkfs(flash)
    vfs.mount(getattr(vfs, kind)(flash), "/" + kind)
    mounts.append("/" + kind)
    return "/" + kind


def directories(tmp):
    return [d for d in (tmp, mounted("VfsLfs2"), mounted("VfsFat")) if d]


def put(path, content):
    with open(path, "wb") as f:
        f.write(content)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def test_a_record_comes_back_from_flash(tmp):
    for directory in directories(tmp):
        path = directory + "/muster/credentials"
        s = FileStore(path)
        assert s.load() is None
        for record in (
            A,
            B,
            C,
            {},
            {"name": "\u4e2d\u56fd", "n": [1, None, True, {"x": "\x01"}], "t": 1795305600},
        ):
            s.save(record)
            assert s.load() == record
            assert FileStore(path).load() == record
        assert sorted(os.listdir(directory + "/muster")) == ["credentials.0", "credentials.1"]


def test_all_the_directories_of_a_record_are_made(tmp):
    for directory in directories(tmp):
        s = FileStore(directory + "/maker/a/product/credentials")
        s.save(A)
        s.save(B)
        assert s.load() == B
        assert sorted(os.listdir(directory + "/maker/a/product")) == ["credentials.0", "credentials.1"]


def test_a_slot_costs_ten_bytes_over_its_json(tmp):
    s = FileStore(tmp + "/schedule")
    s.save({"next": 1795305600, "n": 2})
    assert len(get(tmp + "/schedule.0")) == 10 + len('{"n":2,"next":1795305600}')


def test_a_save_of_the_same_writes_nothing(tmp):
    s = FileStore(tmp + "/r")
    s.save(A)
    s.save(B)
    s.save(B)
    before = get(tmp + "/r.0"), get(tmp + "/r.1")
    s.save({k: B[k] for k in reversed(sorted(B))})
    assert (get(tmp + "/r.0"), get(tmp + "/r.1")) == before
    s.save({"deviceId": 1})
    s.save({"deviceId": True})
    assert s.load()["deviceId"] is True


def test_a_record_saved_twice_outlives_either_slot(tmp):
    long = {"deviceSecret": "s" * 1000}
    for directory in directories(tmp):
        for n, records in enumerate(((A,), (A, B), (A, long))):
            path = "%s/%d" % (directory, n)
            s = FileStore(path)
            for record in records:
                s.save(record)
            s.save(records[-1])
            for slot in (0, 1):
                good = get("%s.%d" % (path, slot))
                for bit in range(3, len(good) * 8, 97):
                    rotten = bytearray(good)
                    rotten[bit // 8] ^= 1 << bit % 8
                    put("%s.%d" % (path, slot), rotten)
                    assert s.load() == records[-1], (slot, bit)
                # Saved once more, it is in both again, and the other one was not touched.
                other = get("%s.%d" % (path, 1 - slot))
                s.save(records[-1])
                assert get("%s.%d" % (path, 1 - slot)) == other
                os.remove("%s.%d" % (path, 1 - slot))
                assert s.load() == records[-1]
                s.save(records[-1])


def test_a_slot_that_cannot_be_written_does_not_stop_the_other(tmp):
    for directory in directories(tmp):
        for slot in (0, 1):
            s = FileStore("%s/s%d" % (directory, slot))
            for name in ("%s.%d" % (s.path, slot), "%s.%d~" % (s.path, slot)):
                os.mkdir(name)
                put(name + "/theirs", b"")
            s.save(A)
            assert s.load() == A
            raises(OSError, s.save, A)
            assert s.load() == A


def test_what_stands_in_the_way_is_renamed_and_said(tmp):
    with logged() as lines:
        for directory in directories(tmp):
            put(directory + "/state", b"not ours")
            s = FileStore(directory + "/state/credentials")
            s.save(A)
            assert s.load() == A and get(directory + "/state~") == b"not ours"
            os.mkdir(directory + "/state/credentials.1")
            put(directory + "/state/credentials.1/theirs", b"")
            s.save(A)
            assert os.listdir(directory + "/state/credentials.1~") == ["theirs"]
            assert len(get(directory + "/state/credentials.1")) == len(
                get(directory + "/state/credentials.0")
            )
            assert len(lines) == 2 and directory + "/state was in the way" in lines[0], lines
            assert "/state/credentials.1 was in the way" in lines[1]
            lines.clear()


def test_a_write_torn_at_any_byte_leaves_the_record_before(tmp):
    for directory in directories(tmp):
        path = directory + "/r"
        s = FileStore(path)
        s.save(A)
        s.save(B)
        old = get(path + ".0")
        s.save(C)
        new = get(path + ".0")
        for n in range(len(new)):
            put(path + ".0", new[:n])
            assert s.load() == B
            # In place, over the record that the slot held before.
            torn = new[:n] + old[n:]
            if torn != new:
                put(path + ".0", torn)
                assert s.load() in ((A, B) if torn == old else (B,))
        # And it is repaired by the next save, which must not touch B.
        put(path + ".0", new[:-1])
        kept = get(path + ".1")
        s.save(C)
        assert s.load() == C and get(path + ".1") == kept


def test_a_first_write_torn_at_any_byte_is_no_record(tmp):
    s = FileStore(tmp + "/r")
    s.save(A)
    whole = get(tmp + "/r.0")
    for n in range(len(whole)):
        put(tmp + "/r.0", whole[:n])
        assert s.load() is None
    s.save(B)
    assert s.load() == B


def test_any_flipped_bit_in_the_newest_slot_gives_the_record_before(tmp):
    for newest in (0, 1):
        path = "%s/%d" % (tmp, newest)
        s = FileStore(path)
        if newest == 0:
            s.save(C)
        s.save(A)
        s.save(B)
        slot = "%s.%d" % (path, newest)
        good = get(slot)
        assert s.load() == B
        for bit in range(len(good) * 8):
            rotten = bytearray(good)
            rotten[bit // 8] ^= 1 << bit % 8
            put(slot, rotten)
            assert s.load() == A, bit


def test_flipped_bits_in_both_slots_give_no_record_and_in_the_older_one_nothing_changes(tmp):
    s = FileStore(tmp + "/r")
    s.save(A)
    s.save(B)
    good = get(tmp + "/r.0"), get(tmp + "/r.1")
    for bit in range(0, len(good[0]) * 8, 3):
        rotten = bytearray(good[0])
        rotten[bit // 8] ^= 1 << bit % 8
        put(tmp + "/r.0", rotten)
        put(tmp + "/r.1", good[1])
        assert s.load() == B
        rotten = bytearray(good[1])
        rotten[bit * 5 // 8 % len(rotten)] ^= 1 << bit % 8
        put(tmp + "/r.1", rotten)
        assert s.load() is None


def test_load_survives_whatever_stands_there(tmp):
    s = FileStore(tmp + "/r")
    for content in (
        b"",
        b"\x00",
        bytes(10),
        b"\xff" * 2000,
        bytes(4096),
        b'{"deviceId": "d1"}',
        store._pack(1, b"[1]"),
        store._pack(1, b'{"a":'),
        store._pack(1, b'{"a":"\xff"}') if sys.implementation.name == "cpython" else b"",
        store._pack(1, b"{}")[:8] + struct.pack("<H", 65535) + b"{}",
    ):
        put(tmp + "/r.0", content)
        put(tmp + "/r.1", content)
        assert s.load() is None, content
        s.save(A)
        assert s.load() == A
    os.remove(tmp + "/r.0")
    os.remove(tmp + "/r.1")
    os.mkdir(tmp + "/r.1")
    put(tmp + "/r.1/theirs", b"")
    assert s.load() is None
    s.save(B)
    assert s.load() == B
    s.save(C)
    assert s.load() == C and os.listdir(tmp + "/r.1~") == ["theirs"]


def test_an_empty_directory_makes_way_for_a_record(tmp):
    for directory in directories(tmp):
        s = FileStore(directory + "/r")
        for slot in (0, 1):
            os.mkdir("%s/r.%d" % (directory, slot))
        for record in (A, B):
            s.save(record)
            assert s.load() == record


def test_a_huge_file_is_not_read(tmp, disk):
    s = FileStore(tmp + "/r")
    with open(tmp + "/r.0", "wb") as f:
        for _ in range(256):
            f.write(bytes(4096))
    assert s.load() is None
    assert len(s._read(0)) <= 4096


def test_the_sequence_number_wraps(tmp):
    s = FileStore(tmp + "/r")
    put(tmp + "/r.0", store._pack(0xFFFFFFFE, b'{"n":-2}'))
    assert s.load() == {"n": -2}
    for n in range(-1, 4):
        s.save({"n": n})
        assert s.load() == {"n": n}
    for older, newer in ((0xFFFFFFFF, 0), (0x7FFFFFFF, 0x80000000), (0, 1), (0xFFFFFFFF, 1)):
        for slot in (0, 1):
            put("%s/r.%d" % (tmp, slot), store._pack(older, b'{"n":"older"}'))
            put("%s/r.%d" % (tmp, 1 - slot), store._pack(newer, b'{"n":"newer"}'))
            assert s.load() == {"n": "newer"}


def test_a_write_that_does_not_read_back_is_an_error(tmp):
    s = FileStore(tmp + "/r")
    s.save(A)
    write = s._write
    s._write = lambda slot, raw: write(slot, raw[:-1] + b"?")
    assert "reads back" in str(raises(OSError, s.save, B))
    s._write = lambda slot, raw: None
    raises(OSError, s.save, B)
    assert s.load() == A


def test_a_save_is_an_error_when_what_stood_there_could_not_be_read(tmp):
    s = FileStore(tmp + "/r")
    for record in (A, B, A):
        s.save(record)
    read, fails = s._read, [5, 5]

    def blind(slot):
        return b"" if fails and fails.pop() else read(slot)

    # It seemed to be the first record, and is older than the one beside it.
    s._read = blind
    assert "reads back" in str(raises(OSError, s.save, C))
    s.save(C)
    assert s.load() == C


def test_a_record_too_large_is_refused_and_the_old_one_kept(tmp):
    s = FileStore(tmp + "/r")
    s.save({"x": "y" * (4096 - 10 - 8)})
    assert len(s.load()["x"]) == 4078
    assert "4097 bytes" in str(raises(ValueError, s.save, {"x": "y" * 4079}))
    raises(ValueError, s.save, {"x": "y" * 70000})
    assert len(s.load()["x"]) == 4078
    for value in ({1}, b"x", float("nan"), "\ud83d"):
        assert "JSON" in str(raises((TypeError, ValueError), s.save, {"x": value}))
    assert len(s.load()["x"]) == 4078


def test_a_full_file_system_keeps_the_old_record(tmp):
    for kind in ("VfsLfs2", "VfsFat"):
        directory = mounted(kind)
        if directory is None:
            return
        s = FileStore(directory + "/muster/credentials")
        schedule = s.beside("schedule")
        # Long enough not to fit into the directory's own block.
        s.save({"deviceSecret": "s" * 300})
        schedule.save({"next": 1})
        full = False
        n = 0
        try:
            while True:
                put("%s/fill%d" % (directory, n), bytes(512))
                n += 1
        except OSError:
            full = True
        assert full and n
        failed = raises(OSError, s.save, {"deviceSecret": "t" * 700})
        assert failed.errno == 28, failed
        assert s.load() == {"deviceSecret": "s" * 300}
        assert schedule.load() == {"next": 1}
        os.remove(directory + "/fill0")
        for i in range(1, 4):
            os.remove("%s/fill%d" % (directory, i))
        s.save({"deviceSecret": "t" * 700})
        assert s.load() == {"deviceSecret": "t" * 700}


def saved_over(kind, records):
    """Saves the records on a fresh file system; returns the image before the last save and its writes."""
    import vfs

    flash = Flash(*GEOMETRY[kind])
    getattr(vfs, kind).mkfs(flash)
    vfs.mount(getattr(vfs, kind)(flash), "/saved")
    s = FileStore("/saved/muster/record")
    for record in records[:-1]:
        s.save(record)
    image = bytes(flash.data)
    flash.writes = []
    s.save(records[-1])
    assert s.load() == records[-1]
    vfs.umount("/saved")
    return image, flash.writes


def test_a_small_record_costs_littlefs_one_write():
    if sys.implementation.name != "micropython":
        return
    _, writes = saved_over("VfsLfs2", [{"next": 1795305600 + n, "failures": 0} for n in range(4)])
    assert len(writes) == 1 and len(writes[0][1]) <= 128, writes


def test_power_cut_at_every_write_leaves_the_old_record_or_the_new_one():
    if sys.implementation.name != "micropython":
        return
    import vfs

    for kind in ("VfsLfs2", "VfsFat"):
        for size in (20, 600):
            old, new = {"s": "o" * size}, {"s": "n" * size}
            image = writes = data = None  # the last ones are large
            gc.collect()
            image, writes = saved_over(kind, [{"s": "first"}, old, new])
            seen = []
            for cut in range(len(writes)):
                for part in (0, 1, len(writes[cut][1]) // 2):
                    data = bytearray(image)
                    for start, buffer in writes[:cut]:
                        data[start : start + len(buffer)] = buffer
                    start, buffer = writes[cut]
                    data[start : start + part] = buffer[:part]
                    vfs.mount(getattr(vfs, kind)(Flash(*GEOMETRY[kind], data=data)), "/cut")
                    s = FileStore("/cut/muster/record")
                    found = s.load()
                    assert found in (old, new), (kind, size, cut, part)
                    s.save({"s": "after"})
                    assert s.load() == {"s": "after"}
                    vfs.umount("/cut")
                    seen.append(found)
            assert old in seen


def test_beside_is_another_record_in_the_same_directory(tmp):
    s = FileStore(tmp + "/credentials")
    schedule = s.beside("schedule")
    s.save(A)
    schedule.save({"next": 1})
    before = get(tmp + "/credentials.0")
    schedule.save({"next": 2})
    assert s.load() == A and schedule.load() == {"next": 2}
    assert get(tmp + "/credentials.0") == before
    assert sorted(os.listdir(tmp)) == ["credentials.0", "schedule.0", "schedule.1"]
    assert FileStore("credentials").beside("schedule").path == "schedule"
    assert FileStore("/credentials").beside("schedule").path == "/schedule"


def test_erase(tmp):
    s = FileStore(tmp + "/r")
    s.erase()
    for records in ((A,), (A, B), (A, B, C)):
        for record in records:
            s.save(record)
        s.erase()
        assert s.load() is None and os.listdir(tmp) == []


def test_an_erase_cut_short_does_not_bring_back_the_record_before(tmp):
    s = FileStore(tmp + "/r")
    for records in ((A, B), (A, B, C)):
        for record in records:
            s.save(record)
        remove = s._remove
        removed = []

        def power_cut(slot, remove=remove, removed=removed):
            if removed:
                raise OSError(5)
            removed.append(slot)
            remove(slot)

        s._remove = power_cut
        assert "erased" in str(raises(OSError, s.erase))
        assert s.load() == records[-1]
        s._remove = remove
        s.erase()


def teardown_function(_):
    sys.modules.pop("esp32", None)
    while mounts:
        import vfs

        vfs.umount(mounts.pop())


def test_nvs_keeps_a_record():
    space = nvs()
    s = NvsStore("muster")
    assert s.load() is None
    for record in (A, B, C, {"name": "\u4e2d"}):
        s.save(record)
        # Another handle sees only what was committed.
        assert NvsStore("muster").load() == record
    assert [len(space[key]) for key in space] == [512, 512]
    s.erase()
    assert s.load() is None and space == {}


def test_nvs_blobs_torn_and_rotten_give_the_record_before():
    space = nvs()
    s = NvsStore("muster")
    s.save(A)
    s.save(B)
    whole = space["record.1"]
    for n in range(10 + len('{"deviceId":"d1","deviceSecret":"a new secret, a little longer"}')):
        space["record.1"] = whole[:n]
        assert s.load() == A
        rotten = bytearray(whole)
        rotten[n] ^= 1 << n % 8
        space["record.1"] = bytes(rotten)
        assert s.load() == A
    space["record.1"] = bytes(513)
    assert s.load() == A
    s.save(C)
    assert s.load() == C


def test_nvs_records_stand_beside_each_other_over_one_handle():
    space = nvs()
    s = NvsStore("muster")
    schedule = s.beside("schedule")
    s.save(A)
    schedule.save({"next": 1})
    before = space["record.0"]
    schedule.save({"next": 2})
    assert s.load() == A and schedule.load() == {"next": 2} and space["record.0"] is before
    assert Nvs.opened == 1
    assert all(len(key) <= 15 for key in space)


def test_nvs_limits():
    nvs()
    s = NvsStore("muster")
    s.save({"x": "y" * 494})
    assert s.load() == {"x": "y" * 494}
    refused = str(raises(ValueError, s.save, {"x": "y" * 1000}))
    assert "1018 bytes" in refused and "512" in refused and '"store": "file"' in refused
    assert "513 bytes" in str(raises(ValueError, s.save, {"x": "y" * 495}))
    assert s.load() == {"x": "y" * 494}
    assert "15 and 13" in str(raises(ValueError, NvsStore, "a" * 16))
    assert "15 and 13" in str(raises(ValueError, s.beside, "a" * 14))
    s.beside("a" * 13).save(A)


def test_nvs_save_that_fails_keeps_the_record():
    nvs()
    s = NvsStore("muster")
    s.save(A)

    def full(key, value):
        raise OSError(-4357, "ESP_ERR_NVS_NOT_ENOUGH_SPACE")

    s._nvs.set_blob = full
    raises(OSError, s.save, B)
    assert s.load() == A


def test_a_chip_s_own_nvs_keeps_a_record():
    try:
        from esp32 import NVS
    except ImportError:
        return  # a laptop has none
    s = NvsStore("muster-test", _nvs=NVS("muster-test"))
    assert s.load() is None
    for record in (A, B, C):
        s.save(record)
        assert NvsStore("muster-test", _nvs=NVS("muster-test")).load() == record
    s.erase()
    assert s.load() is None
