"""The example of a device with a button, on the virtual board: held, it opens the set-up page."""

import time
import urllib.request

from devices import DEVICE, hourly
from programs import needs_micropython

from tools.board import Board
from tools.cloud import Cloud
from tools.common.paths import ROOT
from tools.factory.product import board_image

BUTTON = 0
EXAMPLE = ROOT / "firmware" / "examples" / "button.py"


@needs_micropython
def test_a_button_that_is_held_opens_the_set_up_page_and_a_press_does_not(tmp_path):
    with Cloud([DEVICE], issued_days_ago=30) as cloud:
        config = hourly(cloud, policy="daily", deadline=86400, setup={"key": "GHJKMNPQRS", "name": "Bear"})
        image = board_image(config, [cloud.ca_pem], more={"/main.py": EXAMPLE.read_bytes()})
        with Board(tmp_path, image) as board:
            board.wait_for("the next report is due")
            board.set_pin(BUTTON, 0)
            time.sleep(1)
            board.set_pin(BUTTON, 1)
            time.sleep(5)
            pressed = time.monotonic()
            board.set_pin(BUTTON, 0)
            board.wait_for("请用手机扫描标签上的二维码")
            assert time.monotonic() - pressed > 4, "the press opened it"
            board.set_pin(BUTTON, 1)
            request = urllib.request.Request(board.wait_for_portal(), headers={"Host": "192.168.4.1"})
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert answer.status == 200
            assert board.access_point["ssid"] == "Bear-I-0001" and board.access_point["key"] == "GHJKMNPQRS"
