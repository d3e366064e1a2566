"""What a board knows of itself: MAC, addresses, network type, watchdog.

The chip's own modules are imported when a function needs them, so that all of
this runs on a laptop too, where the answers are "not known". A driver raises
RuntimeError and UnicodeError as well as OSError: whatever it is, it ends here.
"""

from . import log
from .clock import ticks_diff, ticks_ms

# A program on Ethernet puts its network.LAN object here: it cannot be found otherwise.
lan = None

_wdt = None


def _ask(driver, method, *args):
    """What a driver's method returns, or None when it fails."""
    try:
        return getattr(driver, method)(*args)
    except Exception:
        return None


def _wlan():
    try:
        import network

        return network.WLAN(network.STA_IF)
    except Exception:
        return None  # no board, no Wi-Fi on this chip, or no memory left for it


def _connected():
    """Returns [(network type, interface)] of what is connected, Wi-Fi first as the chip routes."""
    found = []
    for name, interface in (("wifi", _wlan()), ("ethernet", lan)):
        if _ask(interface, "isconnected"):
            found.append((name, interface))
    return found


def _mac():
    raw = _ask(_wlan(), "config", "mac") or b""
    # Some firmware answers zeros before the radio is on: one number for all boards.
    if len(raw) == 6 and any(raw):
        return raw
    try:
        import machine
    except ImportError:
        return b""
    raw = _ask(machine, "unique_id") or b""
    return raw if len(raw) == 6 else b""


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
        address = (_ask(interface, "ifconfig") or ("0.0.0.0",))[0]
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


def join(networks, hostname="", wait_ms=15000, anew=False):
    """Joins the first of the Wi-Fi networks that lets it in: a generator, for muster.wait.

    networks   dicts with ssid and key (str), in order of preference
    hostname   the name given to the router's DHCP, "" for the chip's own
    wait_ms    how long each network has
    anew       True does not believe a connection that is there

    Yields None whenever it would wait; returns the ssid, or None. A driver's
    fault is logged, and counts as no network.
    """
    wlan = _wlan()
    if wlan is None or not networks:
        return None
    if hostname:
        import network

        _ask(network, "hostname", hostname)
    try:
        wlan.active(True)
    except Exception as e:
        log.warning("Wi-Fi does not start: %s" % e)
        return None
    if _ask(wlan, "isconnected") and not anew:
        return _ask(wlan, "config", "ssid") or ""
    # The driver may be trying again what it lost, and connect() fails while it does.
    _ask(wlan, "disconnect")
    for candidate in networks:
        ssid = candidate["ssid"]
        asked = False
        fault = ""
        start = ticks_ms()
        while ticks_diff(ticks_ms(), start) < wait_ms:
            yield
            try:
                # Only isconnected() can be believed: status() keeps old errors.
                # After disconnect() it stays True until the driver has let go.
                if wlan.isconnected():
                    if asked:
                        return ssid
                elif not asked:
                    wlan.connect(ssid, candidate.get("key", ""))
                    asked = True
            except Exception as e:
                fault = " (%s)" % e
                _ask(wlan, "disconnect")
        # Else it would retry a wrong password for ever.
        _ask(wlan, "disconnect")
        log.info('Wi-Fi "%s" did not let the board in%s' % (ssid, fault))
    return None


def watchdog(seconds):
    """Starts the watchdog, or changes its time: it resets the board that many seconds after the last feed().

    An ESP32's cannot be stopped and outlives a soft reset.
    """
    global _wdt
    try:
        from machine import WDT
    except ImportError:
        return
    try:
        _wdt = WDT(timeout=seconds * 1000)
    except Exception as e:
        log.warning("the watchdog does not start: %s" % e)
    feed()


def feed():
    """Feeds the watchdog if watchdog() has started one."""
    if _wdt is not None:
        _ask(_wdt, "feed")
