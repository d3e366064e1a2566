"""The ESP32's Wi-Fi in an air that the board's settings describe: network.WLAN. LAN and PPP have files.

Source: the library reference, and ports/esp32/{network_wlan,network_common}.c of MicroPython: the port tries
for ever after a wrong key or an unknown network unless config(reconnects=…) says how often, status() keeps
the last failure until the next event, and a soft reset leaves the radio as it is.
"""

import _air
import _board
from _air import AUTH_OPEN, AUTH_WPA2_PSK, AUTH_WPA_WPA2_PSK  # noqa: F401 - the port has them here
from _radio import AP_IF, ASSOC_LEAVE, STA_IF, radio

STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_BEACON_TIMEOUT = 200
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
STAT_ASSOC_FAIL = 203
STAT_CONNECT_FAIL = 203
STAT_HANDSHAKE_TIMEOUT = 204

_CONNECTION_FAIL = 205
_NO_AP_THAT_FITS = (201, 210, 211, 212)
_SCAN_MS = 50
_NO_ADDRESS = "0.0.0.0"
_INVALID_ARGUMENT = "Wifi Unknown Error 0x0102"
_ALIASES = {"essid": "ssid", "password": "key", "authmode": "security", "dhcp_hostname": "hostname"}
_AP_SECURITY = (0, 2, 3, 4, 6, 7)

# Of modnetwork.h.
PHY_LAN8710, PHY_LAN8720, PHY_IP101, PHY_RTL8201, PHY_KSZ8041, PHY_DP83848, PHY_KSZ8081 = range(7)
PHY_KSZ8851SNL, PHY_DM9051, PHY_W5500 = range(100, 103)
ETH_INITIALIZED, ETH_STARTED, ETH_STOPPED, ETH_CONNECTED, ETH_DISCONNECTED, ETH_GOT_IP = range(6)

_hostname = "mpy-esp32"
_country = "XX"


def __getattr__(name):
    if name in ("LAN", "PPP"):
        return _board.load("_" + name.lower())[name]
    raise AttributeError(name)


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


class WLAN:
    """network.WLAN of the ESP32 port: one station and one access point, however often it is constructed."""

    IF_STA = STA_IF
    IF_AP = AP_IF
    SEC_OPEN = 0
    SEC_WEP = 1
    SEC_WPA = 2
    SEC_WPA2 = 3
    SEC_WPA_WPA2 = 4
    SEC_WPA3 = 6
    SEC_WPA2_WPA3 = 7
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2

    def __init__(self, interface_id=STA_IF):
        if interface_id not in (STA_IF, AP_IF):
            raise ValueError("invalid WLAN interface identifier")
        self._id = interface_id

    def _require(self, interface_id):
        if self._id != interface_id:
            raise OSError("STA required" if interface_id == STA_IF else "AP required")

    def active(self, is_active=None):
        if is_active is not None and bool(is_active) != radio.active[self._id]:
            radio.switch(self._id, bool(is_active))
        return radio.active[self._id]

    def connect(self, ssid=None, key=None, *, bssid=None):
        if not radio.active[STA_IF]:
            raise OSError("Wifi Not Started")
        radio.listen()
        ssid, key = _bytes(ssid)[:32], _bytes(key)[:64]
        if radio.trying:
            raise OSError("Wifi Internal State Error")
        if radio.associated:
            if [ssid.hex(), key.hex()] != radio.wanted:
                raise OSError("Wifi Internal Error")
            return
        radio.join(ssid, key)

    def disconnect(self):
        if not radio.active[STA_IF]:
            raise OSError("Wifi Not Started")
        radio.leave()

    def isconnected(self):
        radio.listen()
        if self._id == STA_IF:
            return radio.connected
        # Of an access point that is off the port reads what lay on its stack.
        return not radio.active[AP_IF] or _stations() > 0

    def status(self, param=None):
        radio.listen()
        if param == "rssi":
            self._require(STA_IF)
            if not radio.associated:
                raise OSError("Wifi Not Connected")
            return _air.rssi(radio.point())
        if param == "stations":
            self._require(AP_IF)
            if not radio.active[AP_IF]:
                raise OSError("Wifi Invalid Mode")
            return [(b"\x06phon" + bytes([n]),) for n in range(_stations())]
        if param is not None:
            raise ValueError("unknown status param")
        return _status() if self._id == STA_IF else None

    def scan(self):
        """[(ssid, bssid, channel, RSSI, security, hidden), …]; [] where the driver cannot scan now."""
        radio.listen()
        if radio.active[AP_IF] and not radio.active[STA_IF]:
            raise OSError("STA must be active")
        if not radio.active[STA_IF] or radio.trying:
            return []
        _board.sleep_ms(_SCAN_MS)
        return _air.scan()

    def ifconfig(self, addresses=None):
        """(ip, netmask, gateway, dns). Setting the station's is accepted and changes nothing."""
        if addresses is not None:
            if self._id == AP_IF:
                radio.set_addresses(addresses)
            return None
        if self._id == AP_IF:
            return tuple(radio.ap_addresses)
        return tuple(_board.setting("ip")) if self.isconnected() else (_NO_ADDRESS,) * 4

    def ipconfig(self, param=None, **settings):
        ip, netmask, gateway, dns = self.ifconfig()
        if param is not None:
            known = {"addr4": (ip, netmask), "gw4": gateway}
            if self._id == STA_IF:
                known["dhcp4"] = True
                known["has_dhcp4"] = self.isconnected()
            return _known(known, param)
        for name in settings:
            if name == "addr4":
                ip, netmask = settings[name]
            elif name == "gw4":
                gateway = settings[name]
            elif name != "dhcp4" or self._id == AP_IF:
                raise ValueError("unexpected key")
        self.ifconfig((ip, netmask, gateway, dns))

    def config(self, param=None, **settings):
        if param is None:
            return self._set(settings)
        param = _ALIASES.get(param, param)
        if param == "ssid":
            return self._ssid()
        if param == "mac":
            mac = bytearray(bytes.fromhex(_board.setting("mac")))
            mac[5] = (mac[5] + self._id) & 0xFF
            return bytes(mac)
        known = {"channel": radio.channel, "pm": radio.pm, "txpower": radio.txpower / 4}
        if self._id == STA_IF:
            known.update({"hostname": hostname(), "reconnects": radio.most_tries - 1})
        else:
            for name in ("security", "hidden", "max_clients"):
                known[name] = radio.ap[name]
        return _known(known, param)

    def _ssid(self):
        """UnicodeError for one that is not UTF-8."""
        if self._id == AP_IF:
            return bytes.fromhex(radio.ap["ssid"]).decode()
        if radio.wanted is None:
            return ""
        ssid, key = [bytes.fromhex(text) for text in radio.wanted]
        # A C string in a field of 32 bytes, behind which the key lies.
        return (ssid + key if len(ssid) == 32 else ssid).decode()

    def _set(self, settings):
        ap = dict(radio.ap)
        for given in settings:
            name, value = _ALIASES.get(given, given), settings[given]
            if name == "hostname":
                hostname(value)
            elif name == "pm":
                _set_pm(value)
            elif name == "txpower":
                _set_txpower(value)
            elif name == "reconnects":
                self._require(STA_IF)
                radio.most_tries = value + 1
            elif name in ap and not (name == "channel" and self._id == STA_IF):
                self._require(AP_IF)
                ap[name] = _bytes(value)[:32].hex() if name == "ssid" else value
            elif name != "channel":
                raise ValueError("unknown config param")
        radio.save()
        if self._id == STA_IF:
            # What came before it has been taken: the driver refuses the rest of its settings, changed or not.
            if radio.trying:
                raise OSError("Wifi Internal State Error")
        elif not radio.active[AP_IF]:
            raise OSError("Wifi Invalid Mode")
        else:
            radio.set_up(_checked(ap))


def _status():
    """What status() tells of the station, in the port's order.

    connected, with an address                        1010
    ended by 201, 210, 211 or 212                     that, whether it is tried again or not
    ended by 202 or 205                               202, the same
    ended by disconnect()                             1000, during the next try as well
    a try is running, or another will follow          1001
    ended by something else                           that
    nothing yet                                       1000
    """
    if radio.connected:
        return STAT_GOT_IP
    if radio.reason in _NO_AP_THAT_FITS:
        return radio.reason
    if radio.reason in (STAT_WRONG_PASSWORD, _CONNECTION_FAIL):
        return STAT_WRONG_PASSWORD
    if radio.reason == ASSOC_LEAVE:
        return STAT_IDLE
    if radio.trying or radio.associated:
        return STAT_CONNECTING
    return radio.reason or STAT_IDLE


def _stations():
    return min(_board.setting("stations"), radio.ap["max_clients"])


def _checked(ap):
    """The access point's settings as the radio keeps them, or what the driver raises."""
    ap["key"] = _bytes(ap["key"])[:63].decode()
    ap["hidden"] = bool(ap["hidden"])
    if not ap["ssid"]:
        raise OSError("Wifi SSID Invalid")
    if ap["security"] not in _AP_SECURITY or not 1 <= ap["channel"] <= 13 or not 1 <= ap["max_clients"] <= 10:
        raise RuntimeError(_INVALID_ARGUMENT)
    if ap["security"] and len(ap["key"].encode()) < 8:
        raise OSError("Wifi Invalid Password")
    return ap


def _set_pm(mode):
    if mode not in (WLAN.PM_NONE, WLAN.PM_PERFORMANCE, WLAN.PM_POWERSAVE):
        raise RuntimeError(_INVALID_ARGUMENT)
    radio.pm = mode


def _set_txpower(dbm):
    if not any(radio.active):
        raise OSError("Wifi Not Started")
    if not 8 <= int(dbm * 4) <= 84:
        raise RuntimeError(_INVALID_ARGUMENT)
    radio.txpower = int(dbm * 4)


def _known(values, param):
    if param not in values:
        raise ValueError("unknown config param")
    return values[param]


def _bytes(value):
    return value.encode() if isinstance(value, str) else bytes(value or b"")
