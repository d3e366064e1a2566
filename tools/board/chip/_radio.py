"""The one radio behind both interfaces of the ESP32, and what a soft reset leaves of it.

Source: ports/esp32/network_wlan.c of MicroPython, where it lies in static variables and in ESP-IDF.
"""

import json

import _air
import _board

STA_IF = 0
AP_IF = 1

ASSOC_LEAVE = 8
BEACON_TIMEOUT = 200

_KEPT = {
    "active": [False, False],
    # [ssid, key] of connect() in hex digits, until disconnect().
    "wanted": None,
    "since_ms": 0,
    "tries": 0,
    "most_tries": 0,  # 0 for no end
    "reason": 0,  # of the last end of a connection or of a try
    "associated": False,
    "connected": False,  # and has an address
    "refused": {},  # ssid in hex digits: how often while the radio moved
    "deaf_until_ms": 0,
    "channel": 1,
    "pm": 1,
    "txpower": 80,  # in quarters of a dBm
    "ap": None,
    "ap_addresses": ["192.168.4.1", "255.255.255.0", "192.168.4.1", "0.0.0.0"],
}

# What the chip raises until it is told something else, under a name of its own.
OPEN_DEFAULT = {"key": "", "security": _air.AUTH_OPEN, "channel": 1, "max_clients": 4, "hidden": False}


class Radio:
    def __init__(self):
        stored = json.loads(_board.read("wifi") or b"{}")
        for name in _KEPT:
            setattr(self, name, stored.get(name, _KEPT[name]))
        self.active = list(self.active)
        self.refused = dict(self.refused)
        if self.ap is None:
            self.ap = dict(OPEN_DEFAULT)
            self.ap["ssid"] = ("ESP_%06X" % (int(_board.setting("mac")[6:], 16) + 1)).encode().hex()
        # The sockets at the access point's address. The VM before a soft reset took its own along.
        self.sockets = []
        if self.active[AP_IF]:
            self.announce()

    def save(self):
        _board.write("wifi", json.dumps({name: getattr(self, name) for name in _KEPT}).encode())

    # The station

    def join(self, ssid, key):
        self.wanted = [ssid.hex(), key.hex()]
        self.since_ms = _board.ticks_ms()
        self.tries = 0
        point = _air.find(ssid)
        if self._moves_for(point):
            self.deaf_until_ms = self.since_ms + int(point.get("move_s", 0) * 1000)
        self.save()

    def leave(self):
        # A station that has given up has nothing to leave: the reason for which it did stays.
        if self.associated or self.trying:
            self.reason = ASSOC_LEAVE
        self.wanted = None
        self.associated = self.connected = False
        self.save()

    @property
    def trying(self):
        return (
            self.wanted is not None
            and not self.associated
            and (self.most_tries == 0 or self.tries < self.most_tries)
        )

    def listen(self):
        """Brings the state up to date with the air: the events that the port hears of from ESP-IDF."""
        if self.wanted is None or not self.active[STA_IF]:
            return
        before = (self.associated, self.connected, self.reason, self.tries)
        point = self.point()
        if self.associated and point is None:
            self._ended(BEACON_TIMEOUT)
        elif self.trying:
            join_s = 0.05 if point is None else point.get("join_s", 0.05)
            if _board.ticks_ms() - self.since_ms >= join_s * 1000:
                self._try(point)
        if self.associated and not self.connected and point.get("answers", True):
            self.connected = True
            self.reason = 0
        if before != (self.associated, self.connected, self.reason, self.tries):
            self.save()

    def point(self):
        """The network that the station wants, where it is in reach; else None."""
        return None if self.wanted is None else _air.find(bytes.fromhex(self.wanted[0]))

    def _try(self, point):
        ssid, key = self.wanted
        moves = self._moves_for(point)
        reason = _air.refusal(point, bytes.fromhex(key), moves, self.refused.get(ssid, 0))
        if reason:
            if moves:
                self.refused[ssid] = self.refused.get(ssid, 0) + 1
            self._ended(reason)
        else:
            self.associated = True
            self.channel = _air.channel(point)
            self.announce()

    def _ended(self, reason):
        self.associated = self.connected = False
        self.reason = reason
        self.tries += 1
        self.since_ms = _board.ticks_ms()

    def _moves_for(self, point):
        return point is not None and self.active[AP_IF] and _air.channel(point) != self.channel

    # The access point

    def switch(self, interface, on):
        self.active[interface] = on
        if interface == STA_IF:
            if not on:
                self.leave()
        elif on:
            self._take_channel()
        else:
            for socket in list(self.sockets):
                socket.drop()
        self.save()
        self.announce()

    def set_up(self, settings):
        self.ap = settings
        self._take_channel()
        self.save()
        self.announce()

    def set_addresses(self, addresses):
        self.ap_addresses = list(addresses)
        self.save()
        self.announce()

    def _take_channel(self):
        # There is one radio: where the station is associated, its channel holds.
        if not self.associated:
            self.channel = self.ap["channel"]

    @property
    def deaf(self):
        """Whether the radio is on its way to another channel, where no phone hears it."""
        return _board.ticks_ms() < self.deaf_until_ms

    def announce(self):
        """Tells the world outside what it could hear: the access point, and where its sockets are."""
        if not self.active[AP_IF]:
            _board.forget("ap.json")
            return
        heard = {str(socket.port): socket.lies_on for socket in self.sockets if socket.lies_on}
        heard["ssid"] = bytes.fromhex(self.ap["ssid"]).decode()
        heard["key"] = self.ap["key"] if self.ap["security"] else ""
        heard["address"] = self.ap_addresses[0]
        heard["channel"] = self.channel
        heard["security"] = self.ap["security"]
        _board.write("ap.json", json.dumps(heard).encode())


radio = Radio()
