"""What flash keeps of a device, in records that survive a power cut.

A record is a small dict of JSON values. It has two slots, and a save goes into
the one that does not hold the newest record: a power cut spoils only what was
being written, and the record before it still loads. Saved a second time, a record
stands in both slots, and outlives the loss of either.
"""

import binascii
import os
import struct
from collections import OrderedDict

from . import clock, const, log
from .jsontext import dumps, loads
from .redact import Masked

STATE = "/state/credentials"  # not in /muster: that would hide the library of this name

# A slot holds: CRC-32 of all that follows, sequence number, length of the JSON text, JSON text.
_HEADER_SIZE = const(10)

# Also the most that is ever read of a slot, whatever stands there.
_FILE_SIZE = const(4096)

_MODULUS = const(1 << 32)


def _pack(sequence, text):
    body = struct.pack("<IH", sequence, len(text)) + text
    return binascii.crc32(body).to_bytes(4, "little") + body


def _unpack(raw):
    """Returns (sequence, text, record), or None if no whole record stands in raw."""
    if len(raw) < _HEADER_SIZE:
        return None
    crc, sequence, length = struct.unpack_from("<IIH", raw)
    end = _HEADER_SIZE + length
    if len(raw) < end or binascii.crc32(raw[4:end]) != crc:
        return None
    text = raw[_HEADER_SIZE:end]
    try:
        record = loads(text)
    except ValueError:
        return None
    return (sequence, text, record) if isinstance(record, dict) else None


def _slots(read):
    """(slot, sequence, text, record) of both slots, the newest first; record is None if none stands there."""
    zero, one = [(slot,) + (_unpack(read(slot)) or (0, b"", None)) for slot in (0, 1)]
    # The sequence number wraps: half the circle lies ahead, half behind.
    if zero[3] is None or (one[3] is not None and (one[1] - zero[1]) % _MODULUS < _MODULUS // 2):
        return one, zero
    return zero, one


def save(read, write, record, size, hint):
    """Writes a record into one of two slots, each of at most size bytes; hint is for one that is larger."""
    if not isinstance(record, dict):
        raise ValueError("a record is a dict, unlike %r" % type(record))
    # In one order, since that of a MicroPython dict depends on its history.
    text = dumps(OrderedDict(sorted(record.items())))
    newest, other = _slots(read)
    if text == newest[2] == other[2]:
        return
    length = _HEADER_SIZE + len(text)
    if length > size:
        raise ValueError("the record takes %d bytes, and a slot holds %d: %s" % (length, size, hint))
    slot, sequence = other[0], (newest[1] + 1) % _MODULUS
    raw = _pack(sequence, text)
    try:
        write(slot, raw)
    except OSError:
        # Into the other one, if there is nothing to lose.
        if newest[3] is not None:
            raise
        slot = 1 - slot
        write(slot, raw)
    # As it will be loaded: what could not be read a moment ago may be newer.
    if _slots(read)[0][:3] != (slot, sequence, text):
        raise OSError(
            "the flash did not keep the record: it reads back otherwise; the one before still stands"
        )


def load(read):
    """Returns the newest whole record, or None."""
    record = _slots(read)[0][3]
    return None if record is None else Masked(record)


def erase(read, remove):
    """Removes both slots."""
    newest, other = _slots(read)
    # The newest goes last: cut short, an erase must not bring back the record before.
    for slot in (other[0], newest[0]):
        try:
            remove(slot)
        except OSError:
            pass  # mostly because it is not there
    if _slots(read)[0][3] is not None:
        raise OSError("the record could not be erased: it still loads")


class FileStore:
    """A record in two files, path.0 and path.1, on LittleFS, FAT or a laptop's disk. The default.

    path   without the suffix; its directories are made when missing

    Up to 118 bytes of JSON LittleFS keeps within the directory, and a save
    costs it no block of its own; the limit is 4086. What stands in the way of
    the files or their directories is renamed, with a ~ behind its name.
    """

    def __init__(self, path):
        self.path = path

    def load(self):
        """Returns the newest whole record, a dict that prints without its secrets, or None.

        Never raises for what flash holds.
        """
        return load(self._read)

    def save(self, record):
        """Writes the dict and reads it back.

        Saved again, it goes into the other slot as well; from then on a save of the
        same does nothing. Raises OSError when flash is full or fails, ValueError or
        TypeError for a record too large or no JSON: load() then still returns the one before.
        """
        save(self._read, self._write, record, _FILE_SIZE, "keep less in it")

    def erase(self):
        """Removes the record; OSError if it is still there afterwards."""
        erase(self._read, self._remove)

    def beside(self, name):
        """Returns the store of another record in the same directory."""
        return FileStore(self.path[: self.path.rfind("/") + 1] + name)

    def _slot(self, slot):
        return "%s.%d" % (self.path, slot)

    def _read(self, slot):
        path = self._slot(slot)
        try:
            # read(n) would allocate all of n.
            size = min(os.stat(path)[6], _FILE_SIZE)
            with open(path, "rb") as f:
                return f.read(size)
        except OSError:
            return b""

    def _write(self, slot, raw):
        path = self._slot(slot)
        try:
            _put(path, raw)
        except OSError:
            # No directory yet, or what is none; for anything else the second attempt raises it.
            _make_room(path)
            _put(path, raw)

    def _remove(self, slot):
        os.remove(self._slot(slot))


def _put(path, raw):
    with open(path, "wb") as f:
        f.write(raw)


def _make_room(path):
    at = path.find("/", 1)
    while at > 0:
        _move_aside(path[:at], 0x8000)
        try:
            os.mkdir(path[:at])
        except OSError:
            pass  # it is there
        at = path.find("/", at + 1)
    _move_aside(path, 0x4000)


def _move_aside(path, kind):
    """Renames a file (0x8000) or a directory (0x4000) that stands where the other belongs."""
    try:
        if os.stat(path)[0] & 0xF000 == kind:
            os.rename(path, path + "~")
            log.warning("%s was in the way of a record, and is %s~ now" % (path, path))
    except OSError:
        pass


class Records:
    """The two records of an agent: its credentials, and in a small one beside them its schedule.

    identity   a dict: what the secret is for
    store      muster.Agent's, by default files at STATE
    """

    def __init__(self, identity, store=None):
        if store is None:
            store = FileStore(STATE)
        self._identity = identity
        self._store = store
        self._beside = store.beside("schedule") if hasattr(store, "beside") else None
        # The identity in few bytes, for the small record.
        self._mark = binascii.crc32("\n".join(sorted(identity.values())).encode())

    def load(self):
        """Returns (credentials, schedule), each a dict, or None where flash has none of this identity."""
        record = self._store.load() or {}
        whole = record.get("deviceId") and record.get("deviceSecret")
        if not whole or any(record.get(key) != self._identity[key] for key in self._identity):
            return None, None
        schedule = self._beside.load() if self._beside else record.get("schedule")
        credentials = Masked({key: record[key] for key in record if key != "schedule"})
        self._keep_twice(credentials)
        # Another device's schedule must not hold up this one's first report.
        return credentials, schedule if schedule and schedule.get("of") == self._mark else None

    def keep(self, credentials):
        """Saves the credentials. Returns whether that worked."""
        kept = _kept("secret", self._store, credentials.plain())
        if kept:
            self._keep_twice(credentials)
        return kept

    def _keep_twice(self, credentials):
        """Has them in both slots of a store of muster.store: the loss of one then costs nothing."""
        if self._beside:
            _kept("second copy of the secret", self._store, credentials.plain())

    def keep_schedule(self, state, credentials):
        """Saves what Schedule.state() gave."""
        state = dict(state, of=self._mark)
        if not clock.is_verified():
            state["guess"] = 1  # as a floor, a lie of NTP's would outlast it
        if self._beside:
            _kept("schedule", self._beside, state)
        else:
            _kept("schedule", self._store, dict(credentials.plain(), schedule=state))


def _kept(what, store, record):
    """Saves the record; whether that worked."""
    try:
        store.save(record)
        return True
    except Exception as e:
        log.warning("the %s could not be written to flash: %s" % (what, e))
        return False


def __getattr__(name):
    if name != "NvsStore":
        raise AttributeError(name)
    from .nvs import NvsStore

    return NvsStore
