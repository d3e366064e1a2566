"""What flash keeps of a device: its credentials, and in a small record beside them its schedule."""

import binascii

from . import clock, log
from .redact import Masked

STATE = "/state/credentials"  # not in /muster: that would hide the library of this name


class Records:
    """identity is a dict: what the secret is for. store is muster.Agent's, by default files at STATE."""

    def __init__(self, identity, store=None):
        if store is None:
            from .store import FileStore

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
