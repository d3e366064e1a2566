"""muster.portal.home: when the set-up page opens, what it tries, and when it closes.

The radio is the driver of an ESP32 as far as it matters. In place of the page's two servers, which have tests
of their own, stands a person who calls what the web server calls.
"""

import sys

from helpers import raises, replaced
from muster import log, wifi
from muster.errors import TransportError
from muster.portal import home, networks, radio

SETUP = {
    "key": "ABCDE23456",
    "name": "toy",
    "address": "192.168.4.1",
    "after": 120,
    "idle": 300,
    "limit": 1800,
}
HOME = {"ssid": "home", "key": "correct horse"}
FACTORY = {"ssid": "factory", "key": "battery staple"}
REPLACED = [(module, name) for module in (home, radio, wifi) for name in ("ticks_ms", "ticks_diff")] + [
    (home, "ticks_add"),
    (networks, "STATE"),
    (log, "write"),
]
ORIGINALS = [(module, name, getattr(module, name)) for module, name in REPLACED if hasattr(module, name)]


class Station:
    """An ESP32's: status() keeps the last failure until the next event.

    air: dicts of ssid and key, and perhaps code (of its failure), refuses (so many tries), deaf, off, hidden.
    """

    def __init__(self, air):
        self.air = air
        self.log = []
        self.trying = None
        self.joined = None
        self.reason = 0
        self.retries = -1
        self.since = 0

    def active(self, on=None):
        return True

    def scan(self):
        self.log.append("scan")
        if self.trying:
            return []
        heard = [n for n in self.air if not n.get("off")]
        return [
            (
                b"" if n.get("hidden") else name(n),
                b"",
                n.get("channel", 6),
                n.get("rssi", -50),
                3 * bool(n["key"]),
                False,
            )
            for n in heard
        ]

    def config(self, what=None, **settings):
        if "reconnects" in settings:
            if self.trying:
                raise OSError("Wifi Internal State Error")
            self.retries = settings["reconnects"]

    def connect(self, ssid, key):
        if self.trying:
            raise OSError("Wifi Internal State Error")
        self.log.append(("connect", ssid, key))
        self.trying = (ssid, key)
        self.since = Time.now

    def disconnect(self):
        if self.trying or self.joined:
            self.reason = 8
        self.trying = self.joined = None

    def _listen(self):
        if self.trying and Time.now - self.since >= 2000:
            ssid, key = self.trying
            found = [
                n
                for n in self.air
                if name(n) == (ssid if isinstance(ssid, bytes) else ssid.encode()) and not n.get("off")
            ]
            code = 201 if not found else found[0].get("code", 0)
            if found and not code and found[0].get("refuses", 0):
                found[0]["refuses"] -= 1
                code = 202
            if found and not code and found[0]["key"] != key:
                code = 15
            if found and not code and not found[0].get("deaf"):
                self.joined, self.trying = ssid, None
            elif code:
                self.reason = code
                if self.retries == 0:
                    self.trying = None

    def isconnected(self):
        self._listen()
        return self.joined is not None

    def status(self):
        self._listen()
        if self.joined is not None:
            return 1010
        if self.reason in (201, 202):
            return self.reason
        if self.reason == 8:
            return 1000
        return 1001 if self.trying else (self.reason or 1000)


class Point:
    def __init__(self):
        self.on = False
        self.settings = []
        self.phones = 0
        self.faults = 0

    def active(self, on):
        self.on = on

    def config(self, **settings):
        assert self.on
        if self.faults:
            raise OSError("Wifi Invalid Password")
        self.settings.append(settings)

    def ifconfig(self, addresses):
        self.addresses = addresses

    def isconnected(self):
        assert self.on
        return self.phones > 0


class Network:
    STA_IF, AP_IF = 0, 1

    class WLAN:
        SEC_OPEN, SEC_WPA2 = 0, 3

        def __new__(cls, interface):
            return Network.point if interface else Network.station


class Time:
    now = 0


class Agent:
    """What home wants of the agent."""

    wired = False

    def __init__(self):
        self._config = {
            "setup": SETUP,
            "baseUrl": "https://platform.example",
            "hostname": "",
            "firstJoin": 15,
            "pm": "",
            "txpower": 0,
        }
        self._device_no = "AI-0042"
        self._has_joined = False
        self._hardware = self
        self.setup = {}
        self.told = []
        self.tell = self.told.append

    def connected(self):
        return self.wired or Network.station.isconnected()

    def join(self, *args, **radio):
        return wifi.join(*args, **radio)


class Server:
    """In place of both servers: a person, who is asked at every turn."""

    person = None
    opened = 0
    wrong = None  # what a person did not expect

    def __init__(self, address, page=None):
        assert Network.point.on and Network.point.settings  # never on the chip's own open network
        Server.opened += 1
        self.page = page

    def turn(self):
        try:
            if Server.person and self.page:
                Server.person(self.page)
        except AssertionError as e:
            Server.wrong = e

    def close(self):
        Server.opened -= 1


def name(network):
    ssid = network["ssid"]
    return ssid if isinstance(ssid, bytes) else ssid.encode()


class Module:
    Server = Server


PACKAGE = sys.modules["muster.portal"]
lines = []
failures = []
parts = {}


def world(tmp, *air, reaches=True):
    """An agent at a place where these networks are."""
    Time.now = 0
    Server.person, Server.opened, Server.wrong = None, 0, None
    parts.update({"web": Module, "dns": Module})
    networks.STATE = tmp + "/state/networks"
    Network.station, Network.point = Station(list(air)), Point()
    sys.modules["network"] = Network
    for module in (home, radio, wifi):
        module.ticks_ms = lambda: Time.now
        module.ticks_diff = lambda end, start: end - start
    home.ticks_add = lambda ticks, ms: ticks + ms
    log.write = lambda level, text: lines.append(text)

    def reach(page):
        yield
        return "reached" if reaches else "unreached"

    home.Page._reach = reach
    return Agent()


REACH = home.Page._reach


def teardown_function(_):
    home.Page._reach = REACH
    for module, name, original in ORIGINALS:
        setattr(module, name, original)
    for part in ("web", "dns"):
        sys.modules.pop("muster.portal." + part, None)
        if hasattr(PACKAGE, part):
            delattr(PACKAGE, part)
    sys.modules.pop("network", None)
    del lines[:], failures[:]


def run(agent, known=(), until_s=7200):
    """What home.join returns, and the seconds it took; 50 ms a turn."""
    # Anew: what is needed for a while has left the memory.
    for part in ("web", "dns"):
        sys.modules["muster.portal." + part] = parts[part]
        setattr(PACKAGE, part, parts[part])
    agent._config["wifi"] = list(known)
    generator = home.join(agent, False, agent.setup.pop("asked", False))
    start = Time.now
    while Time.now - start < until_s * 1000:
        try:
            next(generator)
        except (StopIteration, TransportError) as e:
            failures.append(e)
            if Server.wrong:
                raise Server.wrong
            assert Server.opened == 0 and not Network.point.on
            return Network.station.joined, (Time.now - start) // 1000
        Time.now += 50
    raise AssertionError("it has no end")


def gives(*choices):
    """A person who gives one network after the other, each when the one before was answered."""
    left = list(choices)
    seen = []

    def person(page):
        if not seen or seen[-1] != page.state:
            seen.append(page.state)
        page.used()
        if left and page.state not in ("trying", "joined"):
            assert page.submit(*left.pop(0)) is None

    Server.person = person
    return seen


def test_a_network_that_is_known_and_heard_is_joined_without_a_page(tmp):
    agent = world(tmp, HOME)
    networks_given(HOME)
    assert run(agent)[0] == "home" and agent.told == []
    assert Network.point.settings == []


def networks_given(*given):
    for network in given:
        networks.keep(networks.make(name(network), network["key"]))


def test_what_the_buyer_gave_is_tried_before_the_factorys(tmp):
    agent = world(tmp, HOME, FACTORY)
    networks_given(HOME)
    assert run(agent, [FACTORY])[0] == "home"


def test_no_network_is_known_and_the_page_opens_at_once(tmp):
    agent = world(tmp, dict(HOME, channel=11, rssi=-40), dict(FACTORY, channel=3, rssi=-70))
    gives((b"home", "correct horse"))
    assert run(agent)[0] == "home"
    assert agent.told == ["open", "trying", "joined", "reached", "closed"]
    assert networks.load() == [HOME]
    # One call, on the channel of the strongest network.
    assert Network.point.settings == [
        {"ssid": "toy-I-0042", "key": "ABCDE23456", "security": 3, "channel": 11}
    ]
    assert Network.point.addresses == ("192.168.4.1", "255.255.255.0", "192.168.4.1", "192.168.4.1")


def test_none_that_is_known_is_heard_and_the_page_opens_at_once(tmp):
    agent = world(tmp, HOME)
    gives((b"home", "correct horse"))
    joined, took = run(agent, [FACTORY])
    assert joined == "home" and took < 60 and agent.told[0] == "open"


def test_one_that_is_heard_lets_nobody_in_and_the_page_opens_after_a_while(tmp):
    agent = world(tmp, dict(FACTORY, key="changed today"))
    # The first try counts as well: of 15 s here.
    assert run(agent, [FACTORY])[0] is None and agent.told == []
    Time.now += 91_000
    Server.person = lambda page: None
    assert run(agent, [FACTORY])[0] is None
    assert agent.told == ["open", "closed"]


def test_a_page_that_nobody_used_opens_again_only_when_asked(tmp):
    agent = world(tmp)
    joined, took = run(agent)
    assert joined is None and SETUP["idle"] <= took < SETUP["idle"] + 10
    assert agent.told == ["open", "closed"]
    assert run(agent)[1] < 10 and agent.told == ["open", "closed"]
    assert str(failures[-1]) == "nobody has given the board a Wi-Fi network"
    agent.setup["asked"] = True
    gives((b"home", "correct horse"))
    Network.station.air.append(HOME)
    assert run(agent)[0] == "home" and "asked" not in agent.setup


def test_a_page_that_is_asked_for_while_it_is_open_stays_although_the_old_network_is_back(tmp):
    agent = world(tmp, dict(FACTORY, off=True))

    def person(page):
        agent.setup["asked"] = True
        Network.station.air[0]["off"] = Time.now < 30_000

    Server.person = person
    joined, took = run(agent, [FACTORY])
    assert joined == "factory" and took >= SETUP["idle"] and agent.told == ["open", "closed"]


def test_a_page_on_a_board_that_has_ethernet_as_well_fails_nobody(tmp):
    agent = world(tmp)
    agent.wired = agent.setup["asked"] = True
    run(agent)
    assert isinstance(failures[-1], StopIteration)


def test_a_board_that_knows_no_network_opens_the_page_after_one_scan(tmp):
    agent = world(tmp)
    scans = []
    Server.person = lambda page: scans.append(Network.station.log.count("scan"))
    run(agent)
    assert scans[0] == 2  # since the first heard nothing


def test_a_page_that_was_stopped_opens_again(tmp):
    agent = world(tmp)

    class Stop(BaseException):  # a Ctrl-C, or a task that is cancelled
        pass

    def stops(page):
        raise Stop

    Server.person = stops
    raises(Stop, run, agent)
    assert Server.opened == 0 and not Network.point.on
    Server.person = None
    run(agent)
    assert agent.told == ["open", "closed"] * 2


def test_to_ask_for_a_page_that_is_open_does_not_open_another(tmp):
    agent = world(tmp, HOME)
    gives((b"home", "correct horse"))
    buyer = Server.person

    def person(page):
        agent.setup["asked"] = True
        buyer(page)

    Server.person = person
    assert run(agent)[0] == "home" and "asked" not in agent.setup


def test_after_a_network_was_joined_the_page_may_open_again(tmp):
    agent = world(tmp)
    run(agent)
    Network.station.air.append(FACTORY)
    assert run(agent, [FACTORY])[0] == "factory"
    agent._has_joined = True
    del Network.station.air[:]
    Network.station.disconnect()
    run(agent, [FACTORY])
    assert agent.told == ["open", "closed", "open", "closed"]


def test_the_old_router_comes_back_while_nobody_looks(tmp):
    agent = world(tmp, dict(FACTORY, off=True))

    def router(page):
        if Time.now > 90_000:
            Network.station.air[0]["off"] = False

    Server.person = router
    joined, took = run(agent, [FACTORY])
    assert joined == "factory" and 90 < took < 160 and agent.told == ["open", "closed"]


def test_a_page_that_was_asked_for_stays_although_the_old_network_is_there(tmp):
    agent = world(tmp, FACTORY)
    agent.setup["asked"] = True
    joined, took = run(agent, [FACTORY])
    assert joined == "factory" and took >= SETUP["idle"] and agent.told == ["open", "closed"]


def test_a_page_that_was_asked_for_while_a_network_was_there_opens_again_when_that_is_gone(tmp):
    agent = world(tmp, FACTORY)
    assert run(agent, [FACTORY])[0] == "factory"
    agent._has_joined = agent.setup["asked"] = True
    assert run(agent, [FACTORY])[0] == "factory" and agent.told == ["open", "closed"]
    del Network.station.air[:]
    Network.station.disconnect()
    assert run(agent, [FACTORY])[0] is None
    assert agent.told == ["open", "closed"] * 2


def test_while_a_phone_is_connected_the_radio_stays_where_it_is(tmp):
    agent = world(tmp, dict(FACTORY, off=True))

    def router(page):
        Network.point.phones = 1
        Network.station.air[0]["off"] = False

    Server.person = router
    assert run(agent, [FACTORY])[0] is None
    assert not [entry for entry in Network.station.log if entry[0] == "connect"]


def test_each_failure_has_its_word_and_nothing_is_kept(tmp):
    agent = world(
        tmp, HOME, dict(ssid="silent", key="12345678", deaf=True), dict(ssid="odd", key="12345678", code=203)
    )
    seen = gives(
        (b"home", "a wrong key"), (b"nowhere", "12345678"), (b"silent", "12345678"), (b"odd", "12345678")
    )
    assert run(agent)[0] is None
    assert seen == ["idle", "trying", "refused", "trying", "absent", "trying", "silent", "trying", "failed"]
    assert networks.load() == []


def test_a_refusal_at_first_is_no_wrong_password(tmp):
    agent = world(tmp, dict(HOME, refuses=1))
    seen = gives((b"home", "correct horse"))
    assert run(agent)[0] == "home"
    assert "refused" not in seen


def test_a_refusal_before_is_not_told_of_the_next_network(tmp):
    # status() keeps 202 until something happens, and this network takes its time.
    agent = world(tmp, dict(FACTORY, refuses=9), HOME)
    seen = gives((b"factory", "battery staple"), (b"home", "correct horse"))
    assert run(agent)[0] == "home"
    assert seen[:5] == ["idle", "trying", "refused", "trying", "joined"]


def test_the_driver_tries_for_ever_again_afterwards(tmp):
    agent = world(tmp, HOME)
    gives((b"home", "a wrong key"))
    run(agent)
    assert Network.station.retries == -1
    agent.setup["asked"] = True
    gives((b"home", "correct horse"))
    run(agent)
    assert Network.station.retries == -1


def test_hidden_open_and_gbk_networks(tmp):
    gbk = b"\xbc\xd2\xc0\xef" * 8  # 32 bytes
    agent = world(tmp, dict(ssid="hidden", key="12345678", hidden=True), dict(ssid=gbk, key=""))
    shown = []

    def person(page):
        shown.append(page.networks)
        if page.state == "idle":
            page.submit(gbk, "")

    Server.person = person
    assert run(agent)[0] == gbk
    assert shown[0] == [(gbk, -50, False)]
    Network.station.disconnect()
    agent.setup["asked"] = True
    gives((b"hidden", "12345678"))
    assert run(agent)[0] == "hidden"
    assert [network["ssid"] for network in networks.load()] == ["hidden", gbk]


def test_a_mesh_is_one_network_the_strongest_first(tmp):
    agent = world(
        tmp,
        dict(HOME, rssi=-80),
        dict(FACTORY, rssi=-60),
        dict(HOME, rssi=-40, channel=13),
        dict(HOME, rssi=-90),
    )
    shown = []
    Server.person = lambda page: shown.append(page.networks)
    run(agent)
    assert shown[0] == [(b"home", -40, True), (b"factory", -60, True)]
    assert Network.point.settings[0]["channel"] == 1  # 13 is not allowed everywhere


def test_of_many_networks_the_strongest_are_shown_and_a_weak_one_is_known_all_the_same(tmp):
    crowd = [dict(ssid="n%d" % n, key="12345678", rssi=-30 - n) for n in range(30)]
    agent = world(tmp, dict(FACTORY, rssi=-90), *crowd)
    assert run(agent, [FACTORY])[0] == "factory" and agent.told == []
    agent.setup["asked"] = True
    shown = []

    def person(page):
        if not shown:
            page.rescan()
        shown.append(page.networks)

    Server.person = person
    run(agent, [FACTORY])
    for found in (shown[0], shown[-1]):
        assert [network[0] for network in found] == [b"n%d" % n for n in range(20)]


def test_twenty_networks_are_shown(tmp):
    agent = world(tmp, *[dict(HOME, ssid="home %d" % n, rssi=-90 + n) for n in range(30)])
    shown = []
    Server.person = lambda page: shown.append(page.networks)
    run(agent)
    assert len(shown[0]) == 20 and shown[0][0][:2] == (b"home 29", -61)


def test_joined_and_the_platform_is_not_reached(tmp):
    agent = world(tmp, HOME, reaches=False)
    seen = gives((b"home", "correct horse"))
    joined, _ = run(agent)
    assert joined == "home" and seen[-1] == "unreached"  # it is kept: the platform may only be down
    assert networks.load() == [HOME]


def test_it_closes_soon_after_the_buyer_has_seen_the_end(tmp):
    agent = world(tmp, HOME)
    gives((b"home", "correct horse"))
    assert run(agent)[1] < 30
    agent = world(tmp + "/another", HOME)

    def gone(page):  # the phone has lost the access point
        if page.state == "idle":
            page.submit(b"home", "correct horse")

    Server.person = gone
    assert 60 < run(agent)[1] < 90


def test_it_closes_at_its_limit_although_it_is_used(tmp):
    agent = world(tmp)
    Server.person = lambda page: page.used()
    joined, took = run(agent)
    assert joined is None and SETUP["limit"] <= took < SETUP["limit"] + 10


def test_a_try_that_has_begun_is_brought_to_its_end(tmp):
    agent = world(tmp, HOME)

    def person(page):
        if page.state == "idle" and Time.now - page._opened >= 1000 * SETUP["idle"] - 100:
            page.submit(b"home", "correct horse")

    Server.person = person
    assert run(agent)[0] == "home" and agent.told[-2:] == ["reached", "closed"]
    assert networks.load() == [HOME]


def test_tries_are_limited(tmp):
    agent = world(tmp, HOME)
    answers = []

    def person(page):
        if page.state in ("trying", "joined"):
            assert page.submit(b"home", "wrong" * 3) == "trying"
        elif len(answers) < 25:
            page.used()
            answers.append(page.submit(b"home", "wrong" * 3))

    Server.person = person
    run(agent)
    assert answers[:20] == [None] * 20 and set(answers[20:]) == {"busy"}
    # The page waits for a state that is not the one before.
    assert agent.told[-2:] == ["busy", "closed"]
    assert (
        len([entry for entry in Network.station.log if entry == ("connect", "home", "wrong" * 3)]) == 20 * 4
    )


def test_a_scan_is_repeated_when_asked(tmp):
    agent = world(tmp, HOME)
    shown = []

    def person(page):
        Network.point.phones = 1
        if not shown:
            Network.station.air.append(FACTORY)
            page.rescan()
        shown.append(len(page.networks))

    Server.person = person
    run(agent)
    assert shown[0] == 1 and shown[-1] == 2


def test_an_access_point_that_fails_is_off_again_and_nothing_listens(tmp):
    agent = world(tmp, HOME)
    Network.point.faults = 1
    assert run(agent)[0] is None
    assert "does not open: OSError Wifi Invalid Password" in lines[-1]
    assert agent.told == ["closed"]


def test_a_ctrl_c_leaves_no_open_network(tmp):
    agent = world(tmp, HOME)

    def stopped(**settings):
        assert Network.point.on
        raise KeyboardInterrupt

    Network.point.config = stopped
    raises(KeyboardInterrupt, run, agent)
    assert not Network.point.on


def test_a_radio_that_does_not_start_again_is_no_network(tmp):
    agent = world(tmp, HOME)
    seen = gives((b"home", "correct horse"))
    person = Server.person
    active = Network.station.active

    def fails(on=None):
        raise OSError("WiFi Out of Memory")

    def breaks(page):
        Network.station.active = fails if page.state in ("idle", "trying") else active
        person(page)

    Server.person = breaks
    assert run(agent)[0] is None and seen[-1] == "failed"


def test_a_server_that_cannot_listen_leaves_nothing_open(tmp):
    agent = world(tmp, HOME)

    class Broken(Server):
        def __init__(self, address):
            raise OSError(112)

    class Both:
        Server = Broken

    parts["dns"] = Both
    assert run(agent)[0] is None


def test_a_fault_of_a_server_does_not_close_the_page(tmp):
    agent = world(tmp, HOME)
    faults = [MemoryError(), OSError(107), RuntimeError("Wifi Unknown Error")]

    def person(page):
        page.used()
        if faults:
            raise faults.pop()
        if page.state == "idle":
            page.submit(b"home", "correct horse")

    Server.person = person
    assert run(agent)[0] == "home" and agent.told[-2:] == ["reached", "closed"]


def test_what_the_program_raises_ends_nothing(tmp):
    agent = world(tmp, HOME)

    def tell(state):
        raise ValueError("no speaker")

    agent.tell = tell
    gives((b"home", "correct horse"))
    assert run(agent)[0] == "home"


def test_the_network_that_works_is_the_first_at_the_next_start(tmp):
    agent = world(tmp, HOME)
    networks_given(HOME, FACTORY)
    assert run(agent)[0] == "home"
    assert networks.load()[0] == HOME


def test_a_network_that_cannot_be_kept_is_used_all_the_same(tmp):
    for fault in (OSError(28), MemoryError()):
        agent = world(tmp, HOME)
        networks_given(HOME, FACTORY)
        gives((b"home", "correct horse"))
        keep = networks.keep

        def full(network, fault=fault):
            raise fault

        with replaced(networks, keep=full):
            assert run(agent)[0] == "home"
            assert "could not be written to flash" in lines[-1]
            Network.station.disconnect()
            agent.setup["asked"] = True
            assert run(agent)[0] == "home" and agent.told[-2:] == ["reached", "closed"]
        assert networks.keep == keep and networks.load()[0] == FACTORY


def test_a_network_that_is_forgotten_meanwhile_is_not_joined_again(tmp):
    agent = world(tmp, dict(HOME, off=True))
    networks_given(HOME)

    def forgets(page):
        if Time.now > 90_000 and Network.station.air[0]["off"]:
            Network.station.air[0]["off"] = False
            networks.erase()

    Server.person = forgets
    assert run(agent)[0] is None and agent.told == ["open", "closed"]
    # While it is being joined.
    agent = world(tmp, HOME)
    networks_given(HOME, FACTORY)
    connect = Network.station.connect

    def forgotten(ssid, key):
        networks.erase()
        connect(ssid, key)

    Network.station.connect = forgotten
    run(agent)
    assert networks.load() == []


def test_what_the_buyer_gives_while_a_network_that_is_known_is_tried_comes_next(tmp):
    agent = world(tmp, HOME, dict(FACTORY, off=True))

    def person(page):
        Network.station.air[1]["off"] = Time.now < 30_000
        tries = Network.station.trying == ("factory", "battery staple")
        if page.state == "idle" and tries and Time.now > 30_000:
            page.submit(b"home", "correct horse")

    Server.person = person
    assert run(agent, [FACTORY])[0] == "home"
    assert agent.told == ["open", "trying", "joined", "reached", "closed"]


def test_peers_of_other_networks_are_refused(tmp):
    agent = world(tmp)
    page = home.Page(agent, Network.station)
    assert page.local("192.168.4.2")
    for stranger in ("192.168.1.2", "127.0.0.1", "192.168.44.1", ""):
        assert not page.local(stranger)


def test_a_name_for_the_log_stays_on_its_line(tmp):
    agent = world(tmp, dict(ssid="a\nmuster: reported", key=""))
    gives((b"a\nmuster: reported", "wrong key"))
    run(agent)
    assert not [line for line in lines if "\n" in line]
