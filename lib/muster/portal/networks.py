"""The Wi-Fi networks that the buyer gave, on flash. boot.py reads them too."""

from .. import const
from ..board import ask, wlan
from ..redact import Masked

STATE = "/state/networks"
_MOST = const(4)


def load():
    """Returns the networks as muster.wifi.join takes them, the one that worked last first.

    Dicts of ssid and key; the ssid is bytes where it is no readable UTF-8. Never raises for what flash holds.
    """
    try:
        record = _store().load() or {"wifi": []}
        return [Masked({"ssid": _named(bytes.fromhex(n["ssid"])), "key": n["key"]}) for n in record["wifi"]]
    except (KeyError, TypeError, ValueError):
        return []


def keep(network):
    """Puts a network before those that are kept; the fifth goes. Raises OSError."""
    kept = [network] + [other for other in load() if other["ssid"] != network["ssid"]]
    record = {"wifi": [{"ssid": raw(n).hex(), "key": n["key"]} for n in kept[:_MOST]]}
    store = _store()
    store.save(record)
    store.save(record)  # into the other slot as well: nobody can be asked for it again


def erase():
    """Erases all of them, and leaves the network that is joined. Raises OSError."""
    _store().erase()
    ask(wlan(), "disconnect")


def _store():
    from ..store import FileStore  # much of it, for a moment: who wants it to leave uses muster.memory.call

    return FileStore(STATE)


def raw(network):
    """The bytes of a network's ssid."""
    ssid = network["ssid"]
    return ssid if isinstance(ssid, bytes) else ssid.encode()


def make(ssid, key):
    """A network as load() returns it."""
    return Masked({"ssid": _named(ssid), "key": key})


def _named(ssid):
    try:
        text = ssid.decode()
        if min(text) >= " " and "\x7f" not in text:  # what is logged stays on its line
            return text
    except ValueError:
        pass  # UnicodeError is one
    return ssid
