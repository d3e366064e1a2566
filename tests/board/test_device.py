"""The device as it ships: boot.py and main.py from a flash image, against the platform in a box."""

import dataclasses
import json
import re
import time

import pytest
from devices import DEVICE, REPORT, SECRET_INFO, hourly, settings
from programs import ask, needs_micropython, stop

from tools.board import Board, BoardError
from tools.cloud import Cloud
from tools.common.paths import ROOT
from tools.common.records import newest
from tools.factory.product import board_image

pytestmark = needs_micropython


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "board"


def switch_on(folder, cloud, config, **how):
    source = how.get("vm") == "cpython"
    return Board(folder, board_image(config, [cloud.ca_pem], source=source), **how)


def test_enrols_over_a_certificate_newer_than_its_clock_and_reports(folder, cloud):
    # No NTP, a clock in 2000, and a certificate issued a month ago: the fixture's.
    with switch_on(folder, cloud, settings(cloud)) as board:
        board.wait_for("enrolled")
        board.wait_for("reported")
        board.wait_for("reported")
    heartbeat = cloud.state()["devices"][0]["params"]
    assert heartbeat["mac"] == "24-0A-C4-C0-FF-EE" and heartbeat["innerIp"] == ["192.168.4.7"]
    assert heartbeat["netType"] == "wifi" and heartbeat["firmwareVersion"] == "1.0"
    assert len(cloud.calls(SECRET_INFO)) == 1


def test_enrols_by_the_address_that_a_real_board_would_call(folder):
    with Cloud([DEVICE], host="0.0.0.0") as cloud:
        if len(cloud.urls) == 1:
            pytest.skip("this computer is in no network")
        with switch_on(folder, cloud, hourly(cloud, baseUrl=cloud.urls[1])) as board:
            board.wait_for("reported")


def test_its_clock_is_the_platforms_after_the_first_answer(folder, cloud):
    with switch_on(folder, cloud, hourly(cloud)) as board:
        board.wait_for("reported")
        board.cut_power()
        assert abs(newest(board.files(), "schedule")["last"] - time.time()) < 5


def test_a_second_boot_fetches_nothing_and_reports_nothing_early(folder, cloud):
    with switch_on(folder, cloud, hourly(cloud)) as board:
        board.wait_for("reported")
        board.reset()
        board.wait_for("muster: the next report is due in 60 min")
        stop(board)
        # Its clock began in 2000 again. It asked the platform for the time, and found that it was early.
        assert ask(board, "(agent.status()['clock_trusted'], agent.status()['failures'])") == "(True, 0)"
    assert len(cloud.calls(SECRET_INFO)) == 1 and len(cloud.calls(REPORT)) == 1


def test_another_device_number_fetches_again(folder, cloud):
    cloud.add_device(**dataclasses.asdict(dataclasses.replace(DEVICE, device_no="AI-0002")))
    with switch_on(folder, cloud, hourly(cloud)) as board:
        board.wait_for("reported")
        files = board.files()
    config = hourly(cloud, deviceNo="AI-0002")
    with Board(folder, board_image(config, [cloud.ca_pem], files)) as board:
        board.wait_for("enrolled")
        board.wait_for("reported")
    assert [call["device"] for call in cloud.calls(SECRET_INFO)] == ["AI-0001", "AI-0002"]
    assert [call["device"] for call in cloud.calls(REPORT)] == ["AI-0001", "AI-0002"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("expired", "it has expired"),
        ("foreign", "no trusted root has signed it"),
        ("misnamed", "it is for another name"),
    ],
)
def test_a_bad_certificate_gets_not_a_byte_and_is_tried_again_later(folder, cloud, kind, reason):
    with switch_on(folder, cloud, settings(cloud)) as board:
        board.wait_for("reported")
        before = len(cloud.calls())
        cloud.misbehave(certificate=kind)
        board.wait_for(reason)
        assert len(cloud.calls()) == before
        cloud.behave()
        board.wait_for("reported", timeout=20)


def test_power_cut_during_any_flash_operation_of_enrolment_loses_nothing(folder, cloud):
    with switch_on(folder, cloud, hourly(cloud)) as board:
        board.wait_for("reported")
        operations = board.operations
    assert operations >= 2
    for at in range(1, operations + 1):
        before = len(cloud.calls(SECRET_INFO))
        place = folder / str(at)
        with switch_on(place, cloud, hourly(cloud), cut_at=at, torn=0.5) as board:
            board.wait_off()
            stored = bool(newest(board.files(), "credentials"))
        with Board(place) as board:
            # Cut after the report was recorded, it has nothing to say now.
            if not (stored and newest(board.files(), "schedule")):
                board.wait_for("reported")
        assert len(cloud.calls(SECRET_INFO)) - before == 1 + (not stored), at


def test_ctrl_c_ends_at_a_prompt_that_stays(folder, cloud):
    with switch_on(folder, cloud, hourly(cloud)) as board:
        board.wait_for("reported")
        stop(board)
        said = ask(board, "(agent.status()['enrolled'], agent.enrol())")
        assert said.startswith("(True, ") and "'deviceSecret': '***'" in said
        board.write(b"\x04")
        board.wait_for("soft reboot")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no /config.json: write one"),
        ({"productId": "p"}, '"productKey" is missing'),
        ({"produktId": "p"}, 'did you mean "productId"?'),
    ],
)
def test_a_missing_or_wrong_configuration_says_what_to_do_and_leaves_a_prompt(folder, cloud, content, words):
    flash = board_image(content or {}, [cloud.ca_pem])
    with Board(folder, flash, rtc=int(time.time())) as board:
        if content is None:
            board.wait_for(">>> ")
            board.write(b"import os; os.remove('/config.json'); import machine; machine.reset()\r")
            board.wait_for("import os")
        board.wait_for("not set up")
        board.wait_for(words)
        board.wait_for(">>> ")
        assert ask(board, "6 * 7") == "42"
        says_what_is_logged(board)
    assert not cloud.calls()


def says_what_is_logged(board):
    """boot.py itself is silent; what comes after it at the prompt is not."""
    board.write(b"from muster import log; log.info('here I am')\r")
    board.wait_for("\nmuster: here I am")


def test_ctrl_c_while_it_joins_leaves_a_prompt_that_says_what_is_logged(folder, cloud):
    config = hourly(cloud, wifi=[{"ssid": "gone", "key": "12345678"}])
    boot = (ROOT / "boot.py").read_text().replace("wait.run(", "print('joins') or wait.run(")
    image = board_image(config, [cloud.ca_pem], more={"/boot.py": boot.encode()})
    with Board(folder, image) as board:
        board.wait_for("joins")
        stop(board)
        says_what_is_logged(board)


def test_it_joins_its_second_network_when_the_first_is_not_there(folder, cloud):
    config = hourly(
        cloud, wifi=[{"ssid": "gone", "key": "12345678"}, {"ssid": "muster-lab", "key": "password"}]
    )
    with switch_on(folder, cloud, config) as board:
        board.wait_for("reported", timeout=20)
        assert "12345678" not in board.output and "password" not in board.output


def test_the_radio_is_as_the_configuration_says(folder, cloud):
    with switch_on(folder, cloud, hourly(cloud, pm="none", txpower=8)) as board:
        board.wait_for("the next report is due")
        stop(board)
        board.write(b"import network, sys\r")
        assert ask(board, "[network.WLAN().config(n) for n in ('pm', 'txpower')]") == "[0, 8.0]"
        # What boot.py and a step needed for a moment is gone.
        left = [
            "wifi",
            "config",
            "cmei",
            "heartbeat",
            "store",
            "net.carrier",
            "jsontext",
            "clouds.chinamobile",
        ]
        assert ask(board, f"[n for n in {left} if 'muster.' + n in sys.modules]") == "[]"


def test_a_network_that_comes_back_is_joined_again(folder, cloud):
    with switch_on(folder, cloud, settings(cloud)) as board:
        board.wait_for("reported")
        board.cut_network()
        time.sleep(4)  # two periods: it has noticed
        before = len(cloud.calls())
        board.restore_network()
        board.wait_for("joined muster-lab", timeout=20)
        board.wait_for("reported")
        assert len(cloud.calls()) == before + 1


def test_a_loop_that_hangs_is_ended_by_the_watchdog(folder, cloud):
    with switch_on(folder, cloud, hourly(cloud)) as board:
        board.wait_for("reported")
        stop(board)
        board.write(b"import time; board.watchdog(1)\rwhile True: time.sleep(1)\r\r")
        board.wait_for("watchdog", timeout=10)
        board.wait_for("watchdog got triggered", timeout=10)


def test_half_a_megabyte_of_heap_is_plenty(folder, cloud):
    with switch_on(folder, cloud, hourly(cloud), heap=512 * 1024) as board:
        board.wait_for("reported")


def test_no_secret_is_on_the_console_or_in_the_clouds_log(folder, cloud):
    with switch_on(folder, cloud, settings(cloud)) as board:
        board.wait_for("reported")
        cloud.misbehave(code="500", times=1)
        board.wait_for("refused")
        secret = newest(board.files(), "credentials")["deviceSecret"]
        said = board.output
    assert secret not in said and DEVICE.product_key not in said and "password" not in said
    assert secret not in json.dumps(cloud.state())


def test_without_micropython_it_runs_on_cpython(folder, cloud):
    with switch_on(folder, cloud, settings(cloud), vm="cpython") as board:
        board.wait_for("enrolled")
        board.wait_for("reported")
        board.wait_for("reported")
        board.reset()
        board.wait_for("reported")
    assert len(cloud.calls(SECRET_INFO)) == 1


def test_a_board_that_says_nothing_says_so(folder):
    with Board(folder) as board, pytest.raises(BoardError, match="did not print"):
        board.wait_for("enrolled", timeout=0.5)


def test_an_eighth_of_the_heap_is_collected_at_a_time(folder, cloud):
    asks = {"/main.py": b"import gc\nprint('collects at', gc.threshold())\n"}
    image = board_image(settings(cloud), [cloud.ca_pem], more=asks)
    with Board(folder / "board", image, heap=512 * 1024) as board:
        told = int(board.wait_for(re.compile(r"collects at (-?\d+)"))[1])
    assert 56 * 1024 < told <= 64 * 1024
