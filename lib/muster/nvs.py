"""Records in an ESP32's NVS partition, two slots each, as muster.store keeps them in files."""

from . import const

_BLOB_SIZE = const(512)


class NvsStore:
    """A record in two blobs of the ESP32's NVS partition.

    Use it where the file system may be formatted or rewritten while the device
    must keep its identity. Otherwise take FileStore: the firmware erases the
    whole NVS partition at boot when it finds it full or of another version.

    namespace   at most 15 characters
    name        of the record, at most 13 characters

    The limit is 502 bytes of JSON.
    """

    def __init__(self, namespace, name="record", _nvs=None):
        if not 0 < len(namespace) <= 15 or not 0 < len(name) <= 13:
            raise ValueError(
                "NVS namespace %r, record %r: expected at most 15 and 13 characters" % (namespace, name)
            )
        if _nvs is None:
            from esp32 import NVS

            _nvs = NVS(namespace)
        self._namespace = namespace
        self._name = name
        self._nvs = _nvs

    # Each loads what it needs of muster.store: an agent keeps the object, and not that code.

    def load(self):
        """As FileStore.load."""
        from .store import load

        return load(self._read)

    def save(self, record):
        """As FileStore.save."""
        from .store import save

        save(self._read, self._write, record, _BLOB_SIZE, 'keep it in files ("store": "file")')

    def erase(self):
        """As FileStore.erase."""
        from .store import erase

        erase(self._read, self._remove)

    def beside(self, name):
        """Returns the store of another record in the same namespace, over the same handle."""
        return NvsStore(self._namespace, name, self._nvs)

    def _key(self, slot):
        return "%s.%d" % (self._name, slot)

    def _read(self, slot):
        blob = bytearray(_BLOB_SIZE)
        try:
            return bytes(blob[: self._nvs.get_blob(self._key(slot), blob)])
        except OSError:
            return b""

    def _write(self, slot, raw):
        # Always the same length, so that a blob fits where the one before it was.
        self._nvs.set_blob(self._key(slot), raw + bytes(_BLOB_SIZE - len(raw)))
        self._nvs.commit()

    def _remove(self, slot):
        self._nvs.erase_key(self._key(slot))
        self._nvs.commit()
