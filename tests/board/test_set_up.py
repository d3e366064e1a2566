"""The set-up page of a board as it ships: access point, DNS and page reached as a phone reaches them."""

import contextlib
import gzip
import http.client
import json
import re
import socket
import struct
import time
from urllib.parse import urlsplit

import pytest
from devices import REPORT, identity
from programs import ask, needs_micropython, stop

from tools.board import Board
from tools.factory.product import board_image

SETUP = {"key": "ABCDE23456", "name": "toy"}
AIR = [
    {"ssid": "home", "key": "correct horse", "rssi": -40, "channel": 11},
    {"ssid": "café", "key": "", "rssi": -70},
    {"ssid": "unseen", "key": "12345678", "hidden": True},
]
ADDRESS = "192.168.4.1"
FINAL = ("reached", "unreached", "refused", "absent", "silent", "failed", "busy")
ASYNCIO = b"""\
import asyncio
import muster

async def main():
    agent.tell = lambda state: print("told", state)
    await agent.task()

agent = muster.Agent()
asyncio.run(main())
"""


class Phone:
    """Somebody in the access point's network. Its requests name the board's address, as a browser's do."""

    def __init__(self, board):
        self.port = urlsplit(board.wait_for_portal()).port
        self.names = board.access_point["53"]

    def ask(self, method="GET", path="/", body=None, **headers):
        """(status, headers, body) of the answer."""
        headers = {"Host": ADDRESS, **headers}
        if isinstance(body, dict):
            body, headers["Content-Type"] = json.dumps(body), "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def page(self):
        status, headers, body = self.ask()
        assert status == 200 and headers["Content-Encoding"] == "gzip"
        return gzip.decompress(body).decode()

    def state(self):
        return json.loads(self.ask(path="/state")[2])

    def gives(self, ssid, key):
        """Gives the board a network, as the page does. Returns how it ended."""
        status, _, _ = self.ask("POST", body={"ssid": ssid.encode().hex(), "key": key})
        assert status == 202
        return self.sees_the_end()

    def sees_the_end(self):
        for _ in range(300):
            state = self.state()["state"]
            if state in FINAL:
                return state
            time.sleep(0.1)
        raise AssertionError(f"it is still {state}")

    def resolves(self, name):
        """The addresses that the board's DNS gives."""
        query = struct.pack(">6H", 7, 0x100, 1, 0, 0, 0)
        query += b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0\0\1\0\1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(20)
            s.sendto(query, ("127.0.0.1", self.names))
            answer = s.recv(512)
        assert answer[:2] == query[:2] and answer[-6:-4] == b"\0\4"
        return socket.inet_ntoa(answer[-4:])


def sold(tmp_path, cloud, vm=None, main=None, **changes):
    """A board as its buyer unpacks it: it knows no Wi-Fi."""
    config = identity(cloud, **{"wifi": [], "setup": SETUP, **changes})
    more = {"/main.py": main} if main else {}
    image = board_image(config, [cloud.ca_pem], more=more, source=vm == "cpython")
    return Board(tmp_path / "board", image, air=AIR, vm=vm)


def closes(board):
    """Lets the time pass in which the page still shows how it ended."""
    board.pass_time(60)


@pytest.mark.parametrize("vm", [pytest.param("micropython", marks=needs_micropython), "cpython"])
def test_a_board_without_wifi_is_given_one_enrols_and_reports(tmp_path, cloud, vm):
    with sold(tmp_path, cloud, vm) as board:
        phone = Phone(board)
        point = board.access_point
        assert (point["ssid"], point["key"], point["channel"]) == ("toy-I-0001", SETUP["key"], 11)
        board.wait_for(f'join Wi-Fi "toy-I-0001" and open http://{ADDRESS}/')
        assert phone.resolves("captive.apple.com") == ADDRESS
        status, headers, _ = phone.ask(path="/hotspot-detect.html", Host="captive.apple.com")
        assert (status, headers["Location"]) == (302, f"http://{ADDRESS}/")
        assert re.findall("<option[^>]*>([^<]+)", phone.page()) == ["home", "café"]
        assert phone.gives("home", "a wrong key") == "refused"
        assert phone.gives("elsewhere", "12345678") == "absent"
        assert phone.gives("home", "correct horse") == "reached"
        closes(board)
        board.wait_for("reported")
        assert board.access_point is None and board.portal is None
        # At the next start boot.py knows it.
        board.reset()
        board.wait_for("muster: the next report is due")
        assert "set up" not in board.output.rpartition("rst:")[2]
    assert len(cloud.calls(REPORT)) == 1
    assert "correct horse" not in board.output and SETUP["key"] not in board.output


@needs_micropython
def test_a_form_without_javascript(tmp_path, cloud):
    with sold(tmp_path, cloud) as board:
        phone = Phone(board)
        token = re.search("name=token value=([0-9a-f]{32})>", phone.page())[1]
        fields = f"token={token}&ssid={b'home'.hex()}&name=unseen&key=12345678"
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert phone.ask("POST", "/", fields.replace(token, token[::-1]), **form)[0] == 400
        status, headers, _ = phone.ask("POST", "/", fields, **form)
        assert (status, headers["Location"]) == (303, f"http://{ADDRESS}/")
        assert phone.sees_the_end() == "reached"
        assert "data-state=reached" in phone.page()
        closes(board)
        board.wait_for("reported")


@needs_micropython
def test_in_an_asyncio_program_the_page_and_the_program_go_on_together(tmp_path, cloud):
    with sold(tmp_path, cloud, main=ASYNCIO) as board:
        phone = Phone(board)
        board.wait_for("told open")
        assert phone.gives("café", "") == "reached"
        closes(board)
        for state in ("trying", "joined", "reached", "closed"):
            board.wait_for("told " + state)
        board.wait_for("reported")


@needs_micropython
def test_a_platform_that_is_down_is_told_and_the_network_is_kept(tmp_path, cloud):
    with sold(tmp_path, cloud, baseUrl="https://localhost:9") as board:
        assert Phone(board).gives("home", "correct horse") == "unreached"
        stop(board)
        assert board.access_point is None
        kept = "[n['ssid'] for n in __import__('muster.portal.networks', None, None, ('x',)).load()]"
        assert ask(board, kept) == "['home']"


@needs_micropython
def test_ctrl_c_closes_it_and_the_prompt_can_ask_for_it(tmp_path, cloud):
    with sold(tmp_path, cloud) as board:
        board.wait_for_portal()
        stop(board)
        assert board.access_point is None
        board.write(b"agent.set_up(); agent.step()\r")
        assert Phone(board).gives("home", "correct horse") == "reached"
        closes(board)
        board.wait_for("reported")
        board.wait_for(">>> ")
        assert ask(board, "agent.forget_networks()") == "None"
        assert ask(board, "board.connected()") == "False"
        board.write(b"agent.set_up(); agent.step()\r")
        assert "home" in Phone(board).page()


@needs_micropython
def test_a_product_without_a_page_says_so(tmp_path, cloud):
    with Board(tmp_path, board_image(identity(cloud), [cloud.ca_pem])) as board:
        board.wait_for("reported")
        stop(board)
        assert ask(board, "agent.forget_networks()") == "None"
        board.write(b"agent.set_up()\r")
        board.wait_for('Error: "setup" is not configured')


@needs_micropython
def test_a_product_with_an_empty_set_up_joins_in_boot_py(tmp_path, cloud):
    with Board(tmp_path, board_image(identity(cloud, setup={}), [cloud.ca_pem])) as board:
        board.wait_for("reported")
        assert "boot.py:" not in board.output and "muster: joined" not in board.output


@needs_micropython
def test_the_old_router_comes_back_while_the_page_waits(tmp_path, cloud):
    known = [{"ssid": "factory", "key": "battery staple"}]
    with sold(tmp_path, cloud, wifi=known) as board:
        board.wait_for_portal()
        board.set_air([*AIR, *known])
        board.pass_time(60)
        board.wait_for("joined factory", timeout=30)
        board.wait_for("reported")
        assert board.access_point is None


@needs_micropython
def test_strangers_and_a_crowd_do_not_keep_the_buyer_out(tmp_path, cloud):
    with sold(tmp_path, cloud) as board:
        phone = Phone(board)
        crowd = [socket.create_connection(("127.0.0.1", phone.port)) for _ in range(20)]
        for slow in crowd:
            slow.sendall(b"GET / HTTP/1.1\r\nHost: ")
        stranger = socket.create_connection(("127.0.0.1", phone.port), source_address=("127.9.9.9", 0))
        stranger.settimeout(20)
        stranger.sendall(b"GET / HTTP/1.1\r\nHost: 192.168.4.1\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert stranger.recv(100) == b""
        stranger.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as noise:
            for n in range(5000):
                noise.sendto(n.to_bytes(2, "big") * (n % 200), ("127.0.0.1", phone.names))
        assert phone.gives("home", "correct horse") == "reached"
        for slow in crowd:
            slow.close()
