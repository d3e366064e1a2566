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
    station = wlan()
    if station is None or not networks:
        return None
    if hostname:
        import network

        ask(network, "hostname", hostname)
    try:
        station.active(True)
    except Exception as e:
        log.warning("no Wi-Fi: %s" % e)
        return None
    _tune(station, pm, txpower)
    if ask(station, "isconnected") and not anew:
        return ""  # its name is not asked for: one of 32 bytes runs on into the key there
    # The driver may be trying again what it lost, and connect() fails while it does.
    ask(station, "disconnect")
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
                if station.isconnected():
                    if asked:
                        return ssid
                elif not asked:
                    station.connect(ssid, candidate.get("key", ""))
                    asked = True
            except Exception as e:
                fault = " (%s)" % e
                ask(station, "disconnect")
        # Else it would retry a wrong password for ever.
        ask(station, "disconnect")
        log.info('Wi-Fi "%s" did not let the board in%s' % (ssid, fault))
    return None


def _tune(station, pm, txpower):
    """What the driver does not know or does not take keeps no board out."""
    try:
        if pm:
            station.config(pm=getattr(station, "PM_" + pm.upper()))
        if txpower:
            station.config(txpower=txpower)
    except Exception as e:
        log.warning("Wi-Fi does not take its pm or txpower: %s" % e)
