import sys

from muster import hardware, log

MAC = b"\x50\x5a\x65\x51\x82\x13"
HOME = {"ssid": "home", "key": "correct horse"}
WORK = {"ssid": "work", "key": "battery staple"}


class WLAN:
    """The ESP32's station as far as it matters: connect() raises while connecting, and retries for ever."""

    def __init__(self, networks=(), mac=MAC, address="192.168.1.7", takes=3):
        self.networks = networks
        self.mac = mac
        self.address = address
        self.takes = takes
        self.log = []
        self.trying = None
        self.joined = None
        self.lingers = 0
        self.waited = 0
        self.is_active = False

    def active(self, on):
        self.log.append("active")
        self.is_active = on

    def config(self, name):
        return self.mac if name == "mac" else self.joined

    def connect(self, ssid, key):
        if not self.is_active or self.trying:
            raise OSError("Wifi Internal State Error")
        self.log.append("connect " + ssid)
        self.trying = {"ssid": ssid, "key": key}
        self.waited = 0

    def disconnect(self):
        if not self.is_active:
            raise OSError("Wifi Not Started")
        self.log.append("disconnect")
        if self.joined:
            self.lingers = 3
        self.trying = None

    def isconnected(self):
        if self.lingers:
            # The driver's own task has not seen the disconnect() yet.
            self.lingers -= 1
            if not self.lingers:
                self.joined = None
        elif self.trying:
            self.waited += 1
            if self.trying in self.networks and self.waited >= self.takes:
                self.joined = self.trying["ssid"]
                self.trying = None
        return self.joined is not None

    def ifconfig(self):
        return (self.address if self.joined else "0.0.0.0", "255.255.255.0", "192.168.1.1", "192.168.1.1")


class Network:
    STA_IF = 0

    def __init__(self, wlan):
        self.wlan = wlan
        self.name = None

    def WLAN(self, interface):
        assert interface == self.STA_IF
        return self.wlan

    def hostname(self, name):
        assert len(name) <= 32
        self.wlan.log.append("hostname")
        self.name = name


class Watchdog:
    def __init__(self, timeout):
        if timeout <= 0:
            raise ValueError("WDT timeout too short")
        Watchdog.log.append(timeout)

    def feed(self):
        Watchdog.log.append("fed")


class Machine:
    WDT = Watchdog

    def __init__(self, unique_id=MAC):
        self.id = unique_id

    def unique_id(self):
        return self.id


lines = []
now = 0


def board(wlan=None, machine=None):
    sys.modules["network"] = Network(wlan or WLAN())
    sys.modules["machine"] = machine or Machine()
    Watchdog.log = []
    log.write = lambda level, text: lines.append(text)
    return wlan


def no_board():
    for name in ("network", "machine"):
        sys.modules.pop(name, None)
        if sys.implementation.name == "cpython":
            sys.modules[name] = None  # not to be found, whatever is on the path


REPLACED = (
    (log, "write"),
    (hardware, "lan"),
    (hardware, "_wdt"),
    (hardware, "ticks_ms"),
    (hardware, "ticks_diff"),
)
ORIGINALS = [(module, name, getattr(module, name)) for module, name in REPLACED]


def teardown_function(_):
    """pytest's: in CPython all tests share one process."""
    for module, name, original in ORIGINALS:
        setattr(module, name, original)
    sys.modules.pop("network", None)
    sys.modules.pop("machine", None)
    del lines[:]


def run(generator, limit=10000):
    """Drives join() with a clock of 50 ms a turn; returns what it returns and the milliseconds it took."""
    global now
    now = 0
    hardware.ticks_ms = lambda: now
    hardware.ticks_diff = lambda end, start: end - start
    for _ in range(limit):
        try:
            assert next(generator) is None
        except StopIteration as e:
            return e.value, now
        now += 50
    raise AssertionError("join has no end")


def test_mac_and_serial_number():
    board()
    assert hardware.mac() == "50-5A-65-51-82-13"
    assert hardware.serial_number() == "505A65518213"


def test_zeros_are_no_mac():
    board(WLAN(mac=bytes(6)), Machine(b"\x01\x02\x03\x04\x05\xff"))
    assert hardware.mac() == "01-02-03-04-05-FF"
    assert hardware.serial_number() == "0102030405FF"


def test_mac_without_wifi_comes_from_the_chip():
    def broken(name):
        raise OSError("Wifi Unknown Error")

    wlan = board(WLAN())
    wlan.config = broken
    assert hardware.mac() == "50-5A-65-51-82-13"
    sys.modules["machine"] = Machine(b"\x01\x02\x03\x04\x05\x06\x07\x08")
    assert hardware.mac() == "" and hardware.serial_number() == ""


def test_a_laptop_knows_nothing_and_is_connected():
    no_board()
    assert hardware.mac() == "" and hardware.serial_number() == ""
    assert hardware.addresses() == [] and hardware.net_type() == ""
    assert hardware.connected() is True
    assert run(hardware.join([HOME])) == (None, 0)
    hardware.watchdog(120)
    hardware.feed()


def test_a_chip_without_wifi():
    board()

    class Bare:
        pass

    sys.modules["network"] = Bare()
    assert hardware.addresses() == [] and hardware.net_type() == "" and hardware.connected() is False
    assert run(hardware.join([HOME])) == (None, 0)


def test_addresses_and_network_type():
    wlan = board(WLAN())
    assert (hardware.addresses(), hardware.net_type(), hardware.connected()) == ([], "", False)
    wlan.joined = "home"
    assert (hardware.addresses(), hardware.net_type(), hardware.connected()) == (
        ["192.168.1.7"],
        "wifi",
        True,
    )
    wlan.address = "0.0.0.0"
    assert hardware.addresses() == []


def test_ethernet_that_the_program_brought():
    wlan = board(WLAN())
    hardware.lan = WLAN(address="10.0.0.5")
    assert (hardware.addresses(), hardware.net_type(), hardware.connected()) == ([], "", False)
    hardware.lan.joined = "cable"
    assert (hardware.addresses(), hardware.net_type(), hardware.connected()) == (
        ["10.0.0.5"],
        "ethernet",
        True,
    )
    wlan.joined = "home"
    assert (hardware.addresses(), hardware.net_type()) == (["192.168.1.7", "10.0.0.5"], "wifi")


def test_join_takes_the_first_network():
    wlan = board(WLAN([HOME, WORK]))
    ssid, took = run(hardware.join([HOME, WORK], "toy-7"))
    assert ssid == "home" and took < 1000
    assert sys.modules["network"].name == "toy-7"
    # The host name must stand before the radio asks DHCP.
    assert wlan.log == ["hostname", "active", "disconnect", "connect home"]


def test_join_without_a_host_name_leaves_the_chips_own():
    wlan = board(WLAN([HOME]))
    assert run(hardware.join([HOME]))[0] == "home"
    assert sys.modules["network"].name is None and "hostname" not in wlan.log


def test_join_an_open_network():
    board(WLAN([{"ssid": "cafe", "key": ""}]))
    assert run(hardware.join([{"ssid": "cafe", "key": ""}]))[0] == "cafe"
    board(WLAN([{"ssid": "cafe", "key": ""}]))
    assert run(hardware.join([{"ssid": "cafe"}]))[0] == "cafe"


def test_join_goes_on_to_the_next_network_after_its_time():
    wlan = board(WLAN([WORK]))
    ssid, took = run(hardware.join([HOME, WORK], wait_ms=5000))
    assert ssid == "work" and 5000 <= took < 6000
    assert wlan.log == ["active", "disconnect", "connect home", "disconnect", "connect work"]
    assert len(lines) == 1 and "home" in lines[0] and "correct horse" not in lines[0]


def test_a_chinese_network_is_named_as_it_is():
    board(WLAN())
    run(hardware.join([{"ssid": "工厂", "key": "password"}], wait_ms=1000))
    assert 'Wi-Fi "工厂" did not let the board in' in lines[-1]


def test_join_gives_up_in_time_and_stops_the_driver():
    wlan = board(WLAN())
    ssid, took = run(hardware.join([HOME, WORK], wait_ms=5000))
    assert ssid is None and 10000 <= took <= 10200
    assert wlan.log[-1] == "disconnect" and wlan.trying is None


def test_join_when_joined_changes_nothing():
    wlan = board(WLAN([HOME]))
    wlan.joined = "home"
    assert run(hardware.join([WORK, HOME])) == ("home", 0)
    assert wlan.log == ["active"]


def test_join_while_the_driver_is_trying_what_it_lost():
    wlan = board(WLAN([HOME]))
    wlan.active(True)
    wlan.connect("home", "an old key")
    assert run(hardware.join([HOME]))[0] == "home"


def test_join_does_not_take_the_network_before_for_this_one():
    # The first network answers just when its time is up, and its disconnect() takes a while to be seen.
    wlan = board(WLAN([HOME], takes=10000))
    generator = hardware.join([HOME, WORK], wait_ms=1000)
    disconnect = wlan.disconnect

    def late():
        if wlan.trying:
            wlan.joined = "home"
        disconnect()

    wlan.disconnect = late
    assert run(generator)[0] is None
    assert wlan.log.count("connect work") == 1


def test_join_tries_again_when_the_driver_refuses_once():
    wlan = board(WLAN([HOME]))
    connect = wlan.connect
    refusals = [1, 1]

    def stubborn(ssid, key):
        if refusals:
            refusals.pop()
            raise OSError("Wifi Internal State Error")
        connect(ssid, key)

    wlan.connect = stubborn
    assert run(hardware.join([HOME]))[0] == "home"


def test_join_survives_a_driver_that_always_fails():
    def broken(*args):
        raise OSError("Wifi Internal Error")

    wlan = board(WLAN([HOME]))
    wlan.connect = wlan.disconnect = broken
    ssid, took = run(hardware.join([HOME], wait_ms=5000))
    assert ssid is None and took <= 5100
    assert "Wifi Internal Error" in lines[0]
    wlan = board(WLAN([HOME]))
    wlan.active = broken
    assert run(hardware.join([HOME])) == (None, 0)
    assert "Wifi Internal Error" in lines[1]


# What the ESP32's driver raises: ESP-IDF's own errors, an SSID that is no UTF-8, memory.
FAULTS = (
    OSError("Wifi Internal Error"),
    RuntimeError("Wifi Unknown Error 0x3014"),
    UnicodeError(),
    ValueError("unknown config param"),
    TypeError("can't convert"),
    MemoryError("memory allocation failed"),
)


def broken(fault, method=None, until=None):
    """A driver's method that fails; until a time, if there is one."""

    def either(*args, **kw):
        if until is None or now < until:
            raise fault
        return method(*args)

    return either


def test_no_fault_of_a_driver_ends_a_program():
    for fault in FAULTS:
        for name in ("config", "isconnected", "ifconfig"):
            wlan = board(WLAN())
            wlan.joined = "home"
            setattr(wlan, name, broken(fault))
            hardware.lan = WLAN(address="10.0.0.5")
            hardware.lan.joined = "cable"
            assert hardware.mac() == "50-5A-65-51-82-13"
            assert hardware.addresses()[-1] == "10.0.0.5"
            assert hardware.net_type() == ("ethernet" if name == "isconnected" else "wifi")
            assert hardware.connected()
        sys.modules["network"].WLAN = sys.modules["machine"].unique_id = broken(fault)
        assert hardware.serial_number() == "" and hardware.net_type() == "ethernet"
        assert run(hardware.join([HOME])) == (None, 0)


def test_the_second_network_is_tried_whatever_the_first_one_raises():
    for fault in FAULTS:
        for name in ("connect", "isconnected", "disconnect"):
            wlan = board(WLAN([HOME, WORK]))
            setattr(wlan, name, broken(fault, getattr(wlan, name), until=1000))
            ssid, _ = run(hardware.join([HOME, WORK], wait_ms=1000))
            assert ssid == ("home" if name == "disconnect" else "work"), (fault, name, ssid)
            assert name == "disconnect" or str(fault) in lines[-1], lines


def test_neither_a_host_name_nor_a_network_s_name_keeps_the_board_out():
    for fault in FAULTS:
        wlan = board(WLAN([HOME]))
        sys.modules["network"].hostname = broken(fault)
        assert run(hardware.join([HOME], "a name that the chip does not take"))[0] == "home"
        wlan.config = broken(fault)
        assert run(hardware.join([HOME])) == ("", 0)


def test_a_watchdog_that_fails_is_said_and_ends_nothing():
    class Broken(Watchdog):
        def feed(self):
            raise OSError(-258)

    board()
    sys.modules["machine"].WDT = Broken
    hardware.watchdog(120)
    hardware.feed()
    assert lines == []
    for fault in FAULTS:
        sys.modules["machine"].WDT = broken(fault)
        hardware.watchdog(120)
        hardware.feed()
        assert "the watchdog does not start: " + str(fault) in lines.pop()


def test_join_without_networks_leaves_the_radio_alone():
    wlan = board(WLAN([HOME]))
    assert run(hardware.join([])) == (None, 0)
    assert wlan.log == []


def test_watchdog():
    board()
    hardware.feed()
    assert Watchdog.log == []
    hardware.watchdog(120)
    hardware.feed()
    assert Watchdog.log == [120000, "fed", "fed"]
    hardware.watchdog(7200)
    assert Watchdog.log[3] == 7200000
    hardware.watchdog(0)
    assert "WDT timeout too short" in lines[0] and Watchdog.log[-1] == "fed"
