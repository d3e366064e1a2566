"""Labels to print: another program reads the QR codes as they stand on the page."""

import csv
import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from muster import cmei as luhn

from tools.cli.main import main
from tools.factory import labels

numpy = pytest.importorskip("numpy")
zxingcpp = pytest.importorskip("zxingcpp")

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
    done = CliRunner().invoke(
        main, ["labels", "batch.csv", "--config", "config.json", "-o", "labels.html", *map(str, more)]
    )
    assert done.exit_code == status, done.output
    assert not any(key in done.output for key in KEYS) and "Traceback" not in done.output
    return done.output


def page():
    return Path("labels.html").read_text(encoding="utf-8")


def texts():
    """What stands on each label, without the names of the parts."""
    return [
        [html.unescape(text) for text in re.findall("<dd>(.*?)</dd>", label)]
        for label in re.findall("<article.*?</article>", page(), re.DOTALL)
    ]


def codes():
    """What another program reads from the QR codes of the page."""
    return [read(svg) for svg in re.findall("<svg.*?</svg>", page())]


def read(svg):
    side = int(re.search(r'viewBox="0 0 (\d+) ', svg)[1])
    pixels = numpy.full((side, side), 255, numpy.uint8)
    x = y = 0
    # Lines of a module's width: M to a place, m by a way, h black to the right.
    for letter, a, _, b in re.findall(r"([Mmh])(-?[\d.]+)( (-?[\d.]+))?", re.search(' d="(.*?)"', svg)[1]):
        if letter == "h":
            pixels[y, x : x + int(a)] = 0
        else:
            x, y = (0, 0) if letter == "M" else (x, y)
            y += int(float(b))
        x += int(a)
    [found] = zxingcpp.read_barcodes(pixels.repeat(4, 0).repeat(4, 1))
    return found.text


def rows(*numbers, **more):
    return [{"deviceNo": n, "setup.key": key, **more} for n, key in zip(numbers, KEYS, strict=False)]


def test_each_board_has_a_label_with_all_that_a_buyer_needs():
    made = rows("AI-2611-000042", "AI-2611-000043")
    write([{**row, "cmei": cmei} for row, cmei in zip(made, CMEIS, strict=True)])
    assert "2 labels" in run()
    assert codes() == [f"WIFI:T:WPA;S:小熊-00004{n};P:{key};;" for n, key in zip((2, 3), KEYS, strict=True)]
    assert texts() == [
        [f"小熊-00004{n}", key, "http://10.7.0.1/", f"AI-2611-00004{n}", cmei]
        for n, key, cmei in zip((2, 3), KEYS, CMEIS, strict=True)
    ]


def test_a_number_that_is_the_cmei_too_stands_there_once():
    write([{"deviceNo": cmei, "cmei": cmei, "setup.key": key} for cmei, key in zip(CMEIS, KEYS, strict=True)])
    config = json.loads(Path("config.json").read_text())
    Path("config.json").write_text(json.dumps({**config, "deviceNoType": "CMEI"}))
    run()
    assert [label[3:] for label in texts()] == [[cmei] for cmei in CMEIS]


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
    assert codes() == [labels.wifi(f"{name}-1", key)]
    assert texts()[0][:2] == [f"{name}-1", key] and "<b>" not in page()


def test_an_open_access_point_has_no_key():
    write([{"deviceNo": "AI-000042"}], key="")
    run()
    assert codes() == ["WIFI:T:nopass;S:小熊-000042;;"]
    assert texts()[0][1] == "无 none"
    command = ["labels", "batch.csv", "--config", "config.json", "-o", "labels.html", "--json"]
    done = CliRunner().invoke(main, command)
    assert "anybody near can open" in done.stderr and json.loads(done.stdout)["count"] == 1


@pytest.mark.parametrize("size", ["60x40", "40x30", "35x60", "100.5x50"])
def test_a_label_printer_gets_one_label_a_page(size):
    write(rows("AI-000001", "AI-000002"))
    run("--size", size)
    width, height = size.split("x")
    assert f"size: {width}mm {height}mm; margin: 0" in page() and page().count("<section") == 2
    assert [label[3] for label in texts()] == ["AI-000001", "AI-000002"]


def test_21_labels_are_on_a_page_of_a4():
    made = [(f"AI-{n:06}", luhn.make("11000000", n), f"GBCDE{n:06}") for n in range(43)]
    write([dict(zip(("deviceNo", "cmei", "setup.key"), one, strict=True)) for one in made])
    assert json.loads(run("--json")) == {"output": "labels.html", "count": 43}
    assert page().count("<section") == 3 and page().count("<svg") == 43
    assert 15.1 + 7 * 38.1 < 297 and 2 * 7.2 + 3 * 63.5 + 2 * 2.5 < 210


def test_the_longest_texts_fit_or_are_refused():
    write([{"deviceNo": "AI-" + "0" * 60, "setup.key": "K" * 63}], name="n" * 24)
    assert "35 by 15 mm is too small" in run("--size", "35x15", status=1)
    assert not os.path.exists("labels.html")
    run()
    assert [len(text) for text in texts()[0]] == [31, 63, 16, 63]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_only_its_owner_reads_it():
    write(rows("AI-000001"))
    run()
    assert os.stat("labels.html").st_mode & 0o777 == 0o600


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
    write([{"deviceNo": "AI-1"}], plain)
    assert 'config.json has no "setup"' in run(status=1)
    for size in ("60", "5x40", "60x4000", "axb"):
        assert "is no size" in run("--size", size, status=2)
    assert not os.path.exists("labels.html")


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize(("size", "pages"), [((), 2), (("--size", "40x30"), 22), (("--size", "30x50"), 22)])
def test_a_browser_prints_it_and_cuts_nothing_off(size, pages):
    write([{"deviceNo": f"AI-{n:06}", "setup.key": f"GBCDE{n:06}"} for n in range(22)], name="n" * 24)
    run(*size)
    script = (
        "<script>document.title = [...document.querySelectorAll('.label')].every(label => "
        "label.scrollHeight <= label.clientHeight && label.scrollWidth <= label.clientWidth)</script>"
    )
    Path("labels.html").write_text(page().replace("</html>", script + "</html>"), encoding="utf-8")
    browser = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=profile"]
    place = Path("labels.html").resolve().as_uri()
    done = subprocess.run([*browser, "--dump-dom", place], capture_output=True, text=True, timeout=100)
    assert "<title>true</title>" in done.stdout
    subprocess.run([*browser, "--print-to-pdf=labels.pdf", place], capture_output=True, timeout=100)
    assert len(re.findall(rb"/Type\s*/Page\b", Path("labels.pdf").read_bytes())) == pages
