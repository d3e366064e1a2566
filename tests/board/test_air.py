"""The air around a virtual board: what its radio hears, and the access point that phones find."""

import re
import socket
import time

import pytest
from programs import image

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
input_at = time.time()
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
