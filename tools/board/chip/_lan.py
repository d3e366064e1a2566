"""network.LAN: Ethernet, whose cable is plugged in or not, and where a router gives the board's address.

Source: the library reference and ports/esp32/network_lan.c of MicroPython: one interface however often
it is made, connected as soon as the link is up, and with an address only after that.
"""

import _board
import network

_LEASE_MS = 200
_NO_ADDRESS = "0.0.0.0"

_active = False
_since = None  # when the link came up


class LAN:
    def __init__(
        self, id=None, *, phy_addr, phy_type, mdc=None, mdio=None, reset=None, power=None, spi=None, cs=None,
        int=None, ref_clk_mode=-1, ref_clk=None,
    ):  # fmt: skip
        if id not in (None, 0):
            raise ValueError("invalid LAN interface identifier")
        if not 0 <= phy_addr <= 0x1F:
            raise ValueError("invalid phy address")
        if not (0 <= phy_type <= network.PHY_KSZ8081 or 100 <= phy_type <= network.PHY_W5500):
            raise ValueError("invalid phy type")
        if phy_type < 100 and (mdc is None or mdio is None):
            raise ValueError("mdc and mdio must be specified")

    def active(self, is_active=None):
        global _active
        if is_active is not None:
            _active = bool(is_active)
        return _active

    def isconnected(self):
        global _since
        up = _active and _board.setting("cable")
        if not up:
            _since = None
        elif _since is None:
            _since = _board.ticks_ms()
        return up

    def status(self):
        if not self.isconnected():
            return network.ETH_DISCONNECTED if _active else network.ETH_INITIALIZED
        return network.ETH_GOT_IP if self._has_address() else network.ETH_CONNECTED

    def ifconfig(self, addresses=None):
        """(ip, netmask, gateway, dns). Setting them is accepted and changes nothing."""
        if addresses is None:
            return tuple(_board.setting("ip")) if self._has_address() else (_NO_ADDRESS,) * 4

    def ipconfig(self, param=None, **settings):
        ip, netmask, gateway, _ = self.ifconfig()
        known = {"addr4": (ip, netmask), "gw4": gateway, "dhcp4": True, "has_dhcp4": self._has_address()}
        if param is not None:
            if param not in known:
                raise ValueError("unexpected key")
            return known[param]

    def config(self, param=None, **settings):
        if param == "mac":
            # ESP-IDF counts it from the base address on.
            mac = bytearray(bytes.fromhex(_board.setting("mac")))
            mac[5] = (mac[5] + 3) & 0xFF
            return bytes(mac)
        if param is not None:
            raise ValueError("unknown config param")

    def _has_address(self):
        return self.isconnected() and _board.ticks_ms() - _since >= _LEASE_MS
