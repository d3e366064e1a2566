"""The ESP32's non-volatile storage.

Source: the library reference ("Failure to call commit results in changes being lost at the next reset"),
ports/esp32/esp32_nvs.c of MicroPython, and ESP-IDF's nvs.h for the names, the sizes and the errors.
"""

import binascii
import json

import _board

_NOT_FOUND = 0x1102
_NOT_ENOUGH_SPACE = 0x1105
_INVALID_NAME = 0x1106
_KEY_TOO_LONG = 0x1109
_INVALID_LENGTH = 0x110C

_NAMES = {
    _NOT_FOUND: "ESP_ERR_NVS_NOT_FOUND",
    _NOT_ENOUGH_SPACE: "ESP_ERR_NVS_NOT_ENOUGH_SPACE",
    _INVALID_NAME: "ESP_ERR_NVS_INVALID_NAME",
    _KEY_TOO_LONG: "ESP_ERR_NVS_KEY_TOO_LONG",
    _INVALID_LENGTH: "ESP_ERR_NVS_INVALID_LENGTH",
}

# The default partition has six pages of 126 entries of 32 bytes; one page is kept free to move entries to.
_ENTRIES = 5 * 126

_values = None


def _fail(code):
    raise OSError(-code, _NAMES[code])


def _entries(value):
    """A blob takes an index, a header and its bytes."""
    return 1 if isinstance(value, int) else 2 + (len(value) // 2 + 31) // 32


class NVS:
    """A namespace of integers and blobs. Every handle sees what any has set; only commit() makes it last."""

    def __init__(self, namespace):
        global _values
        if not 0 < len(namespace) <= 15:
            _fail(_INVALID_NAME)
        if _values is None:
            _values = json.loads(_board.read("nvs") or b"{}")
        self._prefix = namespace + "/"

    def _key(self, key):
        if not 0 < len(key) <= 15:
            _fail(_KEY_TOO_LONG)
        return self._prefix + key

    def _set(self, key, value):
        key = self._key(key)
        used = sum([_entries(_values[k]) for k in _values if k != key])
        if used + _entries(value) > _ENTRIES:
            _fail(_NOT_ENOUGH_SPACE)
        _values[key] = value

    def _get(self, key, kind):
        value = _values.get(self._key(key))
        if not isinstance(value, kind):
            _fail(_NOT_FOUND)
        return value

    def set_i32(self, key, value):
        if not -0x80000000 <= value <= 0x7FFFFFFF:
            raise OverflowError("overflow converting long int to machine word")
        self._set(key, value)

    def get_i32(self, key):
        return self._get(key, int)

    def set_blob(self, key, value):
        value = value.encode() if isinstance(value, str) else bytes(value)
        self._set(key, binascii.hexlify(value).decode())

    def get_blob(self, key, buffer):
        """Reads the blob into buffer (a bytearray) and returns its length."""
        blob = binascii.unhexlify(self._get(key, str))
        if len(blob) > len(buffer):
            _fail(_INVALID_LENGTH)
        buffer[: len(blob)] = blob
        return len(blob)

    def erase_key(self, key):
        if _values.pop(self._key(key), None) is None:
            _fail(_NOT_FOUND)

    def commit(self):
        _board.flash_operation()
        _board.write("nvs", json.dumps(_values).encode())
