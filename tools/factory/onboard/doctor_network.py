# Is this board in a network, and if not, why does each Wi-Fi network that it knows not let it in?
import json
import time

from muster import board, memory, wifi

TRY_MS = 10000
SURE_MS = 3000  # the driver goes on trying, and would say the same


def name(ssid):
    return ssid if isinstance(ssid, str) else repr(ssid)


def raw(ssid):
    return ssid.encode() if isinstance(ssid, str) else ssid


def joined(station, known):
    """Which of the known networks the board is in. One of 32 bytes runs on into its key there."""
    found = raw(board.ask(station, "config", "ssid") or "")
    for ssid in known:
        if found == raw(ssid) or (len(raw(ssid)) == 32 and found.startswith(raw(ssid))):
            return name(ssid)
    return None


def heard(station):
    """{ssid: dBm}, after the driver has let go of what it was trying."""
    board.ask(station, "active", True)
    for _ in range(3):
        board.ask(station, "disconnect")
        time.sleep_ms(300)
        found = board.ask(station, "scan")
        if found:
            # The strongest of a mesh.
            return {n[0]: n[3] for n in sorted(found, key=lambda n: n[3])}
    return {}


def why(station, network, settings):
    """Tries to join. Returns None when the board is in, else the driver's last word, 0 if it said nothing."""
    radio = {key: settings[key] for key in ("pm", "txpower") if settings[key]}
    trying = wifi.join([network], settings["hostname"], TRY_MS, **radio)
    start = time.ticks_ms()
    said = 0
    try:
        while not said or time.ticks_diff(time.ticks_ms(), start) < SURE_MS:
            next(trying)
            status = board.ask(station, "status")
            if status and status < 1000:
                said = status
            time.sleep_ms(50)
    except StopIteration as e:
        return said if e.value is None else None
    board.ask(station, "disconnect")
    return said


def load():
    from muster import config

    return config.load()


settings = memory.call(load)
known = list(settings["wifi"])
told = {"kept": []}
if settings["setup"]:
    from muster.portal import networks
    from muster.portal.radio import ssid as page

    kept = networks.load()
    known = kept + known
    told["kept"] = [name(network["ssid"]) for network in kept]
    number = board.serial_number() if settings["deviceNo"] == "auto" else settings["deviceNo"]
    told["page"] = page(settings["setup"], number)
station = board.wlan()
told["wifi"] = station is not None
told["tried"] = tried = []
if not board.connected() and station:
    strength = heard(station)
    for network in known:
        ssid = network["ssid"]
        said = why(station, network, settings)
        tried.append([name(ssid), strength.get(raw(ssid)), said])
        if said is None:
            break
told["connected"] = board.connected()
told["type"] = board.net_type()
told["addresses"] = board.addresses()
if told["type"] == "wifi":
    told["joined"] = joined(station, [network["ssid"] for network in known])
    told["signal"] = board.ask(station, "status", "rssi")
print(json.dumps(told))
