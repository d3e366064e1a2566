"""What a board knows of itself: MAC, addresses, network type; its watchdog and its reset.

The chip's own modules are imported when a function needs them, so that all of
this runs on a laptop too, where the answers are "not known". A driver raises
RuntimeError and UnicodeError as well as OSError: whatever it is, it ends here.
"""

from . import log
from .memory import unload

# A program with a network of its own puts its network.LAN or network.PPP here: it cannot be found otherwise.
lan = None

_wdt = None


def ask(driver, method, *args):
    """Returns what a driver's method returns, or None when it fails."""
    try:
        return getattr(driver, method)(*args)
    except Exception:
        return None


def wlan():
    """Returns the chip's Wi-Fi station, a network.WLAN, or None."""
    try:
        import network

        return network.WLAN(network.STA_IF)
    except Exception:
        return None  # no board, no Wi-Fi on this chip, or no memory left for it


def _connected():
    """Returns [(network type, interface)] of what is connected, Wi-Fi first as the chip routes."""
    found = []
    for name, interface in (("wifi", wlan()), ("ethernet", lan)):
        if ask(interface, "isconnected"):
            found.append((name, interface))
    return found


def _mac():
    raw = ask(wlan(), "config", "mac") or b""
    # Some firmware answers zeros before the radio is on: one number for all boards.
    if len(raw) == 6 and any(raw):
        return raw
    raw = machine("unique_id") or b""
    return raw if len(raw) == 6 else b""


def machine(method):
    """Returns what a method of the chip's module of that name returns, or None."""
    try:
        import machine
    except ImportError:
        return None
    return ask(machine, method)


def mac():
    """Returns the board's MAC as XX-XX-XX-XX-XX-XX, the platform's form, or "" when it is not known."""
    return _mac().hex("-").upper()


def serial_number():
    """Returns the MAC as 12 upper-case hexadecimal digits, for a deviceNo, or "" when it is not known."""
    return _mac().hex().upper()


def addresses():
    """Returns the board's own IP addresses, a list of str; empty when none is known."""
    found = []
    for _, interface in _connected():
        address = (ask(interface, "ifconfig") or ("0.0.0.0",))[0]
        if address != "0.0.0.0":
            found.append(address)
    return found


def net_type():
    """Returns "wifi" or "ethernet", or "" when neither is connected."""
    found = _connected()
    return found[0][0] if found else ""


def connected():
    """Returns True when Wi-Fi or Ethernet is up, and always where there is no board to ask."""
    try:
        import network  # noqa: F401
    except ImportError:
        return True
    return bool(_connected())


def join(networks, hostname="", wait_ms=15000, anew=False, **radio):
    """muster.wifi.join, loaded only while it joins."""
    from . import wifi

    try:
        return (yield from wifi.join(networks, hostname, wait_ms, anew, **radio))
    finally:
        unload("muster.wifi")


def watchdog(seconds):
    """Starts the watchdog, or changes its time: it resets the board that many seconds after the last feed().

    An ESP32's cannot be stopped and outlives a soft reset.
    """
    global _wdt
    try:
        from machine import WDT

        _wdt = WDT(timeout=seconds * 1000)
    except ImportError:
        return
    except Exception as e:
        log.warning("no watchdog: %s" % e)
    feed()


def feed():
    """Feeds the watchdog if watchdog() has started one."""
    if _wdt is not None:
        ask(_wdt, "feed")


def reset():
    """Resets the board, and tells muster.last that this is no crash."""
    from .last import asked

    asked()
    machine("reset")
