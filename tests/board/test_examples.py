"""firmware/examples, each flashed as main.py: what the clouds in a box saw of it, and its hardware."""

import csv
import http.server
import itertools
import json
import re
import subprocess
import sys
import time

import jwt
from devices import DEVICE, REPORT, hourly
from programs import needs_faketime, needs_micropython
from server_fixtures import Quiet, serving

from tools.board import Board
from tools.cloud import Cloud
from tools.common.certificates import make_ca, make_server
from tools.common.paths import ROOT
from tools.factory.product import board_image

EXAMPLES = ROOT / "firmware" / "examples"
DEVICE_ID = "240AC4C0FFEE"  # the virtual board's MAC


def flashed(folder, cloud, name, more=None, roots=None, **config):
    config = hourly(cloud, **{"wifi": [], **config})
    files = {path: json.dumps(content).encode() for path, content in (more or {}).items()}
    roots = {"box": cloud.ca_pem, **(roots or {})}
    return Board(folder, board_image(config, roots, more=files, main=EXAMPLES / f"{name}.py"))


def wait_until(true, timeout=20):
    until = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def heartbeat(cloud):
    return cloud.state()["devices"][0]["params"]


@needs_micropython
def test_a_product_on_ethernet_reports_over_its_cable(tmp_path, cloud):
    with flashed(tmp_path, cloud, "ethernet") as board:
        board.wait_for("the next report is due")
    assert heartbeat(cloud)["netType"] == "ethernet" and heartbeat(cloud)["innerIp"] == ["192.168.4.7"]


@needs_micropython
def test_a_4g_product_reports_its_modems_imei_and_dials_anew_when_the_link_is_lost(tmp_path, cloud):
    imei = "867322040000010"
    config = {"cellular": True, "imei": "", "netType": "4G", "period": 2, "deadline": 8}
    board = flashed(tmp_path, cloud, "cellular", **config)
    board.set_modem(imei=imei)
    with board:
        board.wait_for("reported")
        first = heartbeat(cloud)
        board.set_modem(imei=imei, carrier=False)
        wait_until(lambda: not (tmp_path / "on_line").exists())
        board.set_modem(imei=imei)
        wait_until(lambda: (tmp_path / "on_line").exists())
        before = len(cloud.calls(REPORT))
        wait_until(lambda: len(cloud.calls(REPORT)) > before)
    assert (first["netType"], first["imei"], first["innerIp"]) == ("4G", imei, ["10.64.0.2"])


HOUR = 3600


class Moving:
    """A board and the box, whose time a test lets pass."""

    def __init__(self):
        self.ahead = 0

    def __call__(self):
        return time.time() + self.ahead

    def sleep_out(self, board):
        """Lets the board sleep to the end. Returns for how long that was, in seconds."""
        pause = board.wait_asleep()
        self.ahead += pause
        board.pass_time(int(pause))
        board.wait_for("DEEPSLEEP_RESET")
        return pause


@needs_micropython
@needs_faketime
def test_a_device_on_a_battery_keeps_its_schedule_asleep_whatever_its_clock_does(tmp_path):
    now = Moving()
    with Cloud([DEVICE], now=now) as cloud:
        config = {
            "wifi": [{"ssid": "muster-lab", "key": "password"}],
            "period": 12 * HOUR,
            "deadline": 24 * HOUR,
        }
        with flashed(tmp_path, cloud, "battery", **config) as board:
            assert abs(now.sleep_out(board) - 12 * HOUR) < 60
            board.wait_asleep()
            board.shift_clock(400)  # a fast oscillator, and it wakes too early by its own clock's mistake
            now.ahead -= 400
            now.sleep_out(board)
            left = board.wait_asleep()
            assert abs(left - 400) < 60 and len(cloud.calls(REPORT)) == 2
            now.sleep_out(board)
            board.wait_asleep()
        reports = [call["time"] for call in cloud.calls(REPORT)]
    assert len(reports) == 3
    for before, after in itertools.pairwise(reports):
        assert 12 * HOUR - 1 <= after - before < 12 * HOUR + 60


@needs_micropython
@needs_faketime
def test_a_device_on_a_battery_sleeps_the_longer_the_more_often_it_has_failed(tmp_path):
    now = Moving()
    with Cloud([DEVICE], now=now) as cloud:
        cloud.misbehave(path=REPORT, status=500)
        with flashed(tmp_path, cloud, "battery", period=12 * HOUR, deadline=24 * HOUR) as board:
            assert [now.sleep_out(board), board.wait_asleep()] == [300, 600]
            cloud.behave()
            now.sleep_out(board)
            assert board.wait_asleep() > 11 * HOUR
            cloud.misbehave(path=REPORT, status=500)
            now.sleep_out(board)
            assert board.wait_asleep() == 300
    assert "SW_CPU_RESET" not in board.output


SECRET = "the gateway's secret, 32 bytes or more"


class Gateway(Quiet):
    """A maker's own: it takes a reading whose token another's code has verified."""

    def do_POST(self):
        token = self.headers["Authorization"].removeprefix("Bearer ")
        claims = jwt.decode(token, SECRET, ["HS256"])
        reading = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.heard.append((claims["iss"], claims["exp"] - claims["iat"], reading))
        self.send_response(204)
        self.end_headers()


@needs_micropython
def test_a_makers_own_gateway_takes_what_a_device_has_signed(tmp_path, cloud):
    root = make_ca("a maker's own")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    context = make_server("localhost", signer=root).context()
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.heard = []
    account = {"url": f"https://localhost:{server.server_port}/readings", "secret": SECRET}
    board = flashed(tmp_path, cloud, "gateway", {"/lib/gateway.json": account}, roots={"gateway": root.der})
    with serving(server), board:
        board.wait_for("the gateway says 204")
    [(device, life, reading)] = server.heard
    assert (device, life, list(reading)) == (DEVICE_ID, 300, ["uptime"])
    assert SECRET not in board.output and len(cloud.calls(REPORT)) == 1


@needs_micropython
def test_a_toy_hears_thinks_and_answers_aloud_while_its_heartbeat_is_reported(tmp_path, cloud):
    cloud.add_coze_token("pat_t0y")
    cloud.misbehave(path="/v1/audio/speech", bytes=8000)  # a quarter of a second for each sentence
    account = {"bot_id": "7379462189365198898", "voice_id": "7426720361733144585", "token": "pat_t0y"}
    board = flashed(tmp_path, cloud, "toy", {"/lib/coze.json": {**account, "base_url": cloud.url}})
    board.say(bytes(range(256)) * 32)
    with board:
        board.wait_for("reported")
        board.set_pin(0, 0)
        time.sleep(0.5)
        board.set_pin(0, 1)
        heard = int(board.wait_for(re.compile(r"child: .*收到了 (\d+) 字节"))[1])
        board.wait_for("公园散步吧。")
        sentences = board.output.count("\ntoy: ")
        wait_until(lambda: len(board.said()) >= 8000 * sentences)
    [usage] = cloud.state()["coze"]["usage"]
    assert (usage["device_id"], usage["calls"]) == (DEVICE_ID, 2 + sentences)
    assert heard > 44 + 8000 and heard % 2 == 0
    # The box's hum, at the rate that was asked for, a sentence at a time.
    hum = b"\x00\x08" * 80 + b"\x00\xf8" * 80
    assert board.said() == (hum * 25) * sentences and sentences >= 3
    assert heartbeat(cloud)["netType"] == "wifi"


def test_an_operators_script_tells_the_three_clouds_of_a_batch(tmp_path, cloud, operator):
    cloud.add_coze_token("pat_binds", may_bind=True)
    cloud.add_coze_channel("channel-1")
    numbers = ["AI-0001", "AI-0002"]
    (tmp_path / "batch.csv").write_text("deviceNo,cmei\n" + "".join(f"{n},\n" for n in numbers))
    accounts = {
        "baidu": operator["baidu"],
        "feishu": operator["feishu"],
        "coze": {"token": "pat_binds", "connector_id": "channel-1"},
    }
    for account in accounts.values():
        account["base_url"] = cloud.url
    (tmp_path / "accounts.json").write_text(json.dumps({"ca": str(cloud.ca_pem), **accounts}))
    command = [sys.executable, str(EXAMPLES / "register.py"), "batch.csv", "accounts.json"]

    def run():
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)

    done = run()
    assert done.returncode == 0, done.stderr
    with (tmp_path / "baidu.csv").open() as f:
        keys = {row["ak"]: row["sk"] for row in csv.DictReader(f)}
    assert list(keys) == numbers
    assert {device["ak"]: device["sk"] for device in cloud.baidu_devices()} == keys
    assert [record["serial_number"] for record in cloud.feishu_records()] == numbers
    [channel] = cloud.state()["coze"]["channels"]
    assert [device["value"] for device in channel["devices"]] == numbers
    again = run()
    assert again.returncode == 1 and "baidu.csv" in again.stderr and "Traceback" not in again.stderr
