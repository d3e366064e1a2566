"""`board --setup`: the set-up page in a browser of this computer, on a board among several networks."""

import json
import time
import urllib.error
import urllib.request

from click.testing import CliRunner

from tools.board.relay import Relay
from tools.cli import at_home, main
from tools.cli.board import prepare


def asked(url, body=None, **headers):
    """(status, headers, body). Nothing is followed."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read()


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


opener = urllib.request.build_opener(Stay)


def wait(url, state):
    until = time.monotonic() + 60
    while json.loads(asked(url + "state")[2])["state"] != state:
        assert time.monotonic() < until, asked(url + "state")
        time.sleep(0.1)


def test_a_browser_sets_the_board_up(tmp_path):
    with (
        at_home.example() as (config, roots),
        prepare(tmp_path, config, roots) as board,
        Relay(board) as relay,
    ):
        board.set_air(at_home.AIR)
        board.wait_for_portal(60)
        url = relay.url
        status, headers, _ = asked(url)
        assert status == 200 and headers["Content-Encoding"] == "gzip"
        # The probe of a phone, and this computer under its other name.
        for host in ("captive.apple.com", url.split("/")[2].replace("127.0.0.1", "localhost")):
            status, headers, _ = asked(url + "hotspot-detect.html", Host=host)
            assert (status, headers["Location"]) == (302, url)
        heard = [bytes.fromhex(ssid) for ssid, _, _ in json.loads(asked(url + "state")[2])["networks"]]
        assert heard[:3] == [b"Home", "客厅".encode(), "书房".encode("gbk")] and b"Cellar" not in heard
        wanted = {"ssid": b"Cellar".hex(), "key": "out-of-sight"}
        assert asked(url, wanted, Origin="http://elsewhere.example")[0] == 400
        assert asked(url, wanted, Origin=url.rstrip("/"))[0] == 202
        wait(url, "reached")
        board.wait_for("enrolled")
        board.wait_for("reported")
        until = time.monotonic() + 60
        while board.portal and time.monotonic() < until:
            time.sleep(0.1)
        assert asked(url)[0] == 503, "the access point is closed"


def test_all_networks_are_told_with_their_passwords():
    told = at_home.told()
    for network in at_home.AIR:
        name = network.get("ssid") or bytes.fromhex(network["ssid_hex"]).decode("gbk")
        assert name in told and network.get("key", "") in told


def test_it_needs_a_product_with_setup_or_none(tmp_path):
    with at_home.example() as (config, _):
        plain = json.loads(config.read_text())
    del plain["setup"]
    (tmp_path / "config.json").write_text(json.dumps(plain))
    done = CliRunner().invoke(main.main, ["board", "--setup", "--config", str(tmp_path / "config.json")])
    assert done.exit_code == 1 and 'has no "setup"' in done.stderr
