"""The ESP32's Wi-Fi in an air that the board's settings describe.

Source: the library reference, and ports/esp32/{network_wlan,network_common}.c of MicroPython: the port tries
for ever after a wrong key or an unknown network, status() keeps the last failure until the next success, and
a soft reset leaves the radio as it is.
"""

import json

import _board

STA_IF = 0
AP_IF = 1

STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_BEACON_TIMEOUT = 200
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
STAT_ASSOC_FAIL = 203
STAT_CONNECT_FAIL = 203
STAT_HANDSHAKE_TIMEOUT = 204

AUTH_OPEN = 0
AUTH_WPA2_PSK = 3

_REASON_ASSOC_LEAVE = 8
_NO_ADDRESS = "0.0.0.0"
_hostname = "mpy-esp32"
_country = "XX"


def hostname(name=None):
    global _hostname
    if name is None:
        return _hostname
    if len(name) > 32:
        raise ValueError
    _hostname = name


def country(code=None):
    global _country
    if code is None:
        return _country
    if len(code) != 2:
        raise ValueError
    _country = code


def ipconfig(param):
    return _known({"dns": WLAN().ifconfig()[3]}, param)


# What the radio keeps through a soft reset. wanted: [ssid, key] of connect(), until disconnect().
_KEPT = {
    "active": [False, False],
    "wanted": None,
    "since_ms": 0,
    "reason": 0,
    "connected": False,
    "pm": 1,
    "txpower": 80,  # in quarters of a dBm
}


class _Radio:
    """What both interfaces and a soft reset share; the port keeps it in static variables."""

    def __init__(self):
        stored = json.loads(_board.read("wifi") or b"{}")
        for name in _KEPT:
            setattr(self, name, stored.get(name, _KEPT[name]))
        self.active = list(self.active)

    def save(self):
        _board.write("wifi", json.dumps({name: getattr(self, name) for name in _KEPT}).encode())

    def listen(self):
        """Brings the state up to date with the air: the events that the port hears of from ESP-IDF."""
        if self.wanted is None or not self.active[STA_IF]:
            return
        before = (self.connected, self.reason)
        points = [network for network in _board.setting("air") if network["ssid"] == self.wanted[0]]
        point = points[-1] if points else None
        if self.connected:
            if point is None:
                self.connected = False
                self.reason = STAT_BEACON_TIMEOUT
                self.since_ms = _board.ticks_ms()
        else:
            join_s = 0.05 if point is None else point.get("join_s", 0.05)
            if _board.ticks_ms() - self.since_ms >= join_s * 1000:
                if point is None:
                    self.reason = STAT_NO_AP_FOUND
                elif (point.get("key") or "") != self.wanted[1]:
                    self.reason = STAT_WRONG_PASSWORD
                else:
                    self.reason = 0
                    self.connected = True
        if before != (self.connected, self.reason):
            self.save()

    def leave(self):
        if self.wanted is not None:
            self.reason = _REASON_ASSOC_LEAVE
        self.wanted = None
        self.connected = False
        self.save()


_radio = None


class WLAN:
    """network.WLAN of the ESP32 port: one station and one access point, however often it is constructed."""

    IF_STA = STA_IF
    IF_AP = AP_IF
    SEC_OPEN = 0
    SEC_WPA2 = 3
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2

    def __init__(self, interface_id=STA_IF):
        global _radio
        if interface_id not in (STA_IF, AP_IF):
            raise ValueError("invalid WLAN interface identifier")
        if _radio is None:
            _radio = _Radio()
        self._id = interface_id

    def active(self, is_active=None):
        if is_active is not None:
            _radio.active[self._id] = bool(is_active)
            if self._id == STA_IF and not is_active:
                _radio.leave()
            _radio.save()
        return _radio.active[self._id]

    def connect(self, ssid=None, key=None, *, bssid=None):
        if not _radio.active[STA_IF]:
            raise OSError("Wifi Not Started")
        _radio.listen()
        wanted = [_text(ssid), _text(key)]
        if _radio.wanted is not None:
            if not _radio.connected:
                raise OSError("Wifi Internal State Error")
            if wanted != _radio.wanted:
                raise OSError("Wifi Internal Error")
            return
        _radio.wanted = wanted
        _radio.since_ms = _board.ticks_ms()
        _radio.save()

    def disconnect(self):
        if not _radio.active[STA_IF]:
            raise OSError("Wifi Not Started")
        _radio.leave()

    def isconnected(self):
        _radio.listen()
        return self._id == STA_IF and _radio.connected

    def status(self, param=None):
        _radio.listen()
        if param == "rssi":
            if not self.isconnected():
                raise OSError("Wifi Not Connected")
            return -50
        if param == "stations":
            return []
        if param is not None:
            raise ValueError("unknown status param")
        if self._id == AP_IF:
            return None
        if _radio.connected:
            return STAT_GOT_IP
        if _radio.reason in (STAT_NO_AP_FOUND, STAT_WRONG_PASSWORD):
            return _radio.reason
        # So does the port: after disconnect() the next attempt looks idle until it succeeds or fails.
        if _radio.wanted is None or _radio.reason == _REASON_ASSOC_LEAVE:
            return STAT_IDLE
        return STAT_CONNECTING

    def scan(self):
        """[(ssid, bssid, channel, RSSI, security, hidden), …], bytes as the port gives them."""
        if not _radio.active[STA_IF]:
            raise OSError("STA must be active")
        return [
            (n["ssid"].encode(), b"\x02muste", 6, -50, AUTH_WPA2_PSK if n.get("key") else AUTH_OPEN, False)
            for n in _board.setting("air")
        ]

    def ifconfig(self, addresses=None):
        """(ip, netmask, gateway, dns). Setting them is accepted and changes nothing."""
        if addresses is None:
            return tuple(_board.setting("ip")) if self.isconnected() else (_NO_ADDRESS,) * 4

    def ipconfig(self, param=None, **settings):
        if param is None:
            return None
        ip, netmask, gateway, _ = self.ifconfig()
        known = {"addr4": (ip, netmask), "gw4": gateway, "has_dhcp4": self.isconnected(), "dhcp4": True}
        return _known(known, param)

    def config(self, param=None, **settings):
        if param is None:
            for name in settings:
                self._set(name, settings[name])
            return None
        mac = bytearray(bytes.fromhex(_board.setting("mac")))
        mac[5] = (mac[5] + self._id) & 0xFF
        ssid = _radio.wanted[0] if self._id == STA_IF and _radio.wanted else ""
        known = {"mac": bytes(mac), "channel": 6, "pm": _radio.pm, "txpower": _radio.txpower / 4}
        known.update({"ssid": ssid, "essid": ssid, "hostname": hostname(), "dhcp_hostname": hostname()})
        return _known(known, param)

    def _set(self, name, value):
        if name in ("hostname", "dhcp_hostname"):
            hostname(value)
        elif name == "pm":
            self._set_pm(value)
        elif name == "txpower":
            self._set_txpower(value)
        elif name not in ("reconnects", "ssid", "essid", "key", "security", "channel"):
            raise ValueError("unknown config param")

    def _set_pm(self, mode):
        if mode not in (self.PM_NONE, self.PM_PERFORMANCE, self.PM_POWERSAVE):
            raise RuntimeError("Wifi Unknown Error 0x0102")
        _radio.pm = mode
        _radio.save()

    def _set_txpower(self, dbm):
        if not any(_radio.active):
            raise OSError("Wifi Not Started")
        if not 8 <= int(dbm * 4) <= 84:
            raise RuntimeError("Wifi Unknown Error 0x0102")
        _radio.txpower = int(dbm * 4)
        _radio.save()


def _known(values, param):
    if param not in values:
        raise ValueError("unknown config param")
    return values[param]


def _text(value):
    return value.decode() if isinstance(value, (bytes, bytearray)) else (value or "")
