"""The air around a virtual board: what its radio hears, and the access point that phones find."""

import re
import socket
import ssl
import sys
import threading
import time

import pytest
import trustme
from programs import image, needs_micropython

from tools.board import Board
from tools.common.vm import find_micropython

MACHINES = ["cpython", *(["micropython"] if find_micropython() else [])]

START = """
import network, socket, time
ap = network.WLAN(network.AP_IF)
station = network.WLAN(network.STA_IF)

def raised(call, *args, **named):
    try:
        return call(*args, **named)
    except Exception as e:
        return "%s: %s" % (type(e).__name__, e)

def open_ap(channel=6):
    ap.active(True)
    ap.config(ssid="toy-123456", key="ABCDE23456", security=3, channel=channel, max_clients=3)

def serve(until=lambda: False):
    page = socket.socket()
    page.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    page.bind(socket.getaddrinfo("192.168.4.1", 80)[0][-1])
    page.listen(3)
    names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    names.bind(("192.168.4.1", 53))
    page.setblocking(False)
    names.setblocking(False)
    open = []
    while not until():
        time.sleep(0.005)
        try:
            phone, peer = page.accept()
            phone.setblocking(False)
            open.append((phone, peer))
            print("from", peer[0])
        except OSError as e:
            if e.args[0] != 11:
                return e
        try:
            data, peer = names.recvfrom(512)
            names.sendto(data + b" for " + peer[0].encode(), peer)
        except OSError:
            pass
        for pair in list(open):
            try:
                data = pair[0].recv(2000)
            except OSError:
                continue
            if data:
                pair[0].send(b"HTTP/1.0 200 OK\\r\\n\\r\\n" + pair[1][0].encode())
            pair[0].close()
            open.remove(pair)
"""


@pytest.fixture(params=MACHINES)
def run(request, tmp_path):
    """A function that starts a board with a program behind START."""
    boards = []

    def start(program, **settings):
        board = Board(tmp_path, image(START + program), vm=request.param, **settings)
        boards.append(board.start())
        return board

    yield start
    for board in boards:
        board.stop()


def get(board, source="127.0.0.1"):
    address = ("127.0.0.1", board.access_point["80"])
    with socket.create_connection(address, 10, (source, 0)) as phone:
        phone.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return phone.makefile("rb").read().rpartition(b"\r\n")[2].decode()


# The access point


@pytest.mark.skipif(sys.platform != "linux", reason="only 127.0.0.1 is an address of this computer")
def test_phones_reach_what_is_bound_to_the_access_point_s_address(run):
    board = run("open_ap()\nserve()\n")
    url = board.wait_for_portal()
    found = board.access_point
    assert url == f"http://127.0.0.1:{found['80']}/"
    assert {name: found[name] for name in ("ssid", "key", "address", "channel", "security")} == {
        "ssid": "toy-123456",
        "key": "ABCDE23456",
        "address": "192.168.4.1",
        "channel": 6,
        "security": 3,
    }
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.settimeout(10)
        for source, seen in (("127.0.0.1", b"192.168.4.2"), ("127.0.0.9", b"192.168.4.10")):
            assert get(board, source).encode() == seen
        phone.bind(("127.0.0.3", 0))
        deadline = time.monotonic() + 10
        while "53" not in board.access_point and time.monotonic() < deadline:
            time.sleep(0.01)
        phone.sendto(b"who", ("127.0.0.1", board.access_point["53"]))
        assert phone.recv(100) == b"who for 192.168.4.4"
    assert get(board, "127.7.0.1") == "127.7.0.1", "a stranger is seen as one"
    board.cut_power()
    assert board.access_point is None and board.portal is None


def test_nothing_listens_before_the_access_point_is_up_and_after_it(run):
    board = run("""
early = socket.socket()
print("early", raised(early.bind, ("192.168.4.1", 80)) is not None)
ap.active(True)
print("default")
while ap.status("stations") == []:
    time.sleep(0.01)
open_ap()
print("ended", raised(serve, lambda: not ap.status("stations") and not ap.active(False)))
print("off")
while True:
    time.sleep(0.1)
""")
    board.wait_for("early True\ndefault\n")
    found = board.access_point
    assert re.fullmatch(r"ESP_[0-9A-F]{6}", found["ssid"])
    assert found["key"] == "" and found["security"] == 0 and "80" not in found
    board.stations(1)
    port = board.wait_for_portal() and board.access_point["80"]
    assert get(board) == "192.168.4.2"
    board.stations(0)
    board.wait_for("off\n")
    assert board.access_point is None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


def test_a_soft_reset_leaves_the_access_point_on_and_takes_the_sockets_along(run):
    board = run("""
if not ap.active():
    open_ap()
    serve(lambda: ap.status("stations"))
    import machine
    machine.soft_reset()
print("again", ap.active(), ap.config("ssid"), station.active())
while ap.status("stations"):
    time.sleep(0.01)
serve()
""")
    board.wait_for_portal()
    board.stations(1)
    board.wait_for("again True toy-123456 False\n")
    assert board.access_point["ssid"] == "toy-123456" and board.portal is None
    board.stations(0)
    board.wait_for_portal()
    assert get(board) == "192.168.4.2"
    board.reset()
    board.wait_for_portal()


def test_the_access_point_takes_all_its_settings_or_none(run):
    board = run("""
print(raised(ap.config, ssid="toy"))
print(ap.ifconfig(("192.168.9.5", "255.255.255.0", "192.168.9.5", "192.168.9.5")), ap.ipconfig("addr4"))
ap.active(True)
print(raised(ap.config, ssid="toy", key="1234567", security=3))
print(raised(ap.config, ssid="toy", key="12345678", security=3, channel=14))
print(raised(ap.config, ssid="toy", security=5), raised(ap.config, reconnects=1))
print(ap.config("security"), ap.config("ssid")[:4], ap.config("max_clients"))
ap.config(ssid="toy", key="", security=0, hidden=True, channel=11)
print(ap.config("ssid"), ap.config("security"), ap.config("hidden"), ap.config("channel"))
print(raised(station.config, ssid="toy"), raised(station.status, "stations"), raised(ap.status, "rssi"))
print("stations", ap.isconnected(), ap.status("stations"))
while not ap.isconnected():
    time.sleep(0.01)
print("max", len(ap.status("stations")))
ap.active(False)
print(ap.isconnected(), raised(ap.status, "stations"))
ap.active(True)
print(ap.config("ssid"))
""")
    board.wait_for("""OSError: Wifi Invalid Mode
None ('192.168.9.5', '255.255.255.0')
OSError: Wifi Invalid Password
RuntimeError: Wifi Unknown Error 0x0102
RuntimeError: Wifi Unknown Error 0x0102 OSError: STA required
0 ESP_ 4
toy 0 True 11
OSError: AP required OSError: AP required OSError: STA required
stations False []
""")
    assert board.access_point["address"] == "192.168.9.5" and board.access_point["key"] == ""
    board.stations(9)
    board.wait_for("max 4\nTrue OSError: Wifi Invalid Mode\ntoy\n")


# The station


GBK = repr("客厅".encode("gbk"))
AIR = [
    {"ssid": "home", "key": "12345678", "rssi": -60, "channel": 11},
    {"ssid_hex": "客厅".encode("gbk").hex(), "key": "12345678", "rssi": -40, "channel": 1},
    {"ssid": "secret", "key": "12345678", "hidden": True, "rssi": -70},
    {"ssid": "cafe", "rssi": -80},
    {"ssid": "old", "key": "12345678", "security": 2, "rssi": -81},
    {"ssid": "s" * 32, "key": "12345678", "rssi": -82},
    {"ssid": "slow", "key": "12345678", "refuse_code": 15, "rssi": -83},
    {"ssid": "full", "key": "12345678", "refuse_code": 205, "rssi": -84},
    {"ssid": "silent", "key": "12345678", "answers": False, "rssi": -85},
]


def test_it_hears_names_as_bytes_the_strongest_first_and_hidden_ones_without(run):
    board = run(
        """
print(station.scan())
station.active(True)
print([(n[0], n[2], n[3], n[4], n[5]) for n in station.scan()][:5])
station.connect("nobody", "12345678")
print("connecting", station.scan())
station.disconnect()
station.active(False)
ap.active(True)
print(raised(station.scan))
""",
        air=AIR,
    )
    board.wait_for(
        f"[]\n[({GBK}, 1, -40, 3, False), (b'home', 11, -60, 3, False), (b'', 6, -70, 3, False), "
        "(b'cafe', 6, -80, 0, False), (b'old', 6, -81, 2, False)]\n"
    )
    board.wait_for("connecting []\nOSError: STA must be active\n")


def test_status_tells_what_the_port_would(run):
    tries = [
        *(("home", "12345678", 1010), ("home", "wrong-key", 202), ("nobody", "12345678", 201)),
        *(("slow", "wrong-key", 1001), ("full", "wrong-key", 202), ("home", "", 210)),
        *(("cafe", "12345678", 211), ("old", "12345678", 211), ("cafe", "", 1010)),
        *(("secret", "12345678", 1010), ("客厅".encode("gbk"), b"12345678", 1010)),
    ]
    board = run(
        f"""
def told(ssid, key, code):
    station.connect(ssid, key)
    while station.status() != code:
        time.sleep(0.01)
    station.disconnect()

station.active(True)
print("retries", station.config("reconnects"))
for one in {tries!r}:
    told(*one)
station.config(reconnects=0)
print("retries", station.config("reconnects"))
told("slow", "wrong-key", 15)
told("home", "wrong-key", 202)
# With no tries left there is nothing to leave, and the old code stays until the next event.
station.connect("late", "12345678")
print("still", station.status())
""",
        air=[*AIR, {"ssid": "late", "key": "12345678", "join_s": 30}],
    )
    board.wait_for("retries -1\nretries 0\nstill 202\n")


def test_what_a_name_of_32_bytes_and_one_that_is_no_utf_8_do_to_config(run):
    board = run(
        f"""
station.active(True)
for ssid in ("s" * 32, {GBK}):
    station.connect(ssid, "12345678")
    while not station.isconnected():
        time.sleep(0.01)
    print(raised(station.config, "ssid")[:44])
    station.disconnect()
""",
        air=AIR,
    )
    board.wait_for("s" * 32 + "12345678\nUnicode")


def test_a_router_without_addresses_is_joined_and_silent(run):
    board = run(
        """
station.active(True)
print(raised(station.status, "rssi"))
station.connect("silent", "12345678")
while isinstance(raised(station.status, "rssi"), str):
    time.sleep(0.01)
print("joined", station.isconnected(), station.status(), station.ifconfig()[0], station.status("rssi"))
while not station.isconnected():
    time.sleep(0.01)
print("answers", station.status())
""",
        air=AIR,
    )
    board.wait_for("OSError: Wifi Not Connected\njoined False 1001 0.0.0.0 -85\n")
    board.set_air([{**AIR[-1], "answers": True}])
    board.wait_for("answers 1010\n")


def test_settings_are_refused_while_it_connects(run):
    board = run(
        """
station.active(True)
station.connect("nobody", "12345678")
print(raised(station.config, reconnects=1))
station.disconnect()
print(raised(station.config, reconnects=-1))
""",
        air=AIR,
    )
    board.wait_for("OSError: Wifi Internal State Error\nNone\n")


# One radio


MOVING = {"ssid": "home", "key": "12345678", "channel": 11, "move_s": 1.0, "join_s": 0.2, "refuse_first": 1}


def test_the_access_point_follows_the_station_and_is_deaf_on_the_way(run):
    board = run(
        """
open_ap(channel=6)
station.active(True)
station.config(reconnects=0)
moved = []

def step():
    if ap.status("stations") and not moved:
        moved.append(station.connect("home", "12345678"))
        print("channel", ap.config("channel"))
    elif moved == [None] and station.status() == 202:
        moved.append(station.connect("home", "12345678"))
        print("refused")
    elif station.isconnected() and len(moved) == 2:
        print("channel", ap.config("channel"), station.config("channel"))
        moved.append(3)

serve(step)
""",
        air=[MOVING],
    )
    board.wait_for_portal()
    address = ("127.0.0.1", board.access_point["80"])
    assert get(board) == "192.168.4.2"
    with socket.create_connection(address, 10) as phone:
        board.wait_for("from")
        board.stations(1)
        board.wait_for("channel 6\n")
        phone.sendall(b"GET / HTTP/1.0\r\n\r\n")
        phone.settimeout(0.3)
        with pytest.raises(TimeoutError):
            phone.recv(100)
        board.wait_for("refused\n")
        board.wait_for("channel 11 11\n")
        phone.settimeout(10)
        assert phone.recv(100).startswith(b"HTTP/1.0 200")
    assert board.access_point["channel"] == 11


@needs_micropython
def test_a_poll_tells_nothing_of_what_is_not_heard(tmp_path):
    program = """
import select
open_ap(channel=6)
station.active(True)
page = socket.socket()
page.bind(("192.168.4.1", 80))
page.listen(1)
poll = select.poll()
poll.register(page, select.POLLIN)
while not poll.poll(100):
    pass
print("heard", page.accept()[1][0])
station.connect("home", "12345678")
print("moving")
start = time.ticks_ms()
while not poll.poll(100):
    pass
print("deaf", time.ticks_diff(time.ticks_ms(), start) > 900, page.accept()[1][0])
"""
    with Board(tmp_path, image(START + program), air=[MOVING]) as board:
        board.wait_for_portal()
        address = ("127.0.0.1", board.access_point["80"])
        with socket.create_connection(address, 10):
            board.wait_for("heard 192.168.4.2\nmoving\n")
            with socket.create_connection(address, 10):
                board.wait_for("deaf True 192.168.4.2\n")


def test_what_is_no_part_of_the_access_point_is_the_host_s_own(run):
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("board.test").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with context.wrap_socket(server.accept()[0], server_side=True) as client:
                client.sendall(client.recv(5)[::-1])

        thread = threading.Thread(target=serve)
        thread.start()
        board = run(f"""
import ssl
open_ap()
raw = socket.socket()
raw.connect(socket.getaddrinfo("127.0.0.1", {server.getsockname()[1]})[0][-1])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
try:
    context.check_hostname = False
except AttributeError:
    pass
context.verify_mode = ssl.CERT_NONE
talk = context.wrap_socket(raw)
talk.write(b"hello")
print(talk.read(5))
talk.close()
""")
        board.wait_for("b'olleh'\n")
        thread.join(10)
        assert board.portal is None
