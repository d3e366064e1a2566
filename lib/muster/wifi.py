"""Joining a Wi-Fi network. Loaded only while a board joins one."""

from . import log
from .board import ask, wlan
from .clock import ticks_diff, ticks_ms


def join(networks, hostname="", wait_ms=15000, anew=False, pm="", txpower=0):
    """Joins the first of the Wi-Fi networks that lets it in: a generator, for muster.net.wait.

    networks   dicts with ssid (str or bytes) and key, in order of preference
    hostname   the name given to the router's DHCP, "" for the chip's own
    wait_ms    how long each network has
    anew       True does not believe a connection that is there
    pm         "none", "performance" or "powersave": how the radio saves power, "" for the driver's own way
    txpower    the radio's most in dBm, 0 for the driver's own

    Yields None whenever it would wait. Returns the ssid, "" for a connection that was there, or None. A
    driver's fault is logged, and counts as no network.
    """
    station = start(hostname, pm, txpower) if networks else None
    if station is None:
        return None
    if ask(station, "isconnected") and not anew:
        return ""  # its name is not asked for: one of 32 bytes runs on into the key there
    # The driver may be trying again what it lost, and connect() fails while it does.
    ask(station, "disconnect")
    for candidate in networks:
        why = yield from attempt(station, candidate, wait_ms)
        if why is None:
            return candidate["ssid"]
        log.info('Wi-Fi "%s" did not let the board in (%s)' % (candidate["ssid"], why))
    return None


def start(hostname, pm, txpower):
    """Starts the radio, with join()'s settings. Returns the station, or None where it does not start."""
    station = wlan()
    if station is None:
        return None
    if hostname:
        import network

        ask(network, "hostname", hostname)
    try:
        station.active(True)
    except Exception as e:
        log.warning("Wi-Fi does not start: %s" % e)
        return None
    _tune(station, pm, txpower)
    return station


def attempt(station, candidate, wait_ms, ends=False):
    """Tries one network for wait_ms: a generator. Returns None when the board is in.

    Else the driver's fault, an exception, or its status. ends: a status below 1000, a failure, ends the try
    at once.
    """
    why = None
    asked = False
    start = ticks_ms()
    while ticks_diff(ticks_ms(), start) < wait_ms:
        yield
        try:
            # Only isconnected() can be believed: status() keeps old errors.
            # After disconnect() it stays True until the driver has let go.
            if station.isconnected():
                if asked:
                    return None
            elif not asked:
                station.connect(candidate["ssid"], candidate.get("key", ""))
                asked = True
            else:
                why = ask(station, "status")
                if ends and why and why < 1000:
                    break
        except Exception as e:
            why = e
            ask(station, "disconnect")
    # Else it would retry a wrong password for ever.
    ask(station, "disconnect")
    return why or "no answer"


def _tune(station, pm, txpower):
    """What the driver does not know or does not take keeps no board out."""
    try:
        if pm:
            station.config(pm=getattr(station, "PM_" + pm.upper()))
        if txpower:
            station.config(txpower=txpower)
    except Exception as e:
        log.warning("Wi-Fi does not take its pm or txpower: %s" % e)
