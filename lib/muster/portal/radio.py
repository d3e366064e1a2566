"""The radio while the set-up page is open: what it hears, one try at a network, the access point."""

from .. import const
from ..board import ask
from ..clock import ticks_diff, ticks_ms
from ..wifi import join as joining

_TRY_MS = const(12000)
_AGAIN_MS = const(3000)
_SETTLE_MS = const(300)
_SSID_BYTES = const(32)
_LAST_CHANNEL = const(11)  # what an access point may use in every country


def heard(station):
    """A generator: scans, for two seconds in which nothing else goes on.

    Returns ([(ssid, dBm, whether it wants a key)], the strongest first; the channel of the strongest).
    """
    for _ in range(2):  # it hears nothing while the driver is still letting go of a network
        yield from _pause(_SETTLE_MS)
        found = sorted(ask(station, "scan") or [], key=lambda n: -n[3])
        if found:
            break
    networks = []
    for ssid, _, _, strength, security, _ in found:
        # A hidden network has no name, and a mesh the same several times.
        if ssid and all([ssid != network[0] for network in networks]):
            networks.append((ssid, strength, security != 0))
    channel = found[0][2] if found else 1
    return networks, channel if channel <= _LAST_CHANNEL else 1


def join(station, config, candidate):
    """A generator: tries one network as long as a person would wait. Returns one of the page's states.

    config   the agent's

    joined     the board has an address there
    refused    most likely for a wrong key; the chip does not tell that from others
    absent     not heard
    silent     the router gives no address
    failed     the driver says something else
    """
    try:
        why = yield from _try(station, config, candidate)
        if why not in (1010, 201):
            # A radio that changes its channel is refused at first now and then.
            yield from _pause(_AGAIN_MS)
            why = yield from _try(station, config, candidate)
            yield from _pause(_SETTLE_MS)  # until it is no longer connecting
    finally:
        _retry(station, -1)
    if why == 1010:
        return "joined"
    if why in (2, 15, 202, 204, 210, 211):  # the last two: it wants a key, or none
        return "refused"
    if why in (201, 212):
        return "absent"
    return "silent" if why in (1000, 1001) else "failed"  # it was still at it


def _try(station, config, candidate):
    """Returns the driver's status in the end; 1010 when the board is in."""
    # The driver tells a failure until its next event, and a connection that is given up is one.
    ask(station, "connect", candidate["ssid"], candidate["key"])
    ask(station, "disconnect")
    yield from _pause(_SETTLE_MS)
    _retry(station, 0)  # with tries left it tells no failure
    why = 0
    run = joining([candidate], config["hostname"], _TRY_MS, True, config["pm"], config["txpower"])
    try:
        while True:
            next(run)
            why = ask(station, "status")
            if why and why < 1000:
                ask(station, "disconnect")
                return why
            yield
    except StopIteration as e:
        return why if e.value is None else 1010
    finally:
        run.close()


def _retry(station, times):
    try:
        station.config(reconnects=times)
    except Exception:
        pass  # it is connecting


def _pause(ms):
    start = ticks_ms()
    while ticks_diff(ticks_ms(), start) < ms:
        yield


def ssid(setup, device_no):
    """Returns the access point's name: that of the product, a hyphen, and the end of the device's number.

    setup      as config() returns it
    device_no  the number itself, not "auto"

    Six characters of the number without a hyphen at their beginning, fewer where 32 bytes do not hold them.
    """
    end = device_no[-6:].lstrip("-")
    while len((setup["name"] + "-" + end).encode()) > _SSID_BYTES:
        end = end[1:]
    return setup["name"] + "-" + end


def open_point(name, key, address, channel):
    """Opens the access point and returns it. Raises what the driver raises, and then it is off."""
    import network

    point = network.WLAN(network.AP_IF)
    try:
        # For a moment it is the chip's own open network: nothing listens there yet.
        point.active(True)
        security = network.WLAN.SEC_WPA2 if key else network.WLAN.SEC_OPEN
        point.config(ssid=name, key=key, security=security, channel=channel)
        point.ifconfig((address, "255.255.255.0", address, address))
    except BaseException:  # a Ctrl-C as well
        ask(point, "active", False)
        raise
    return point
