"""The box as a program, and the CSV file of its devices."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest
import requests
from click.testing import CliRunner
from muster.errors import ConfigError
from toys import IMEI, KEY, PHONE, PRODUCT, SECRET_INFO, TOY
from wire import address, connect

from tools.cli.cloud import read_imported
from tools.cli.main import main
from tools.cloud import Cloud, Device, read_devices
from tools.cloud.misbehave import Misbehaviour
from tools.common.paths import ROOT

# As a program


def test_a_port_in_use_is_a_sentence_and_nothing_more(cloud, tmp_path):
    port, data = address(cloud)[1], tmp_path / "data"
    with pytest.raises(OSError, match=f"port {port} of 127.0.0.1 is in use"):
        Cloud(port=port, data=data).__enter__()
    assert not data.exists()


def test_nothing_is_left_behind():
    threads = threading.active_count()
    with Cloud() as cloud:
        folder = cloud.ca_pem.parent
        idle = connect(cloud)
    # It has not waited for the one who keeps a connection open.
    idle.close()
    assert not folder.exists() and threading.active_count() == threads
    with pytest.raises(OSError):
        socket.create_connection(address(cloud), timeout=1)


def test_a_folder_is_one_box_at_a_time(tmp_path):
    with Cloud(data=tmp_path):
        sentence = re.escape(f"{tmp_path} is in use by another box")
        with pytest.raises(OSError, match=sentence), Cloud(data=tmp_path):
            pass
    with Cloud(data=tmp_path):
        pass


@contextlib.contextmanager
def serving(data, *options, **environment):
    """The box in the foreground of another process, and what it has printed."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "tools.cli", "cloud", "--data", str(data), *map(str, options)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        printed = ""
        while "misbehave " not in printed:
            line = process.stdout.readline()
            assert line, printed
            printed += line
        yield process, printed
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(data, printed):
    """Where the box is, its example device, and the answer to that device's call for its secret."""
    url = re.search(r"platform +(\S+)", printed)[1]
    known = dict(re.findall(r"(productId|productKey|deviceNoType|deviceNo) (\S+)", printed))
    answer = requests.post(url + SECRET_INFO, json=known, verify=str(data / "ca.pem"), timeout=10)
    return url, known, answer


@pytest.mark.parametrize(
    ("number", "encoding", "success"),
    [(signal.SIGINT, "utf-8", "成功"), (signal.SIGTERM, "ascii", r"\\u6210\\u529f")],
)
def test_serve_in_the_foreground(tmp_path, number, encoding, success):
    data = tmp_path / "data"
    with serving(data, PYTHONIOENCODING=encoding) as (process, printed):
        url, known, answer = ask(data, printed)
        assert f"{url}/" in printed and f"{data / 'ca.pem'} " in printed
        answer = answer.json()
        assert answer["code"] == "200", (known, answer)
        process.send_signal(number)
        rest = process.communicate(timeout=10)[0]
    assert process.returncode == 0
    assert re.search(rf"\d\d:\d\d:\d\d +{known['deviceNo']} +{SECRET_INFO} +200 {success}", rest), rest
    assert answer["data"]["deviceSecret"] not in printed + rest and "Traceback" not in rest


def test_calls_are_answered_when_nobody_reads_what_it_prints(tmp_path):
    with serving(tmp_path) as (process, printed):
        process.stdout.close()
        for _ in range(3):
            answer = ask(tmp_path, printed)[2]
            assert answer.status_code == 200 and answer.json()["code"] == "200"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=100) == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_line_that_it_prints_misbehaves_and_ends_it(tmp_path, host):
    with serving(tmp_path, "--host", host) as (_, printed):
        [typed] = re.findall(
            r"^  misbehave (curl .*)  \(-d null ends it; cloud --help has more\)$", printed, re.MULTILINE
        )

        def call(told):
            command = f"{typed[: typed.index(' -d ')]} -sS -d {shlex.quote(told)}"
            return subprocess.run(command, shell=True, capture_output=True, text=True, timeout=100).stdout

        assert call('{"certificate": "expired"}') == '{"certificate":"expired"}'
        with pytest.raises(requests.exceptions.SSLError, match="expired"):
            ask(tmp_path, printed)
        assert call("null") == "{}"
        assert ask(tmp_path, printed)[2].json()["code"] == "200"
        assert ("Authorization" in typed) == (host == "0.0.0.0")


def test_its_help_tells_all_that_it_can_get_wrong():
    told = " ".join(CliRunner().invoke(main, ["cloud", "--help"]).stdout.split())
    for part in (
        "certificate good, expired, not-yet-valid, foreign, misnamed:",
        "connection truncate, close, ",
    ):
        assert part in told
    assert all(f" {name} " in told for name in Misbehaviour.model_fields)


# The CSV file

HEADER = "productId,productKey,deviceNoType,deviceNo"


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_read_devices(tmp_path, mark, end):
    file = tmp_path / "devices.csv"
    lines = [
        HEADER + ",cellular",
        f"{PRODUCT},{KEY},SN,TOY-0001,",
        "",
        f"9876543210987,other-key-77aa,IMEI,{IMEI},true",
    ]
    file.write_bytes((mark + end.join(lines)).encode())
    assert read_devices(file) == [TOY, PHONE]


def test_read_devices_without_cellular(tmp_path):
    file = tmp_path / "devices.csv"
    file.write_text(f"deviceNo,deviceNoType,productKey,productId\n TOY-0001 ,SN,{KEY},{PRODUCT}\n")
    assert read_devices(str(file)) == [TOY]


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "line 1 of {} must name the columns, separated by commas, and productId and"),
        ("productId,productKey,deviceNo\n1,2,3\n", "and deviceNoType is not among them"),
        (HEADER + ",deviceNo\n", "line 1 of {} has the column deviceNo twice"),
        (HEADER + "\n", "{} has a header, and no devices under it"),
        (HEADER + "\n1,k,SN,A\n1,k,SN,\n", "line 3: deviceNo is empty"),
        (HEADER + "\n1,,SN,A\n", "line 2: productKey is empty"),
        (HEADER + "\n1,k,MAC,A\n", "line 2: deviceNoType must be one of SN, IMEI, CMEI, not 'MAC'"),
        (HEADER + "\n1,k,SN,A\n1,k,SN,B\n1,k,SN,A\n", "line 4: deviceNo 'A' is in product '1' already"),
        (HEADER + "\n1,k,SN\n", "line 2: 3 fields, and the header has 4"),
        (HEADER + "\n1,k,SN,A,B\n", "line 2: 5 fields, and the header has 4"),
        (HEADER + "\n1,k,SN,A\n1,other,SN,B\n", "line 3: productKey is not the one"),
        (HEADER + ",cellular\n1,k,SN,A,maybe\n", "line 2: cellular must be true or false, not 'maybe'"),
        (HEADER + ",cellular\n1,k,SN,A,yes\n1,k,SN,B,no\n", "line 3: cellular is not what product '1' has"),
        (HEADER + '\n1,k,SN,"A\n', "line 2: not CSV"),
        ((HEADER + "\n1,k,SN,A\n1,k,SN,玩具\n").encode("gbk"), "line 3: cell D3 (deviceNo) is neither ASCII"),
    ],
)
def test_read_devices_names_line_and_column(tmp_path, text, sentence):
    file = tmp_path / "devices.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as raised:
        read_devices(file)
    assert sentence.format(file) in str(raised.value)
    assert "other" not in str(raised.value), "a key is a secret"


@pytest.fixture
def product(tmp_path):
    """Writes a config.json with more in it, and returns where."""

    def product(**more):
        file = tmp_path / "config.json"
        file.write_text(json.dumps({"productId": PRODUCT, "productKey": KEY, "firmwareVersion": "1", **more}))
        return file

    return product


def test_a_batch_is_imported_with_its_product(tmp_path, product):
    batch = tmp_path / "batch.csv"
    typed = [
        "identities",
        "--count",
        "3",
        "--serial",
        "A-08",
        "--tui",
        "11123456",
        "--setup-keys",
        "-o",
        batch,
    ]
    assert CliRunner().invoke(main, list(map(str, typed))).exit_code == 0
    config = product(setup={"name": "toy"})
    found = read_imported(batch, config)
    assert found == [Device(PRODUCT, KEY, "SN", f"A-{n:02}") for n in (8, 9, 10)]
    batch.write_text(f"deviceNo,imei\n{IMEI},{IMEI}\n")
    config = product(deviceNoType="IMEI", cellular=True)
    assert read_imported(batch, config) == [Device(PRODUCT, KEY, "IMEI", IMEI, True)]


def test_a_configuration_alone_is_one_device(product):
    assert read_imported(None, product(deviceNo="A-1", cmei="")) == [Device(PRODUCT, KEY, "SN", "A-1")]
    assert read_imported(None, None) == []


@pytest.mark.parametrize(
    ("rows", "more", "sentence"),
    [
        (None, {"deviceNo": "auto", "cmei": ""}, '"deviceNo": "auto", which a board makes from its MAC'),
        ("cmei\n111234560000011\n", {"deviceNo": "auto"}, "Give them --devices with the column deviceNo"),
        ("deviceNo\nA-1\n", {"cmei": "111234560000011"}, "all boards would share the cmei"),
        ("deviceNo,cmei\nA-1,12\n", {}, 'line 2: configuration key "cmei"'),
        (f"{HEADER},cmei\n{PRODUCT},{KEY},SN,A,\n", {}, "cmei is ''"),
        (
            f"{HEADER}\n{PRODUCT},{KEY},SN,A\n",
            {"cmei": ""},
            "has the column productKey, a secret of the whole",
        ),
        ("cmei\n111234560000011\n", {}, "deviceNo"),
    ],
)
def test_a_batch_that_does_not_fit_its_product_is_a_sentence(tmp_path, product, rows, more, sentence):
    batch = tmp_path / "batch.csv"
    batch.write_text(rows or "")
    with pytest.raises((ValueError, ConfigError)) as raised:
        read_imported(batch if rows else None, product(**more))
    assert sentence in str(raised.value) and KEY not in str(raised.value)


def test_a_device_is_checked_without_a_file_too():
    with pytest.raises(ValueError, match="productKey is empty"):
        Cloud(devices=[{"product_id": "1", "product_key": "", "device_no_type": "SN", "device_no": "A"}])
