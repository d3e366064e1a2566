"""esp32.NVS in RAM."""

import sys


class Nvs:
    """esp32.NVS as the ESP32 port has it: set_blob is kept at commit(), a missing key is an OSError."""

    flash = None
    opened = 0

    def __init__(self, namespace):
        if len(namespace) > 15:
            raise OSError(-4361, "ESP_ERR_NVS_INVALID_NAME")
        Nvs.opened += 1
        self.space = Nvs.flash.setdefault(namespace, {})
        self.pending = {}

    def get_blob(self, key, buffer):
        value = self.pending.get(key, self.space.get(key))
        if value is None:
            raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
        if len(value) > len(buffer):
            raise OSError(-4364, "ESP_ERR_NVS_INVALID_LENGTH")
        buffer[: len(value)] = value
        return len(value)

    def set_blob(self, key, value):
        if len(key) > 15:
            raise OSError(-4361, "ESP_ERR_NVS_INVALID_NAME")
        self.pending[key] = bytes(value)

    def erase_key(self, key):
        self.pending.pop(key, None)
        if key not in self.space:
            raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
        del self.space[key]

    def commit(self):
        self.space.update(self.pending)
        self.pending = {}


class Esp32:
    NVS = Nvs


def nvs():
    """A fresh partition; returns what it holds under the namespace "muster"."""
    sys.modules["esp32"] = Esp32
    Nvs.flash = {"muster": {}}
    Nvs.opened = 0
    return Nvs.flash["muster"]
