"""Numbers for a batch, and who got which: nothing is given twice, whatever is killed in between."""

import csv
import errno
import itertools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from muster import cmei as luhn
from muster import config

from tools.cli import main as cli
from tools.common.paths import ROOT
from tools.factory import batch as batches
from tools.factory import series
from tools.factory.ledger import Ledger

KILLS, BOARDS = 30, 200


@pytest.fixture(autouse=True)
def folder(tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tools(*arguments):
    """What the command prints; its status with it."""
    done = CliRunner().invoke(cli.main, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, " ".join(done.output.split())


def make(*arguments, status=0):
    code, said = tools("identities", *arguments)
    assert code == status, said
    return said


def rows_in(name):
    with open(name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def there():
    """What a person sees in the folder; the locks are hidden."""
    return [name for name in os.listdir() if not name.startswith(".")]


def column(name, key):
    return [row[key] for row in rows_in(name)]


def write(text, name="batch.csv"):
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return Path(name)


def batch(count, name="batch.csv"):
    return write("deviceNo\n" + "".join(f"AI-{i:05}\n" for i in range(count)), name)


def journal(name="batch.csv"):
    return Path(f"{name}.boards")


def marks():
    """Where it is remembered how far the journal of batch.csv had come."""
    [remembered] = Path(os.environ["XDG_STATE_HOME"]).rglob("batch-*.json")
    return [Path("batch.csv.last"), remembered]


def mac(number):
    return "24:0a:c4:" + number.to_bytes(3, "big").hex(":")


def refusal(path="batch.csv"):
    with pytest.raises(ValueError) as refused:
        Ledger(path)
    return str(refused.value)


# cmei


def test_numbers_and_batches_as_json():
    assert json.loads(tools("cmei", "11123456", "--count", 2, "--json")[1]) == [
        "111234560000011",
        "111234560000029",
    ]
    assert json.loads(tools("cmei", "--check", "111234560000015", "--json")[1]) == {
        "number": "111234560000015",
        "kind": "CMEI",
        "tui": "11123456",
        "serialNumber": "000001",
        "checkDigit": "1",
    }
    made = json.loads(make("--count", 2, "--tac", "86123456", "-o", "b.csv", "--json"))
    first, last = (luhn.make("86123456", n) for n in (1, 2))
    assert made == {
        "output": "b.csv",
        "count": 2,
        "first": {"deviceNo": first, "imei": first},
        "last": {"deviceNo": last, "imei": last},
        "config": {"cellular": True, "deviceNoType": "IMEI"},
    }


def test_cmei_makes_numbers_and_says_what_one_is():
    assert tools("cmei", "11123456", "--count", 2) == (0, "111234560000011 111234560000029")
    assert tools("cmei", "11123456", "--first", 999999) == (0, luhn.make("11123456", 999999))
    assert tools("cmei", "--check", "111234560000011")[1].endswith(
        "a CMEI: TUI 11123456, serial number 000001, last digit 1"
    )
    assert "the check digit is 1" in tools("cmei", "--check", "111234560000015")[1]
    assert "an IMEI: TAC 86123456" in tools("cmei", "--check", luhn.make("86123456", 1))[1]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--check", "861234560000015"], 1, "last digit should be 3"),
        (["--check", "1112"], 1, "expected 15 digits"),
        (["11123456", "--first", "999998", "--count", "3"], 1, "2 are left"),
        (["1112345"], 2, "expected 8 digits"),
        ([], 2, "give a TUI"),
        (["11123456", "--check", "111234560000011"], 2, "give a TUI"),
    ],
)
def test_cmei_refuses_in_a_sentence(arguments, status, words):
    code, said = tools("cmei", *arguments)
    assert code == status and words in said


# identities


def test_serial_numbers_and_cmeis_count_up():
    said = make(
        "--count", 3, "--serial", "AI-2611-00009", "--tui", "11123456", "--first-cmei", 7, "-o", "b.csv"
    )
    assert "3 identities" in said and "AI-2611-00011" in said and "config.json" not in said
    assert Path("b.csv").read_bytes() == (
        b"deviceNo,cmei\n"
        b"AI-2611-00009,111234560000078\n"
        b"AI-2611-00010,111234560000086\n"
        b"AI-2611-00011,111234560000094\n"
    )
    assert there() == ["b.csv"]


def test_only_serial_numbers_and_chinese_ones():
    make("--count", 2, "--serial", "音箱-9", "-o", "one.csv", status=1)
    make("--count", 2, "--serial", "音箱-09", "-o", "two.csv")
    assert Path("two.csv").read_text(encoding="utf-8") == "deviceNo\n音箱-09\n音箱-10\n"


def test_without_a_serial_number_the_cmei_is_the_device_number():
    said = make("--count", 2, "--tui", "11123456", "-o", "b.csv")
    assert '"deviceNoType": "CMEI"' in said
    assert rows_in("b.csv")[1] == {"deviceNo": "111234560000029", "cmei": "111234560000029"}


def test_a_cellular_product_gets_imeis():
    said = make("--count", 2, "--tac", "86123456", "--serial", "X1", "-o", "b.csv")
    assert '"cellular": true' in said and "deviceNoType" not in said
    assert column("b.csv", "imei") == [luhn.make("86123456", 1), luhn.make("86123456", 2)]
    assert '"deviceNoType": "IMEI"' in make("--count", 1, "--tac", "86123456", "-o", "c.csv")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--serial", "AI-99998"], 1, "2 are left, up to AI-99999"),
        (["--serial", "A1", "--tui", "11123456", "--first-cmei", "999999"], 1, "1 are left"),
        (["--serial", "A1", "--tui", "86123456"], 1, "it starts with 11"),
        (["--serial", "A1", "--tac", "11123456"], 1, "it starts with 11"),
        (["--serial", " A1"], 1, "no blank at either end"),
        (["--serial", "A"], 2, "does not end in digits"),
        (["--tui", "1112345x"], 2, "'1112345x' is no type code: expected 8 digits, such as 11123456."),
        (["--first-cmei", "5", "--serial", "A1"], 2, "--first-cmei"),
        ([], 2, "--serial"),
    ],
)
def test_what_cannot_be_made_is_told_and_nothing_is_written(arguments, status, words):
    assert words in make("--count", 3, *arguments, "-o", "b.csv", status=status)
    assert there() == []


def test_what_is_not_said_goes_on_after_the_earlier_batches():
    make("--count", 2, "--serial", "AI-01", "--tui", "11123456", "--first-cmei", 0, "-o", "1.csv")
    make("--count", 2, "--earlier", "1.csv", "-o", "2.csv")
    make("--count", 2, "--earlier", "2.csv", "--earlier", "1.csv", "--tui", "11654321", "-o", "3.csv")
    assert column("2.csv", "deviceNo") == ["AI-03", "AI-04"]
    assert column("2.csv", "cmei") == [luhn.make("11123456", n) for n in (2, 3)]
    assert rows_in("3.csv")[0] == {"deviceNo": "AI-05", "cmei": luhn.make("11654321", 1)}
    said = make("--count", 2, "--earlier", "3.csv", "--earlier", "1.csv", "-o", "4.csv", status=1)
    assert "with --tui" in said
    make("--count", 1, "--tui", "11123456", "-o", "c.csv")
    make("--count", 1, "--earlier", "c.csv", "-o", "d.csv")
    assert set(rows_in("d.csv")[0].values()) == {luhn.make("11123456", 2)}


def test_a_number_that_is_taken_is_named_with_the_next_free_one():
    make("--count", 9, "--serial", "AI-01", "--tui", "11123456", "-o", "1.csv")
    said = make(
        "--count", 5, "--serial", "AI-07", "--tui", "11000001", "--earlier", "1.csv", "-o", "2.csv", status=1
    )
    assert "deviceNo AI-07 is in 1.csv already" in said and "--serial AI-10" in said
    arguments = ["--serial", "B1", "--tui", "11123456", "--first-cmei", "0", "-o", "2.csv"]
    said = make("--count", 5, *arguments, "--earlier", "1.csv", status=1)
    assert f"cmei {luhn.make('11123456', 1)} is in 1.csv" in said and "--first-cmei 10" in said
    # Another last digit does not make it another product's.
    write("deviceNo,cmei\nZ,111234560000035\n", "odd.csv")
    assert "is in odd.csv" in make("--count", 5, *arguments, "--earlier", "odd.csv", status=1)
    write("deviceNo\nAI-99\n", "end.csv")
    said = make("--count", 1, "--serial", "AI-99", "--earlier", "end.csv", "-o", "2.csv", status=1)
    assert "none is free" in said
    assert not Path("2.csv").exists()


def test_each_board_of_a_product_with_a_set_up_page_gets_a_key_of_its_own():
    said = make("--count", 300, "--serial", "AI-001", "--setup-keys", "-o", "1.csv")
    assert '"setup": {"name": "muster"}' in said and "a setup.key each" in said
    keys = column("1.csv", "setup.key")
    assert len(set(keys)) == 300 and not any(key in said for key in keys)
    # Ten that are not mistaken for each other; a spreadsheet and a phone take it for no number.
    assert all(re.fullmatch("[G-HJ-KM-NP-Z][2-9A-HJ-KM-NP-Z]{9}", key) for key in keys)
    # Further ones have the column as well.
    made = json.loads(make("--count", 2, "--earlier", "1.csv", "-o", "2.csv", "--json"))
    assert (
        made["first"] == {"deviceNo": "AI-301", "setup.key": "***"} == {**made["last"], "deviceNo": "AI-301"}
    )
    make("--count", 2, "--append", "-o", "2.csv")
    assert len({*keys, *column("2.csv", "setup.key")}) == 304
    assert rows_in("1.csv")[0].keys() == rows_in("2.csv")[0].keys() == {"deviceNo", "setup.key"}
    make("--count", 1, "--serial", "B-1", "-o", "3.csv")
    assert "has the columns" in make("--count", 1, "--append", "--setup-keys", "-o", "3.csv", status=1)


def test_no_key_is_made_twice(monkeypatch):
    monkeypatch.setattr(series, "KEY_FIRST", "G")
    monkeypatch.setattr(series, "KEY_CHARACTERS", "23")
    monkeypatch.setattr(series, "KEY_LENGTH", 8)
    keys = {f"G{n:07b}".replace("0", "2").replace("1", "3") for n in range(128)}
    assert set(series.random_keys(128, ())) == keys
    [last] = series.random_keys(1, keys - {"G2323232"})
    assert last == "G2323232"


def test_keys_in_a_csv_of_ones_own_are_checked_and_never_shown():
    write("deviceNo,setup.key\nA,GHJKMNPQ\nB,own key 12\n")
    assert [row["setup.key"] for row in batches.read(Path("batch.csv"))] == ["GHJKMNPQ", "own key 12"]
    for text, words in (
        ("A,GHJKMNPQ\nB,GHJKMNPQ\n", "line 3: setup.key *** is in line 2 already"),
        ("A,GHJKMNPQ\nB,GHJKM\n", 'line 3: configuration key "setup.key" holds something that is not shown'),
        ("A,GHJKMNPQ\nB,GHJKM\u200bNPQ\n", "line 3: cell B3 (setup.key) has a character that nobody sees"),
        ("A,\n", "setup.key is ''"),
    ):
        write("deviceNo,setup.key\n" + text)
        said = refusal()
        assert words in said and "GHJKM" not in said


def test_who_has_a_row_has_its_key():
    make("--count", 2, "--serial", "AI-1", "--setup-keys", "-o", "batch.csv")
    keys = column("batch.csv", "setup.key")
    with Ledger("batch.csv") as book:
        assert book.claim(mac(1)) == {"deviceNo": "AI-1", "setup.key": keys[0]}
    # With another key it would no longer be that of the board's label.
    write(f"deviceNo,setup.key\nAI-1,GHJKMNPQRS\nAI-2,{keys[1]}\n")
    said = refusal()
    assert mac(1) in said and "put it back" in said and keys[0] not in said and "GHJKMNPQRS" not in said


def test_an_output_that_is_there_is_only_added_to():
    make("--count", 2, "--serial", "AI-01", "-o", "b.csv")
    before = Path("b.csv").read_bytes()
    assert "--append" in make("--count", 2, "--serial", "AI-05", "-o", "b.csv", status=1)
    assert "is in b.csv" in make("--count", 2, "--serial", "AI-02", "--append", "-o", "b.csv", status=1)
    said = make("--count", 2, "--tui", "11123456", "--append", "-o", "b.csv", status=1)
    assert "has the columns deviceNo, and" in said
    assert Path("b.csv").read_bytes() == before
    with Ledger("b.csv") as book:
        assert book.claim(mac(1)) == {"deviceNo": "AI-01"}
    make("--count", 2, "--append", "-o", "b.csv")
    assert column("b.csv", "deviceNo") == ["AI-01", "AI-02", "AI-03", "AI-04"]
    with Ledger("b.csv") as book:
        assert book.left == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_only_its_owner_reads_a_batch_and_its_journal_unless_somebody_said_otherwise():
    def modes():
        with Ledger("batch.csv"):
            return [os.stat(name).st_mode & 0o777 for name in ("batch.csv", journal())]

    make("--count", 1, "--serial", "A-1", "-o", "batch.csv")
    assert modes() == [0o600, 0o600]
    make("--count", 1, "--append", "-o", "batch.csv")
    assert modes() == [0o600, 0o600]
    journal().unlink()
    os.chmod("batch.csv", 0o640)
    make("--count", 1, "--append", "-o", "batch.csv")
    assert modes() == [0o640, 0o640]


def test_a_large_batch_is_not_checked_row_by_row_in_full(monkeypatch):
    checked = []
    check = config.check
    monkeypatch.setattr(config, "check", lambda raw: checked.append(raw) or check(raw))
    numbered = ("--serial", "AI-2611-0001", "--tui", "11123456", "--setup-keys")
    make("--count", 1000, *numbered, "-o", "batch.csv")
    make("--count", 1000, "--append", "-o", "batch.csv")
    assert len(rows_in("batch.csv")) == 2000 and len(checked) < 10


def test_a_batch_that_cannot_be_written_leaves_the_old_one(monkeypatch):
    make("--count", 2, "--serial", "AI-01", "-o", "b.csv")
    monkeypatch.setattr(os, "fsync", full)
    assert "No space left" in make("--count", 2, "--append", "-o", "b.csv", status=1)
    assert column("b.csv", "deviceNo") == ["AI-01", "AI-02"] and there() == ["b.csv"]


def test_a_folder_that_is_not_there_is_said_and_not_made():
    assert "there is no folder" in make("--count", 1, "--serial", "A1", "-o", "none/b.csv", status=1)
    assert os.listdir() == []


def full(descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# The ledger


def test_every_board_gets_a_row_of_its_own_and_keeps_it():
    write("deviceNo,cmei\r\nAI-1,111234560000011\r\n\r\nAI-2,111234560000029\r\n".encode("utf-8-sig"))
    with Ledger("batch.csv") as book:
        assert book.left == 2
        assert book.claim("24:0A:C4:00:00:01") == {"deviceNo": "AI-1", "cmei": "111234560000011"}
        assert book.claim(mac(1))["deviceNo"] == "AI-1" and book.left == 1
        book.note(mac(1), "failed: \udcff 没电")
    with Ledger("batch.csv") as book:
        assert book.claim(mac(2))["deviceNo"] == "AI-2" and book.claim(mac(1))["deviceNo"] == "AI-1"
        with pytest.raises(ValueError, match="it has 2, and 2 are taken; add some"):
            book.claim(mac(3))
    lines = [json.loads(line) for line in journal().read_text(encoding="utf-8").splitlines()]
    assert [line["mac"] for line in lines] == [mac(1), mac(1), mac(2)]
    assert lines[1]["outcome"] == "failed: \udcff 没电"


def test_a_claim_is_on_disk_before_it_is_given(monkeypatch):
    batch(2)
    synced = []

    def fsync(descriptor):
        if os.path.samestat(os.fstat(descriptor), journal().stat()):
            synced.append(journal().read_bytes())

    monkeypatch.setattr(os, "fsync", fsync)
    with Ledger("batch.csv") as book:
        book.claim(mac(1))
        assert b"AI-00000" in synced[-1]
        before = len(synced)
        book.claim(mac(1))
        assert len(synced) == before
    # It may be a killed run's, which had not come to that.
    with Ledger("batch.csv") as book:
        assert len(synced) == before + 1


def test_a_row_is_known_by_its_content():
    write("cmei,deviceNo\n111234560000011,AI-1\n111234560000029,AI-2\n")
    with Ledger("batch.csv") as book:
        book.claim(mac(1))
    write("deviceNo,cmei\nAI-3,111234560000037\nAI-2,111234560000029\nAI-1,111234560000011\n")
    with Ledger("batch.csv") as book:
        assert book.claim(mac(1))["deviceNo"] == "AI-1"
        assert [book.claim(mac(n))["deviceNo"] for n in (2, 3)] == ["AI-3", "AI-2"]
    # AI-1 with another CMEI would have gone to a second board.
    write("deviceNo,cmei\nAI-1,111234560000045\nAI-3,111234560000037\nAI-2,111234560000029\n")
    said = refusal()
    assert mac(1) in said and "AI-1" in said and "put it back" in said


def test_a_link_to_the_csv_is_the_same_ledger():
    batch(2)
    Path("link.csv").symlink_to("batch.csv")
    with Ledger("link.csv") as book:
        book.claim(mac(1))
        assert "in use" in refusal("batch.csv")
    with Ledger("batch.csv") as book:
        assert book.left == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("deviceNo\nA\nB\nA\n", "line 4: deviceNo A is in line 2"),
        (
            "deviceNo,cmei\nA,111234560000011\nB,111234560000015\n",
            "line 3: cmei 111234560000015 is in line 2",
        ),
        ("deviceNo,imei\nA,861234560000013\nB,861234560000013\n", "line 3: imei"),
        ("deviceNo,cmei\nA,\n", "line 2: cmei is ''"),
        ("deviceNo,cmei\nA,1.11235E+14\n", r"line 2: cell B2 \(cmei\) is 1.11235E\+14: the spreadsheet"),
        ("deviceNo,cmei\nA,861234560000013\n", "line 2: .*starts with 11"),
        ("deviceNo,deviceNoType\nA,CMEI\n", 'line 2: .*what "cmei" holds'),
        ("deviceNo,period\nA,43200\n", "line 2: .*whole seconds"),
        ("devcieNo\nA\n", "none that is used is among them"),
        ("deviceNo,productKey\nA,s3cret\n", "productKey, a secret"),
        ("hostname\nA\n", "must name one of deviceNo"),
        ("deviceNo\n", "no devices under it"),
        ("", "line 1 of .*batch.csv must name the columns, .* and it is empty"),
        ("deviceNo,cmei\nAB,111234560000011\n00,11123456\n", "line 3: .*expected 15 digits"),
        ("deviceNo,imei,cellular\nA,861234560000013,\n", "line 2: cellular is ''"),
        ("deviceNo,imei\nA,861234560000013\nB,861234560000012\n", "line 3: .*should be 3"),
        (
            "cmei,deviceNo,deviceNoType\n111234560000011,111234560000011,CMEI\n"
            "111234560000029,111234560000028,CMEI\n",
            'line 3: .*what "cmei" holds',
        ),
        ("deviceNo\n音箱\n".encode("gbk"), r"cell A2 \(deviceNo\) is neither ASCII nor UTF-8"),
        ("deviceNo,cmei\nA\n", "1 field"),
    ],
)
def test_a_csv_that_is_wrong_is_refused_and_no_journal_begun(text, words):
    write(text)
    with pytest.raises(ValueError, match=words) as refused:
        Ledger("batch.csv")
    assert "s3cret" not in str(refused.value) and "nothing was sent" not in str(refused.value)
    assert there() == ["batch.csv"]


def test_a_column_that_is_no_key_is_told_and_never_lost(capsys):
    write("deviceNo,cmie,备注\nA1 ,111234560000011,客厅\n")
    with Ledger("batch.csv") as book:
        assert book.claim(mac(1)) == {"deviceNo": "A1"}
    told = capsys.readouterr().err
    assert told.count("not used") == 1 and "cmie (did you mean cmei?), 备注" in told
    before = Path("batch.csv").read_bytes()
    assert "would lose" in make("--count", 1, "--append", "-o", "batch.csv", status=1)
    assert Path("batch.csv").read_bytes() == before
    make("--count", 1, "--earlier", "batch.csv", "-o", "next.csv")
    assert column("next.csv", "deviceNo") == ["A2"]


def test_a_version_is_no_number():
    write("deviceNo,firmwareVersion\n'0012,1.0\n")
    with Ledger("batch.csv") as book:
        assert book.claim(mac(1)) == {"deviceNo": "0012", "firmwareVersion": "1.0"}


@pytest.mark.parametrize("wrong", ["", "24:0a:c4:00:00", "00:00:00:00:00:00", "24-0a-c4-00-00-01\n"])
def test_what_is_no_mac_gets_no_row(wrong):
    batch(1)
    with Ledger("batch.csv") as book:
        with pytest.raises(ValueError, match="no board's MAC"):
            book.claim(wrong)
        assert book.left == 1


def test_only_one_has_it_open():
    batch(1)
    with Ledger("batch.csv"):
        command = [
            sys.executable,
            "-c",
            "import sys; from tools.factory.ledger import Ledger; Ledger('batch.csv')",
        ]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=100)
        assert done.returncode == 1 and "in use by another run" in done.stderr
    Ledger("batch.csv").close()


def test_a_last_line_cut_off_anywhere_is_mended():
    batch(4)
    with Ledger("batch.csv") as book:
        book.claim(mac(1))
        whole = journal().stat().st_size
        # A line is on disk before it is remembered that it was written.
        before = {path: path.read_bytes() for path in marks()}
        book.claim(mac(2))
    data = journal().read_bytes()
    for end in range(whole, len(data)):
        journal().write_bytes(data[:end])
        for path, mark in before.items():
            path.write_bytes(mark)
        with Ledger("batch.csv") as book:
            assert book.left == 3
            assert book.claim(mac(3)) == {"deviceNo": "AI-00001"}
            assert book.claim(mac(1)) == {"deviceNo": "AI-00000"}
        with Ledger("batch.csv") as book:
            assert book.claim(mac(3)) == {"deviceNo": "AI-00001"} and book.left == 2


def used(count=4):
    """A batch of which two boards have rows, and what was told of them."""
    batch(count)
    with Ledger("batch.csv") as book:
        for n in (1, 2):
            book.claim(mac(n))
            book.note(mac(n), "flashed")
    return journal().read_bytes().splitlines(keepends=True)


def another_computer(monkeypatch, folder):
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "another"))


@pytest.mark.parametrize("gone", [0, 1, 2, 3, slice(0, 2), slice(2, 4), slice(0, 4)])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_lines_that_are_missing_are_noticed(monkeypatch, tmp_path, gone, elsewhere):
    lines = used()
    del lines[gone]
    journal().write_bytes(b"".join(lines))
    if elsewhere:
        another_computer(monkeypatch, tmp_path)
    said = refusal()
    assert "may say which board has which row" in said and str(journal().resolve()) in said
    assert journal().read_bytes() == b"".join(lines)


def test_a_line_that_was_changed_is_noticed():
    lines = used()
    lines[1] = lines[1].replace(b"flashed", b"whatever")
    journal().write_bytes(b"".join(lines))
    assert "line 3 of" in refusal()


def test_a_copied_csv_does_not_begin_again_unseen(tmp_path):
    used()
    (tmp_path / "usb").mkdir()
    shutil.copy("batch.csv", "usb/copy.csv")
    said = refusal("usb/copy.csv")
    assert f"through {Path('batch.csv').resolve()}, whose journal then had 4 lines" in said
    # An older copy of all of it is no better.
    with Ledger("batch.csv") as book:
        book.claim(mac(3))
    (tmp_path / "usb/copy.csv.boards").write_bytes(b"".join(journal().read_bytes().splitlines(True)[:4]))
    assert "whose journal then had 5 lines" in refusal("usb/copy.csv")
    # Said to be no longer in use, its numbers are free again.
    (tmp_path / "usb/copy.csv.boards").unlink()
    marks()[1].unlink()
    with Ledger("usb/copy.csv") as book:
        assert book.left == 4


def test_a_batch_goes_on_in_another_folder_and_on_another_computer(monkeypatch, tmp_path):
    used()
    (tmp_path / "usb").mkdir()
    for name in ("batch.csv", "batch.csv.boards", "batch.csv.last"):
        shutil.copy(name, "usb")
    with Ledger("usb/batch.csv") as book:
        assert book.claim(mac(1))["deviceNo"] == "AI-00000" and book.left == 2
    another_computer(monkeypatch, tmp_path)
    with Ledger("usb/batch.csv") as book:
        assert book.claim(mac(2))["deviceNo"] == "AI-00001" and book.claim(mac(3))["deviceNo"] == "AI-00002"


def test_a_journal_without_digests_is_taken_up():
    lines = [json.loads(line) for line in used()]
    old = "".join(json.dumps({k: v for k, v in line.items() if k != "after"}) + "\n" for line in lines)
    journal().write_text(old)
    for mark in marks():
        mark.unlink()
    with Ledger("batch.csv") as book:
        assert book.claim(mac(2))["deviceNo"] == "AI-00001" and book.claim(mac(3))["deviceNo"] == "AI-00002"
    whole = journal().read_bytes().splitlines(keepends=True)
    journal().write_bytes(b"".join(whole[2:]))
    assert "line 3 of" in refusal()
    journal().write_bytes(b"".join(whole[:-1]))
    assert "lacks lines" in refusal()


def test_a_mark_that_a_power_cut_spoilt_stops_nobody():
    used()
    for content in (b"", b"{", b"[]", b'{"end": 1}'):
        marks()[0].write_bytes(content)
        with Ledger("batch.csv") as book:
            assert book.left == 2


def test_four_at_once_give_no_number_twice():
    make("--count", 3, "--serial", "AI-001", "--tui", "11123456", "-o", "b.csv")
    command = [sys.executable, "-m", "tools.cli", "identities", "--append", "--count", "3", "-o", "b.csv"]
    running = [
        subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in running:
        assert process.communicate(timeout=100)[1] == b"" and process.returncode == 0
    assert column("b.csv", "deviceNo") == [f"AI-{n:03}" for n in range(1, 16)]
    assert len(set(column("b.csv", "cmei"))) == 15 and there() == ["b.csv"]


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (1, b"{}"),
        (2, b'{"mac": "24:0a:c4:00:00:09", "row'),
        (2, b""),
        (2, b'{"mac": "24:0a:c4:00:00:09", "row": {"deviceNo": 1}}'),
        (2, b'{"mac": "24:0a:c4:00:00:09", "row": "AI-00001"}'),
        (2, b'{"mac": 1, "outcome": "flashed"}'),
        (3, b"\0\0\0\0"),
        (3, b'{"mac": "24:0a:c4:00:00:01", "row": {"deviceNo": "AI-00001"}}'),
        (3, b'{"mac": "24:0a:c4:00:00:09", "row": {"deviceNo": "AI-00000"}}'),
    ],
)
def test_a_journal_that_is_damaged_is_named_by_its_line(number, line):
    batch(3)
    with Ledger("batch.csv") as book:
        book.claim(mac(1))
        book.note(mac(1), "flashed")
    lines = journal().read_bytes().splitlines()
    lines.insert(number - 1, line)
    damaged = b"\n".join(lines) + b"\n"
    journal().write_bytes(damaged)
    assert f"line {number} of {journal().resolve()}" in refusal()
    assert journal().read_bytes() == damaged


def test_after_a_full_disk_nothing_is_given_until_it_is_opened_again(monkeypatch):
    batch(3)
    with Ledger("batch.csv") as book:
        book.claim(mac(1))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space left"):
                book.claim(mac(2))
        with pytest.raises(ValueError, match="is closed"):
            book.claim(mac(3))
    with Ledger("batch.csv") as book:
        assert len({book.claim(mac(n))["deviceNo"] for n in (1, 2, 3)}) == 3


def test_many_threads_and_many_runs_share_no_row():
    boards, threads, runs = 40, 8, 4
    batch(boards)
    got = {}

    def claim(book, macs, start):
        start.wait()
        for one in macs:
            row = book.claim(one)["deviceNo"]
            assert got.setdefault(one, row) == row
            book.note(one, "flashed")

    for run in range(runs):
        # Each run brings new boards, and some that were there before, each on several ports at once.
        macs = [mac(n) for n in range(boards * (run + 1) // runs)]
        start = threading.Barrier(threads)
        with Ledger("batch.csv") as book:
            wanted = [random.sample(macs, len(macs)) for _ in range(threads)]
            workers = [threading.Thread(target=claim, args=(book, some, start)) for some in wanted]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            assert book.left == boards - len(macs)
    assert len(got) == len(set(got.values())) == boards


def environment():
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "lib", Path(__file__).parent)))}


def killed():
    """Kills runs, each in a process of its own; prints what boards had been told by each, a line a run."""
    for _ in range(KILLS):
        ours, theirs = os.pipe()
        child = os.fork()
        if not child:
            os.close(ours)  # without a reader it ends by itself
            hasten(theirs, dies_writing=random.random() < 0.3)
        os.close(theirs)
        with open(ours) as pipe:
            # None: while it opens the batch, or before. One: it has.
            heard = [pipe.readline() for _ in range(random.randrange(6))]
            time.sleep(random.uniform(0, 0.005))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            print(json.dumps([line.split() for line in (*heard, *pipe) if line not in ("", "open\n")]))


def hasten(pipe, dies_writing):
    """Claims rows for one board after the other, on two threads, until it is killed."""
    survives = os.fsync
    deaths = itertools.count(-random.randrange(20))

    def fsync(descriptor):
        if dies_writing and next(deaths) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        survives(descriptor)

    def claim():
        while True:
            one = mac(random.randrange(BOARDS))
            os.write(pipe, f"{one} {book.claim(one)['deviceNo']}\n".encode())
            book.note(one, "flashed")

    os.fsync = fsync
    book = Ledger("batch.csv")
    os.write(pipe, b"open\n")
    threading.Thread(target=claim).start()
    claim()


def test_killed_at_any_moment_a_board_keeps_its_row_and_shares_it_with_none():
    batch(BOARDS)
    command = [sys.executable, "-c", "import test_identities; test_identities.killed()"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    told = {}
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    for one, row in itertools.chain(*runs):
        assert told.setdefault(one, row) == row, "another row than before a kill"
    assert len(runs) == KILLS and sum(map(bool, runs)) > KILLS // 4
    with Ledger("batch.csv") as book:
        given = {one: book.claim(one)["deviceNo"] for one in map(mac, range(BOARDS))}
        assert given | told == given and len(set(given.values())) == BOARDS
