"""Labels to print: other people's code draws the pages and reads the codes on them."""

import csv
import json
import os
import stat
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from muster import cmei as luhn

from tools.cli import labels as command
from tools.cli.main import main
from tools.factory import labels

pytest.importorskip("numpy")
pypdfium2 = pytest.importorskip("pypdfium2")
zxingcpp = pytest.importorskip("zxingcpp")

DOTS = 300 / 72  # of a printer, for each point
MM = 72 / 25.4

CONFIG = {
    "productId": "1234567890123",
    "productKey": "tiger-in-the-mine",
    "deviceNo": "auto",
    "cmei": "",
    "firmwareVersion": "1.0.0",
    "setup": {"name": "小熊", "address": "10.7.0.1"},
}
CMEIS = ("111234560000011", "111234560000029")
KEYS = ("GBCDE23456", "HBCDE23456")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(rows, config=CONFIG, **setup):
    Path("config.json").write_text(json.dumps({**config, "setup": {**config.get("setup", {}), **setup}}))
    with open("batch.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def run(*more, status=0):
    return call("labels", "batch.csv", "--config", "config.json", "-o", "labels.pdf", *more, status=status)


def call(*given, status=0):
    done = CliRunner().invoke(main, [*map(str, given)])
    assert done.exit_code == status, done.output
    assert not any(key in done.output for key in KEYS) and "Traceback" not in done.output
    return done.output


def pages():
    return list(pypdfium2.PdfDocument("labels.pdf"))


def text(page):
    return "".join(page.get_textpage().get_text_range().split())


def codes(page):
    """What a scanner reads on a page, as it comes out of a printer."""
    return Counter((str(f.format), f.text) for f in zxingcpp.read_barcodes(page.render(DOTS).to_numpy()))


def expected(number, *wifi, bars=True, square=True):
    found = [("QR Code", text) for text in wifi]
    return Counter(found + [("Code 128", number)] * bars + [("QR Code", number)] * square)


def rows(*numbers, **more):
    return [{"deviceNo": n, "setup.key": key, **more} for n, key in zip(numbers, KEYS, strict=False)]


def test_each_board_has_a_label_with_all_that_a_worker_and_a_buyer_need():
    made = rows("AI-2611-000042", "AI-2611-000043")
    write([{**row, "cmei": cmei} for row, cmei in zip(made, CMEIS, strict=True)])
    assert "2 labels. Whoever has it has the keys on them" in run()
    [page] = pages()
    joins = [f"WIFI:T:WPA;S:小熊-00004{n};P:{key};;" for n, key in zip((2, 3), KEYS, strict=True)]
    assert codes(page) == expected(CMEIS[0], joins[0]) + expected(CMEIS[1], joins[1])
    found = text(page)
    for n, key, cmei in zip((2, 3), KEYS, CMEIS, strict=True):
        for said in (f"小熊-00004{n}", key, "http://10.7.0.1/", f"SNAI-2611-00004{n}", f"CMEI{cmei}"):
            assert said in found


def test_a_number_that_is_the_cmei_too_stands_there_once():
    write([{"deviceNo": cmei, "cmei": cmei, "setup.key": key} for cmei, key in zip(CMEIS, KEYS, strict=True)])
    config = json.loads(Path("config.json").read_text())
    Path("config.json").write_text(json.dumps({**config, "deviceNoType": "CMEI"}))
    run()
    assert [text(pages()[0]).count(cmei) for cmei in CMEIS] == [1, 1]


def test_a_product_without_a_set_up_page_has_its_numbers(monkeypatch):
    monkeypatch.setattr(command, "TOLD_EACH", 1)
    plain = {name: value for name, value in CONFIG.items() if name != "setup"}
    write([{"deviceNo": "AI-1", "cmei": CMEIS[0]}], plain)
    assert run() == "1 of 1 labels are drawn\nlabels.pdf: 1 label.\n"
    assert codes(pages()[0]) == expected(CMEIS[0]) and text(pages()[0]) == f"SNAI-1CMEI{CMEIS[0]}"
    write([{"deviceNo": "AI-1"}], plain)
    run()
    assert codes(pages()[0]) == expected("AI-1")


@pytest.mark.parametrize(
    ("ssid", "key", "text"),
    [
        ("Bear-000042", "GBCDE23456", "WIFI:T:WPA;S:Bear-000042;P:GBCDE23456;;"),
        ("Bear-000042", "", "WIFI:T:nopass;S:Bear-000042;;"),
        ('a\\b;c,d:e"f', 'g\\;,:"\\h', 'WIFI:T:WPA;S:a\\\\b\\;c\\,d\\:e\\"f;P:g\\\\\\;\\,\\:\\"\\\\h;;'),
    ],
)
def test_the_text_of_a_code(ssid, key, text):
    assert labels.wifi(ssid, key) == text


def test_marks_that_mean_something_are_text_on_the_page_and_in_the_code():
    name, key = '<b>&"\\;,:', "a\\b;c,d:e\"f'<"
    write([{"deviceNo": "1", "setup.key": key}], name=name)
    run()
    assert ("QR Code", labels.wifi(f"{name}-1", key)) in codes(pages()[0])
    assert f"{name}-1" in text(pages()[0]) and key in text(pages()[0])


def test_an_open_access_point_has_no_key():
    write([{"deviceNo": "AI-000042"}], key="")
    run()
    assert ("QR Code", "WIFI:T:nopass;S:小熊-000042;;") in codes(pages()[0])
    assert "Key无none" in text(pages()[0])
    command = ["labels", "batch.csv", "--config", "config.json", "-o", "labels.pdf", "--json"]
    done = CliRunner().invoke(main, command)
    assert "anybody near can open" in done.stderr and json.loads(done.stdout)["count"] == 1


@pytest.mark.parametrize(
    ("size", "bars", "square"),
    [
        ("60x40", True, True),
        ("100.5x50", True, True),
        ("40x30", True, False),
        ("30x50", False, True),
    ],
)
def test_a_label_printer_gets_one_label_a_page_with_the_codes_for_which_there_is_room(size, bars, square):
    write([{**row, "cmei": cmei} for row, cmei in zip(rows("AI-000001", "AI-000002"), CMEIS, strict=True)])
    run("--size", size)
    for n, page in enumerate(pages()):
        join = f"WIFI:T:WPA;S:小熊-00000{n + 1};P:{KEYS[n]};;"
        assert codes(page) == expected(CMEIS[n], join, bars=bars, square=square)
        assert f"AI-00000{n + 1}" in text(page)
        assert page.get_size() == pytest.approx([float(side) * MM for side in size.split("x")], abs=0.1)


def test_sheets_have_as_many_labels_as_they_are_cut_into():
    made = [(f"AI-{n:06}", luhn.make("11000000", n), f"GBCDE{n:06}") for n in range(43)]
    write([dict(zip(("deviceNo", "cmei", "setup.key"), one, strict=True)) for one in made])
    assert json.loads(run("--json")) == {"output": "labels.pdf", "count": 43}
    assert [text(page).count("SNAI-") for page in pages()] == [21, 21, 1]
    assert [sum(codes(page).values()) for page in pages()] == [63, 63, 3]
    run("--sheet", "100x150", "--columns", "1", "--rows", "4", "--margin", "0x0")
    assert [text(page).count("SNAI-") for page in pages()] == [4] * 10 + [3]
    assert labels.Sheet((210, 297), 3, 7, (7.2, 15.15), 2.5).label == pytest.approx((63.5, 38.1), abs=0.05)


def test_the_longest_texts_fit_or_are_refused():
    write([{"deviceNo": "AI-" + "0" * 60, "setup.key": "K" * 63}], name="n" * 24)
    assert "too small for the text of" in run("--size", "35x15", status=1)
    assert not os.path.exists("labels.pdf")
    run("--size", "80x50")
    assert "K" * 63 in text(pages()[0]) and "AI-" + "0" * 60 in text(pages()[0])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_only_its_owner_reads_it():
    write(rows("AI-000001"))
    run()
    assert stat.S_IMODE(os.stat("labels.pdf").st_mode) == 0o600


def test_what_cannot_have_a_label_is_a_sentence():
    write([{"cmei": CMEIS[0], "setup.key": KEYS[0]}])
    assert "before it is flashed nobody knows" in run(status=1)
    write([{"deviceNo": "AI-1"}])
    said = run(status=1)
    assert 'config.json has "setup", and no key' in said and "identities --setup-keys" in said
    write([{"deviceNo": "AI-1"}], key=KEYS[0])
    assert "all boards would share the setup.key of config.json" in run(status=1)
    plain = {name: value for name, value in CONFIG.items() if name != "setup"}
    write(rows("AI-1"), plain)
    assert 'batch.csv has the column setup.key, and config.json no "setup"' in run(status=1)
    for size in ("60", "5x40", "60x4000", "axb"):
        assert "is no size" in run("--size", size, status=2)
    assert "--columns says nothing beside --size" in run("--size", "60x40", "--columns", 2, status=2)
    assert "is the least: give fewer" in run("--columns", 20, status=2)
    assert not os.path.exists("labels.pdf")


IDENTITIES = ["identities", "--count", "2", "--serial", "AI-000001", "--tui", "11123456", "-o", "new.csv"]
LABELS = ["--labels", "labels.pdf", "--config", "config.json"]


def test_identities_makes_the_labels_of_the_boards_that_it_makes():
    write(rows("AI-1"))
    said = call(*IDENTITIES, "--setup-keys", *LABELS, "--size", "60x40", "--json")
    assert json.loads(said)["labels"] == "labels.pdf"
    with open("new.csv", newline="") as file:
        made = list(csv.DictReader(file))
    drawn = [codes(page) for page in pages()]
    assert drawn == [
        expected(row["cmei"], f"WIFI:T:WPA;S:小熊-{row['deviceNo'][-6:]};P:{row['setup.key']};;")
        for row in made
    ]
    call(
        "identities", "--count", "1", "--append", "-o", "new.csv", "--setup-keys", *LABELS, "--size", "60x40"
    )
    assert len(pages()) == 1 and "AI-000003" in text(pages()[0])


def test_what_is_wrong_with_the_labels_costs_no_numbers():
    write(rows("AI-1"))
    assert 'config.json has "setup", and no key' in call(*IDENTITIES, *LABELS, status=1)
    assert "--labels and --config go together" in call(*IDENTITIES, *LABELS[:2], status=2)
    assert not os.path.exists("new.csv") and not os.path.exists("labels.pdf")
