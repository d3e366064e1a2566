"""The networks in reach, as the board's setting "air" describes them.

Each is a dictionary:
    ssid          its name;  ssid_hex instead of it: the name's bytes in hex digits, where they are no UTF-8
    key           its password; none or "" for an open network
    security      its AUTH_ number; WPA2 where there is a key
    channel       1 to 13;  rssi: dBm
    hidden        True: it does not tell its name
    join_s        seconds until it has let the station in, or refused it
    answers       False: its router gives no address
    refuse_code   the reason for which it refuses a station
    refuse_first  it refuses so many tries for which the radio has to leave the access point's channel
    move_s        so long nobody hears the access point while the radio goes to this network's channel
"""

import _board

AUTH_OPEN = 0
AUTH_WPA2_PSK = 3
AUTH_WPA_WPA2_PSK = 4

NO_AP_FOUND = 201
AUTH_FAIL = 202
NO_COMPATIBLE_SECURITY = 210
AUTHMODE_TOO_WEAK = 211


def name(network):
    """Its ssid, bytes."""
    if "ssid_hex" in network:
        return bytes.fromhex(network["ssid_hex"])
    return network["ssid"].encode()


def channel(network):
    return network.get("channel", 6)


def rssi(network):
    return network.get("rssi", -50)


def security(network):
    return network.get("security", AUTH_WPA2_PSK if network.get("key") else AUTH_OPEN)


def find(ssid):
    """The network of that name (bytes), or None; the last of several."""
    found = None
    for network in _board.setting("air"):
        if name(network) == ssid:
            found = network
    return found


def refusal(network, key, moves, refused):
    """The reason for which a try to join ends, 0 when the station is let in.

    not in reach                                      201
    locked, and no key                                210
    open, WEP or WPA 1, and a key: it asks for WPA2   211
    among the first for which the radio moves         its refuse_code
    another key than its own                          its refuse_code
    """
    if network is None:
        return NO_AP_FOUND
    locked = security(network) != AUTH_OPEN
    if locked and not key:
        return NO_COMPATIBLE_SECURITY
    if key and security(network) < AUTH_WPA2_PSK:
        return AUTHMODE_TOO_WEAK
    if (moves and refused < network.get("refuse_first", 0)) or (network.get("key") or "").encode() != key:
        return network.get("refuse_code", AUTH_FAIL)
    return 0


def scan():
    """[(ssid, bssid, channel, RSSI, security, hidden), …], the strongest first, as the port gives them.

    It never sets hidden: the name of a hidden network is empty.
    """
    found = []
    for network in _board.setting("air"):
        ssid = b"" if network.get("hidden") else name(network)
        bssid = b"\x02must" + bytes([len(found)])
        found.append((ssid, bssid, channel(network), rssi(network), security(network), False))
    found.sort(key=lambda one: -one[3])
    return found
