"""A board at its buyer's home: it joins a network that it knows, or opens the set-up page to be given one."""

import os
import sys

from .. import const, log
from ..board import ask, wlan
from ..clock import ticks_add, ticks_diff, ticks_ms
from ..errors import TransportError
from ..heartbeat import joined
from ..memory import call, unload
from ..net.wait import TURN, WAIT, Deadline
from . import networks, radio

_TRIES = const(20)
_SHOWN = const(20)  # networks; with more the page would be too large
_KNOWN_MS = const(60000)  # between tries of the networks that are known: a router boots slower than a toy
_SHOWN_MS = const(10000)  # how long the page stays once the buyer has seen how it ended
_UNSEEN_MS = const(60000)  # and if he has not: his phone may have lost the access point
_REACH_S = const(10)
_TRYING = ("trying", "joined")
_NONE = "nobody has given the board a Wi-Fi network"


def join(agent, stale, asked):
    """Joins a network that is known, or has the buyer give one: a generator. At its end all of this leaves.

    stale   the connection that is there is not believed
    asked   agent.set_up() wants the page

    Raises TransportError if there is none in the end. The page opens when

    - it is asked for
    - no network that is known is heard
    - none that is heard let the board in for as long as "after" says

    and after it was closed without success only when it is asked for, or after a network was joined.
    """
    try:
        yield from _join(agent, stale, asked)
    finally:
        unload(*[name for name in sys.modules if name.startswith("muster.portal.")] + ["muster.wifi"])


def _join(agent, stale, asked):
    how, config = agent.setup, agent._config
    station = wlan()
    ask(station, "active", True)
    known = _known(config)
    if "closed" in how and not (known or asked):
        raise TransportError(_NONE)
    if not asked:
        # A scan stops an asyncio program, so that what worked before is tried first.
        since = how.setdefault("since", ticks_ms())
        hasty = agent._has_joined or "closed" in how
        near = known if hasty or not known else (yield from _near(station, known))
        if near or "closed" in how:
            try:
                found = yield from joined(
                    agent, near + [other for other in known if other not in near], stale
                )
            except TransportError:
                if hasty and "closed" not in how:
                    near = yield from _near(station, known)
                waited = ticks_diff(ticks_ms(), since) // 1000
                if "closed" in how or (near and waited < config["setup"]["after"]):
                    raise
            else:
                how.pop("since", 0)
                how.pop("closed", 0)
                _worked(found)
                return
    page = Page(agent, station, asked)
    try:
        yield from page.serve()
    except Exception as e:
        log.warning("the set-up page does not open: %s %s" % (type(e).__name__, e))
    finally:
        page.tell("closed")
    # Not after a Ctrl-C, nor for a task that was cancelled: what begins anew may open it anew.
    how["closed"] = True
    how.pop("asked", 0)  # while it was open
    if page.joined is not None:
        log.info("joined %s" % page.joined)
    elif not agent._hardware.connected():
        raise TransportError(_NONE)
    how.pop("since", 0)
    del how["closed"]


def _near(station, known):
    heard = [network[0] for network in (yield from radio.heard(station))[0]]
    return [network for network in known if networks.raw(network) in heard]


def _known(config):
    # Asked anew each time: agent.forget_networks() may be called meanwhile.
    return call(networks.load) + config["wifi"]


def _worked(ssid):
    """Has boot.py try the network before the others that the buyer gave."""
    for network in call(networks.load)[1:]:
        if network["ssid"] == ssid:
            _keep(network)


def _keep(network):
    # A board that cannot keep it is online all the same.
    try:
        call(networks.keep, network)
    except Exception as e:
        log.warning("the network could not be written to flash: %s" % e)


def _turned(server):
    try:
        return server.turn()
    except Exception:
        return False  # too little memory, or the driver's fault: the page stays


class Page:
    """The set-up page while it is open; see muster.portal.web for what that asks of it."""

    file = "/setup.html.gz"

    def __init__(self, agent, station, asked=False):
        self._agent = agent
        self._setup = agent._config["setup"]
        self._station = station
        self._asked = asked
        self._wanted = None  # the network that the buyer has given
        self._scan = False
        self._used = self._opened = ticks_ms()
        self._end = None
        self.joined = None
        self.address = self._setup["address"]
        self.token = os.urandom(16).hex()
        self.state = "idle"
        self.ssid = b""
        self.tries = _TRIES
        self.networks = []

    # What the web server asks.

    def local(self, ip):
        """Whether a peer is in the access point's network."""
        return ip.rpartition(".")[0] == self.address.rpartition(".")[0]

    def used(self):
        """Somebody looks at the page."""
        self._used = ticks_ms()
        if self.state == "reached":
            self._ends_in(_SHOWN_MS)

    def submit(self, ssid, key):
        """Takes the network that the buyer gives. Returns None, or why not: "trying" or "busy"."""
        if self.state in _TRYING:
            return "trying"
        if not self.tries:
            self.tell("busy")
            return "busy"
        self.tries -= 1
        self.ssid = ssid
        self._wanted = networks.make(ssid, key)
        self.joined = None
        self.tell("trying")

    def rescan(self):
        self._scan = True

    # What goes on.

    def serve(self):
        """A generator: opens the access point and serves the page. Raises what the radio raises."""
        from . import dns, web

        setup = self._setup
        servers: list = []
        name = radio.ssid(setup, self._agent._device_no)
        channel = yield from self._listen()
        point = radio.open_point(name, setup["key"], self.address, channel)
        work = self._work(point)
        try:
            servers.append(dns.Server(self.address))
            servers.append(web.Server(self.address, self))
            log.info('set up: join Wi-Fi "%s" and open http://%s/' % (name, self.address))
            self.tell("open")
            self.state = "idle"
            for _ in work:
                yield TURN if any([_turned(server) for server in servers]) else WAIT
                if self._over():
                    break
        finally:
            work.close()
            for server in servers:
                server.close()
            ask(point, "active", False)

    def _listen(self):
        """Returns the channel of the strongest network."""
        networks, channel = yield from radio.heard(self._station)
        self.networks = networks[:_SHOWN]
        return channel

    def tell(self, state):
        """Sets the state, and tells the program."""
        if state == self.state:
            return
        self.state = state
        tell = getattr(self._agent, "tell", None)
        try:
            if tell:
                tell(state)
        except Exception as e:
            log.warning("tell(%s): %s" % (state, e))

    def _over(self):
        if self.state in _TRYING:  # a try has an end of its own, and may be the one that works
            return False
        now = ticks_ms()
        if self._end is not None and ticks_diff(now, self._end) > 0:
            return True
        return (
            ticks_diff(now, self._used) > self._setup["idle"] * 1000
            or ticks_diff(now, self._opened) > self._setup["limit"] * 1000
        )

    def _ends_in(self, ms):
        end = ticks_add(ticks_ms(), ms)
        if self._end is None or ticks_diff(end, self._end) < 0:
            self._end = end

    def _work(self, point):
        """A generator beside the servers: tries what the buyer gives, scans, and looks for what is known."""
        tried = self._opened if self._asked else ticks_add(self._opened, -_KNOWN_MS)
        while True:
            if self._wanted:
                yield from self._try()
            elif self._scan:
                yield from self._listen()
                self._scan = False
            elif ticks_diff(ticks_ms(), tried) >= _KNOWN_MS:
                if not (point.isconnected() or ask(self._station, "isconnected")):
                    yield from self._listen()
                    for network in _known(self._agent._config):
                        if self._wanted or point.isconnected():
                            break
                        if (yield from radio.join(self._station, self._agent._config, network)) == "joined":
                            self.joined = network["ssid"]
                            if not (self._asked or self._wanted or "asked" in self._agent.setup):
                                return
                            break
                tried = ticks_ms()
            yield

    def _try(self):
        wanted, self._wanted = self._wanted, None
        self._end = None
        state = yield from radio.join(self._station, self._agent._config, wanted)
        self.tell(state)
        if state == "joined":
            self.joined = wanted["ssid"]
            _keep(wanted)
            self.tell((yield from self._reach()))
            if self.state == "reached":
                self._ends_in(_UNSEEN_MS)

    def _reach(self):
        from ..net import dial
        from ..net.request import split

        host, port = split(self._agent._config["baseUrl"])[1:3]
        try:
            (yield from dial.connect(host, port, Deadline(_REACH_S)))[0].close()
            return "reached"
        except TransportError as e:
            log.warning(str(e))
            return "unreached"
