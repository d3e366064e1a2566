"""The admission check: a good product passes, and of a broken one the rule is named that it breaks."""

import csv
import html
import json
import pickle
import re
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import filelock
import pytest
from click.testing import CliRunner
from devices import DEVICE, SECRET_INFO
from muster.clouds.chinamobile import TEST

from tools.admit import report, trial
from tools.admit.facts import CUT, FIRST, REBOOT, REPORT, TORN, Call, Kept, Start, read_product, refusals
from tools.admit.rules import RULES
from tools.board import Board
from tools.cli.main import main
from tools.cloud import Cloud
from tools.common import littlefs
from tools.common.paths import ROOT
from tools.common.records import newest
from tools.factory.product import BLOCKS, board_files, board_image

pytestmark = pytest.mark.skipif(trial.impossible() != "", reason=trial.impossible())

WIFI_KEY, PRODUCT_KEY = "wifi-key-of-home", "tiger-in-the-mine"
CONFIG = {
    "wifi": [{"ssid": "home", "key": WIFI_KEY}],
    "productId": "1234567890123",
    "productKey": PRODUCT_KEY,
    "firmwareVersion": "1.0.3",
}
ROWS = [{"deviceNo": f"AI-{n:04}", "cmei": f"1112345600000{n}7"} for n in range(1, 4)]
DAY = 86400


def write(folder, rows=ROWS, **changes):
    """A product's files: its configuration, where None takes a key out, and its batch."""
    config = {name: value for name, value in {**CONFIG, **changes}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(config))
    if rows is None:
        return ["--config", str(folder / "config.json")]
    with open(folder / "batch.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return ["--config", str(folder / "config.json"), "--identities", str(folder / "batch.csv")]


def admit(*arguments, status=0):
    """What the command prints for programs. No secret is in it, nor on its page."""
    done = CliRunner().invoke(main, ["admit", "--json", *map(str, arguments)])
    assert done.exit_code == status, done.output
    assert "Traceback" not in done.output
    assert not any(secret in done.output for secret in (WIFI_KEY, PRODUCT_KEY, DEVICE.product_key))
    return json.loads(done.stdout) if status < 2 else done.output


@pytest.fixture(scope="session")
def good(tmp_path_factory, worker_id):
    """A good product's facts, what the command said of it, and its page: gathered once, for all workers."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared if worker_id == "master" else shared.parent
    kept = shared / "admission.pickle"
    with filelock.FileLock(shared / "admission.lock"):
        if not kept.exists():
            gathered = []
            page = shared / "admission.html"
            with pytest.MonkeyPatch.context() as patch:
                real = trial.gathered
                patch.setattr(trial, "gathered", lambda *given: gathered.append(real(*given)) or gathered[0])
                said = admit(*write(shared), "-o", page)
            kept.write_bytes(pickle.dumps((gathered[0], said, page.read_text(encoding="utf-8"))))
    return pickle.loads(kept.read_bytes())


def failed(facts):
    """What the rules ask that have failed."""
    return [point.rule.asks for point in report.judged(facts).points if point.verdict.mark == "failed"]


# A good one


def test_a_good_product_passes(good):
    facts, said, _ = good
    assert said["passed"] and said["counts"]["failed"] == 0, said["points"]
    unchecked = [point["asks"] for point in said["points"] if point["verdict"] == "not checked"]
    by_nature = [rule.asks for rule in RULES if isinstance(rule.judge, str)]
    assert set(unchecked) - set(by_nature) == {
        "The platform knows the device.",
        "The product can verify the platform's certificate.",
    }
    assert said["product"]["deviceNo"] == "AI-0001" and said["product"]["cmei"] == ROWS[0]["cmei"]
    assert "Nothing public says how the platform itself tests" in said["note"]
    assert any("its address, and the CA root" in difference for difference in said["differences"])
    starts = [event.how for event in facts.events if isinstance(event, Start)]
    assert starts == [FIRST, REBOOT, CUT, TORN]


def test_the_trial_lasts_a_day_and_is_over_in_seconds(good):
    facts, _, _ = good
    times = [call.at for call in facts.heartbeats]
    assert times[-1] - times[0] > DAY and len(times) == 5
    assert all(call.accepted for call in facts.calls)


def test_the_page_has_every_point_and_no_secret(good):
    facts, _, page = good
    text = html.unescape(re.sub("<[^>]+>", "", page))
    for rule in RULES:
        assert rule.quote in text and rule.section in text and rule.asks in text
    for secret in (WIFI_KEY, PRODUCT_KEY, facts.identity["deviceSecret"]):
        assert secret not in page
    assert f"{time.localtime().tm_year}-" in text and "@page { size: A4" in page


# Each rule broken in turn


def called(path=None, at=0, **changes):
    """Facts in which a call is another: the first to that path, or the one at that place."""

    def broken(facts):
        calls = [call for call in facts.calls if path in (None, call.path)]
        events = list(facts.events)
        events[events.index(calls[at])] = replace(calls[at], **changes)
        return replace(facts, events=tuple(events))

    return broken


def heartbeat(gone=None, **changes):
    """Facts in which the last heartbeat has other fields, or lacks one."""

    def broken(facts):
        body = {**facts.heartbeats[-1].body, **changes}
        body.pop(gone, None)
        return called(REPORT, -1, body=body)(facts)

    return broken


def params(gone=None, **changes):
    """The same of its params."""

    def broken(facts):
        found = {**facts.heartbeats[-1].body["params"], **changes}
        found.pop(gone, None)
        return heartbeat(params=found)(facts)

    return broken


def configured(rows=ROWS, **changes):
    """The facts of a product with another configuration or batch. Where a board would not start, no more."""

    def broken(facts):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(folder, rows, **changes)
            raw, found = read_product(folder / "config.json", folder / "batch.csv")
        config, refused = refusals(raw)
        if refused:
            facts = replace(facts, events=(), unseen="a board does not start with this configuration")
        return replace(facts, config=config, refused=refused, rows=found)

    return broken


def fetched_again(how):
    """Facts in which the device fetches its secret after a start, as it did after the first."""

    def broken(facts):
        events = list(facts.events)
        at = next(n for n, event in enumerate(events) if isinstance(event, Start) and event.how == how)
        events.insert(at + 1, replace(facts.enrolments[0], at=events[at].at))
        return replace(facts, events=tuple(events))

    return broken


def moved(kind, which, /, **seconds):
    """Facts in which times of an event are moved: the one of its kind at that place."""

    def broken(facts):
        events = list(facts.events)
        found = [event for event in events if isinstance(event, kind)][which]
        changed = {name: getattr(found, name) + s for name, s in seconds.items()}
        events[events.index(found)] = replace(found, **changed)
        return replace(facts, events=tuple(events))

    return broken


def second(**changes):
    """The batch with another second row."""
    return [ROWS[0], {**ROWS[1], **changes}, ROWS[2]]


BROKEN = {
    "The configuration has the product's id and key.": configured(productKey=None),
    "The platform knows the device.": lambda facts: called(SECRET_INFO, code="500", reason="设备不存在")(
        replace(facts, hand=True, events=facts.events[:2])
    ),
    "The first start fetches the device's id and secret.": lambda facts: replace(
        facts, events=(facts.events[0], facts.events[2], facts.events[1], *facts.events[3:])
    ),
    "Heartbeats carry the id and the secret that were fetched.": heartbeat(deviceSecret="0" * 32),
    "The product calls the production address.": configured(baseUrl=TEST),
    "The product can verify the platform's certificate.": lambda facts: replace(facts, roots=0),
    "The secret is fetched by this call.": called(SECRET_INFO, content_type="text/plain"),
    "The secret is fetched once.": fetched_again(FIRST),
    "A reboot keeps the secret: it is not fetched again.": fetched_again(REBOOT),
    "A power cut keeps the secret: it is not fetched again.": fetched_again(CUT),
    "A power cut in the middle of a flash write keeps the secret: it is not fetched again.": fetched_again(
        TORN
    ),
    "A device leaves the header out, or puts an IP address there.": called(device_ip="home"),
    "The type of the device number is one of three.": configured(deviceNoType="MAC"),
    "Each device has a number of its own.": configured(second(deviceNo="AI-0003")),
    "The fetch carries these four, as configured.": lambda facts: called(
        SECRET_INFO, body={**facts.enrolments[0].body, "deviceNo": "AI-0009"}
    )(facts),
    "The product's id is not the number of a device that has one of its own.": configured(
        second(deviceNo=CONFIG["productId"])
    ),
    "No more than 24 hours pass between two heartbeats.": configured(deadline=DAY + 1),
    "The first start reports, and the time is kept.": moved(Kept, 0, last=1000),
    "The next report follows the document's reference, or a way of the maker's own (Q3).": moved(
        Kept, -1, next=7200
    ),
    "Reports come at T_next, also after a reboot and a power cut.": moved(Call, 3, at=-600),
    "The time of a report has a random part.": configured(jitter=0),
    "Heartbeats go to this call.": called(REPORT, method="PUT"),
    "A heartbeat carries these five, as configured.": heartbeat(gone="productKey"),
    "A list of IP addresses.": params(innerIp="192.168.4.7"),
    "A speed such as 0Mbps.": params(netSpeed="fast"),
    "The type of the network is named.": params(netType=""),
    "The operating system is named.": params(platform=None),
    "The version of the SDK is the one for devices that call the API.": params(sdkVersion="ai_2.0"),
    "The firmware's version is named, as configured.": params(firmwareVersion="1.0.2"),
    "A cellular product sends its IMEI, another the empty text.": params(imei="490154203237518"),
    "The CMEI has 15 digits; the empty text is for cellular products.": params(cmei="1112345600000"),
    "The MAC has six pairs of hexadecimal digits with hyphens between them.": params(mac="24:0A:C4:C0:FF:EE"),
    "All nine parameters are there, and no other.": params(gone="netSpeed"),
    "Every heartbeat is accepted.": called(REPORT, 3, code="500", reason="产品不存在"),
    "Every CMEI has 15 digits.": configured(second(cmei="11123456000002")),
    "Every CMEI begins with 11.": configured(second(cmei="211234560000027")),
    "All CMEIs of the product begin with the same eight digits, its TUI.": configured(
        second(cmei="111234570000027")
    ),
    "No two devices have the same CMEI, whatever its last digit.": configured(second(cmei="111234560000018")),
    "Heartbeats carry the CMEI of the configuration or of the device's row of the batch.": params(cmei=""),
}

# What else has to fail then.
ALSO = {
    "The platform knows the device.": "Every heartbeat is accepted.",
    "The CMEI has 15 digits; the empty text is for cellular products.": (
        "Heartbeats carry the CMEI of the configuration or of the device's row of the batch."
    ),
}


@pytest.mark.parametrize("rule", [rule for rule in RULES if callable(rule.judge)], ids=lambda rule: rule.asks)
def test_the_rule_that_is_broken_is_named(good, rule):
    assert set(failed(BROKEN[rule.asks](good[0]))) == {rule.asks, ALSO.get(rule.asks, rule.asks)}


def test_a_device_that_falls_silent_breaks_the_24_hours(good):
    facts = good[0]
    assert failed(replace(facts, until=facts.heartbeats[-1].at + DAY + 1)) == [
        "No more than 24 hours pass between two heartbeats."
    ]


FORGETS = b"""
import os

for name in os.listdir("/"):
    if name == "state":
        for record in os.listdir("/state"):
            os.remove("/state/" + record)
"""


def test_a_product_that_forgets_at_every_start_fails_in_what_a_restart_does(good, tmp_path):
    write(tmp_path)
    raw, _ = read_product(tmp_path / "config.json", tmp_path / "batch.csv")
    shipped = board_files(raw, [ROOT / "firmware" / "roots"])
    shipped["/main.py"] = FORGETS + shipped["/main.py"]
    facts = trial.tried(replace(good[0], events=()), shipped)
    assert failed(facts) == [
        "A reboot keeps the secret: it is not fetched again.",
        "A power cut keeps the secret: it is not fetched again.",
        "A power cut in the middle of a flash write keeps the secret: it is not fetched again.",
        "Reports come at T_next, also after a reboot and a power cut.",
    ]


def test_a_product_whose_program_ends_fails_and_says_what_it_printed(good, tmp_path):
    write(tmp_path)
    shipped = board_files(read_product(tmp_path / "config.json", tmp_path / "batch.csv")[0])
    shipped["/main.py"] = b"raise OSError('no microphone')\n"
    facts = trial.tried(replace(good[0], events=()), shipped)
    assert failed(facts) == ["The first start reports, and the time is kept."]
    assert facts.unseen.startswith("The trial ended early") and "no microphone" in facts.unseen


# As a person calls it


def test_a_configuration_that_a_board_refuses_fails_by_its_sentences_and_makes_no_trial(tmp_path):
    files = write(
        tmp_path, rows=None, productKey=None, sdkVersion="2.0", deviceNo="AI-1", cmei="860000000000000"
    )
    said = admit(*files, status=1)
    found = {point["asks"]: point["found"] for point in said["points"] if point["verdict"] == "failed"}
    assert list(found) == [
        "The configuration has the product's id and key.",
        "The version of the SDK is the one for devices that call the API.",
        "Every CMEI begins with 11.",
    ]
    assert '"productKey" is missing' in found["The configuration has the product's id and key."]
    assert "a board refuses this configuration" in said["unseen"]


def test_a_person_reads_the_documents_words_the_verdict_and_what_to_do(tmp_path):
    done = CliRunner().invoke(main, ["admit", *write(tmp_path, baseUrl=TEST, deadline=DAY + 1)])
    assert done.exit_code == 1 and "Traceback" not in done.output
    assert "直接使用正式环境适配" in done.stdout and "24小时至少上报一次" in done.stdout
    assert 'take "baseUrl" out of config.json' in done.stdout
    assert "Nothing public says how the platform itself tests" in done.stdout
    assert "It does not pass: " in done.stdout.splitlines()[-1] and "2 failed" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["--config", "config.json", "--port", "/dev/null"]])
def test_it_wants_a_product_or_a_board(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    assert "give --config for a product, or --port for a board" in admit(*arguments, status=2)


def test_what_no_rule_is_about_is_a_sentence(tmp_path):
    done = CliRunner().invoke(main, ["admit", *write(tmp_path, wifi=[{"ssid": "home", "key": "short"}])])
    assert done.exit_code == 1 and "wifi[0].key" in done.output and "Traceback" not in done.output


# A board in hand


@pytest.fixture(scope="module")
def in_hand(tmp_path_factory):
    """A board that has enrolled, and the box that is its platform."""
    with Cloud([DEVICE]) as cloud:
        config = DEVICE.config(cloud.url, wifi=[{"ssid": "muster-lab", "key": "password"}])
        flash = board_image(config, [cloud.ca_pem])
        with Board(tmp_path_factory.mktemp("board"), flash, rtc=int(time.time())) as board:
            board.wait_for("reported")
            yield board, cloud


def test_a_board_in_hand_reports_once_and_runs_again(in_hand, tmp_path):
    board, cloud = in_hand
    secret, before = newest(board.files(), "credentials"), len(cloud.calls())
    said = admit("--port", board.port, status=1)
    found = {point["asks"]: point for point in said["points"]}
    assert [asks for asks, point in found.items() if point["verdict"] == "failed"] == [
        "The product calls the production address."
    ]
    for asks in (
        "No more than 24 hours pass between two heartbeats.",
        "Every heartbeat is accepted.",
        "A reboot keeps the secret: it is not fetched again.",
        "Reports come at T_next, also after a reboot and a power cut.",
    ):
        assert found[asks]["verdict"] == "passed", found[asks]
    assert [call["path"] for call in cloud.calls()[before:]] == [REPORT]
    assert secret["deviceSecret"] not in json.dumps(said)
    board.wait_for("the next report is due in")
    assert newest(board.files(), "credentials") == secret


def test_a_board_in_hand_that_is_refused_or_has_anothers_number_says_so(in_hand, tmp_path):
    board, cloud = in_hand
    write(tmp_path, [{"deviceNo": DEVICE.device_no, "cmei": ROWS[0]["cmei"]}])
    cloud.misbehave(code="500", path=REPORT)
    said = admit("--port", board.port, "--identities", tmp_path / "batch.csv", status=1)
    cloud.behave()
    found = {point["asks"]: point["found"] for point in said["points"] if point["verdict"] == "failed"}
    assert "code 500" in found["Every heartbeat is accepted."]
    asks = "Heartbeats carry the CMEI of the configuration or of the device's row of the batch."
    assert "no row of the batch has the number AI-0001" in found[asks]


def test_a_board_without_muster_is_a_sentence(tmp_path):
    with Board(tmp_path, littlefs.build({"/boot.py": b""}, BLOCKS, 0)) as board:
        done = CliRunner().invoke(main, ["admit", "--port", board.port])
    assert done.exit_code == 1 and "flash it first" in done.output and "Traceback" not in done.output
