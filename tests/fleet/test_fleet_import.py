"""fleet import, as a person and a script give it, against the clouds in a box."""

import csv
import io
import json
import sqlite3

import pytest
from muster.clouds import baidu
from muster.errors import CloudError
from operators import FEISHU, IMPORTS, Operator, client, fleet, laptops

from tools.fleet.journal import Journal, default


def test_import_twice_sends_once(operator):
    file = operator.batch(2500)
    done = operator("import", file)
    assert done.exit_code == 0 and "2,500" in done.stdout and "imported" in done.stdout
    assert len(operator.devices()) == 2500
    before = len(operator.box.calls())
    again = operator("import", file)
    assert again.exit_code == 0 and "done before" in again.stdout
    assert len(operator.box.calls()) == before


def test_a_longer_file_sends_only_what_is_new(operator):
    operator("import", operator.batch(3))
    operator("import", operator.batch(5))
    assert {device["received"] for device in operator.devices().values()} == {1}
    assert len(operator.devices()) == 5


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_standard_input_in_utf8_with_and_without_bom(operator, bom, monkeypatch):
    monkeypatch.chdir(operator.folder)
    content = bom + "sk,备注,ak\r\nkey-1,客厅,音箱/1\r\n".encode()
    done = operator("import", "-", input=content)
    assert done.exit_code == 0 and "not used: 备注" in done.stderr
    assert operator.devices()["音箱/1"]["sk"] == "key-1"
    assert not list(operator.folder.glob("*journal*"))


def test_output_for_programs(operator):
    file = operator.batch(3)
    told = json.loads(operator("import", file, "--json").stdout)
    assert told[1] == {"line": 3, "ak": "ak00001", "outcome": "done", "code": None, "why": "imported"}
    rows = list(csv.DictReader(io.StringIO(operator("import", file, "--csv").stdout)))
    assert [row["ak"] for row in rows] == ["ak00000", "ak00001", "ak00002"]
    assert {row["outcome"] for row in rows} == {"done"}


def test_a_dry_run_shows_all_and_sends_nothing(operator):
    file = operator.batch(1200)
    before, there = len(operator.box.calls()), set(operator.folder.iterdir())
    done = operator("import", file, "--dry-run", "--json")
    made = json.loads(done.stdout)
    assert [len(call["body"]["devices"]) for call in made] == [1000, 200]
    assert made[0]["method"] == "POST" and made[0]["url"] == operator.box.url + IMPORTS
    assert made[0]["body"]["devices"][0] == "ak00000,***" and made[0]["body"]["fc"] == operator.fc
    for_people = operator("import", file, "--dry-run").output
    told = "".join(for_people.replace("│", "").split())
    assert '["ak00000,***","…1,000inall…","ak00999,***"]' in told and "itwouldbe2calls.--jsonshows" in told
    everything = done.stdout + for_people
    assert "sk-secret" not in everything and operator.keys["secret_access_key"] not in everything
    assert len(operator.box.calls()) == before and set(operator.folder.iterdir()) == there


def test_a_dry_run_masks_feishus_secret_and_leaves_out_what_is_done(operator):
    rows = laptops(3)
    operator("register", operator.csv("f.csv", FEISHU, *rows[:2]))
    file = operator.csv("f.csv", FEISHU, *rows)
    done = operator("register", file, "--dry-run", "--json")
    token, record = json.loads(done.stdout)
    assert token["body"]["app_secret"] == "***" and operator.app["app_secret"] not in done.output
    assert record["body"]["serial_number"].endswith("-2")


def test_the_journal_holds_no_key_and_is_for_its_owner_alone(operator, state_home):
    file = operator.batch(3)
    operator("import", file)
    journal = default(f"{operator.box.url} {operator.fc}/pk-1")
    assert list(state_home.glob("*/*/*")) == [journal]
    assert journal.stat().st_mode & 0o077 == 0
    assert b"sk-secret" not in journal.read_bytes() and b"ak00001" in journal.read_bytes()


def test_a_journal_belongs_to_its_account_and_product(operator):
    file, journal = operator.batch(3), operator.folder / "j"
    operator("import", file, "--journal", journal)
    other = Operator(operator.box, operator.folder)
    other("import", file, "--journal", journal)
    assert len(operator.devices()) == len(other.devices()) == 3


@pytest.mark.parametrize("content", [b"not a database at all" * 100, None])
def test_a_file_of_somebody_elses_is_no_journal(operator, content):
    journal = operator.folder / "theirs"
    if content:
        journal.write_bytes(content)
    else:
        with sqlite3.connect(journal) as db:
            db.execute("CREATE TABLE theirs (x)")
        db.close()
    before = journal.read_bytes()
    done = operator("import", operator.batch(1), "--journal", journal)
    assert done.exit_code == 2 and "is no journal of fleet's" in done.stderr
    assert journal.read_bytes() == before and not operator.devices()


def first_page(data):
    return b"\0" * 4096 + data[4096:]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"\0" * len(data),
        first_page,
        lambda data: data[:4096],
        lambda data: data[:-100],
        lambda data: data[: len(data) // 2],
        lambda data: data[:4096] + b"\xff" * (len(data) - 4096),
    ],
    ids=["zeros", "first page", "one page", "end", "half", "pages"],
)
def test_a_damaged_journal_ends_in_a_sentence_and_one_can_begin_anew(operator, damage):
    file, journal = operator.batch(50), operator.folder / "j"
    operator("import", file, "--journal", journal)
    damaged = damage(journal.read_bytes())
    journal.write_bytes(damaged)
    before = len(operator.box.calls())
    for more in ([], ["--dry-run"]):
        done = operator("import", file, "--journal", journal, *more)
        assert (
            done.exit_code == 2 and "or damaged (" in done.stderr and "delete it to begin anew" in done.stderr
        )
    assert journal.read_bytes() == damaged and len(operator.box.calls()) == before
    assert "To begin anew" in fleet("--help").stdout
    journal.unlink()
    assert operator("import", file, "--journal", journal).exit_code == 0
    assert {device["imported"] for device in operator.devices().values()} == {1}


def test_a_journal_that_breaks_under_way_ends_in_a_sentence(operator, monkeypatch):
    def broken(self, outcome):
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(Journal, "record", broken)
    done = operator("import", operator.batch(1))
    assert done.exit_code == 1 and "Error: " in done.stderr and "delete it to begin anew" in done.stderr


def test_a_journal_that_is_a_folder(operator):
    done = operator("import", operator.batch(1), "--journal", operator.folder)
    assert done.exit_code == 2


def test_a_journal_in_a_place_that_is_not_there(operator):
    done = operator("import", operator.batch(1), "--journal", operator.folder / "none" / "j")
    assert done.exit_code == 2 and "--journal FILE" in done.stderr


def test_two_runs_do_not_share_a_journal(operator):
    path = operator.folder / "j"
    holder = Journal()
    holder.open(path, "scope", "import")
    done = operator("import", operator.batch(1), "--journal", path)
    holder.close()
    assert done.exit_code == 2 and "another run is using it" in done.stderr
    assert operator("import", operator.batch(1), "--journal", path).exit_code == 0


def test_after_a_7_the_culprits_are_found_and_get_decides(operator):
    client(operator).import_devices([("ak00007", "sk-secret-00007"), ("ak00300", "another key")])
    before = len(operator.box.calls())
    failed = operator.folder / "failed.csv"
    done = operator("import", operator.batch(512), "--failed", failed)
    assert done.exit_code == 1
    assert len(operator.box.calls()) - before < 2 * 9 * (2 + 2)  # two ways down a tree of 512 leaves
    devices = operator.devices()
    assert len(devices) == 512 and all(device["imported"] == 1 for device in devices.values())
    assert devices["ak00300"]["sk"] == "another key"
    assert "510" in done.stdout and "was there with this sk" in done.stdout
    (row,) = csv.DictReader(failed.open())
    assert (row["line"], row["ak"], row["code"]) == ("302", "ak00300", "7")
    assert "with another sk" in row["why"] and "sk" not in row


def test_a_lost_journal_costs_a_look_at_each(operator):
    file = operator.batch(50)
    operator("import", file)
    before = len(operator.box.calls())
    assert operator("import", operator.batch(60), "--journal", operator.folder / "new").exit_code == 0
    assert len(operator.devices()) == 60
    operator("import", file, "--journal", operator.folder / "newer")
    assert len(operator.box.calls()) - before < 200


def test_a_key_that_baidu_does_not_show_is_unconfirmed(operator, monkeypatch):
    client(operator).import_devices([("ak00001", "sk-secret-00001")])
    true = baidu.Baidu.get
    monkeypatch.setattr(baidu.Baidu, "get", lambda self, ak: {**true(self, ak), "sk": "s***1"})
    file = operator.batch(3)
    done = operator("import", file, "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 1 and [one["outcome"] for one in told] == ["done", "unconfirmed", "done"]
    assert "exists, key unconfirmed" in told[1]["why"]
    monkeypatch.undo()
    sent = operator.devices()["ak00001"]["received"]
    assert operator("import", file).exit_code == 0
    assert operator.devices()["ak00001"]["received"] == sent


def test_another_key_in_the_file_is_not_taken_for_done(operator):
    operator("import", operator.csv("devices.csv", ("ak", "sk"), ("a1", "one")))
    done = operator("import", operator.csv("devices.csv", ("ak", "sk"), ("a1", "two")), "--json")
    (told,) = json.loads(done.stdout)
    assert done.exit_code == 1 and told["outcome"] == "failed" and "another sk" in told["why"]


def test_a_row_that_baidu_cannot_read_does_not_keep_the_others_out(operator, monkeypatch):
    true = baidu.Baidu.import_devices

    def picky(self, pairs):
        if any(ak == "ak00005" for ak, _ in pairs):
            raise CloudError("baidu", "CSV Format Error", 200, "5")
        true(self, pairs)

    monkeypatch.setattr(baidu.Baidu, "import_devices", picky)
    told = json.loads(operator("import", operator.batch(20), "--json").stdout)
    assert [one["line"] for one in told if one["outcome"] != "done"] == [7]
    assert "correct them in the input" in told[5]["why"]


@pytest.mark.parametrize(
    "fault",
    [
        {"connection": "truncate"},
        {"connection": "reset", "after": 0},
        {"connection": "close"},
        {"status": 502},
    ],
)
def test_a_lost_answer_sends_no_device_twice(operator, fault):
    operator.box.misbehave(**fault, path=IMPORTS, times=1)
    done = operator("import", operator.batch(50))
    assert done.exit_code == 0, done.output
    devices = operator.devices().values()
    assert len(devices) == 50 and {device["received"] for device in devices} == {1}


def test_quota_ends_the_run_at_once(box, tmp_path):
    operator = Operator(box, tmp_path, quota=2500)
    file = operator.batch(5000)
    done = operator("import", file, "--jobs", 1)
    assert done.exit_code == 1 and "Buy more in Baidu's console" in done.stderr
    assert len(operator.devices()) == 2000 and max(d["received"] for d in operator.devices().values()) == 1
    # 1000 of them were refused, and are known not to be there: nobody has to look them up.
    assert "not sent" in done.stdout and "unknown" not in done.stdout
    before = len(box.calls())
    assert operator("import", file, "--jobs", 1).exit_code == 1
    assert len(box.calls()) == before + 1


def test_a_wrong_secret_ends_the_run_after_one_call(operator):
    profile = operator.write_profile("wrong.toml", secret_access_key="wrong")
    before = len(operator.box.calls())
    done = fleet("import", "--profile", profile, operator.batch(5000), "--jobs", 1)
    assert done.exit_code == 1 and "does not belong to access_key_id" in done.stderr
    assert len(operator.box.calls()) == before + 1


def test_what_failed_is_tried_again(operator):
    operator.box.misbehave(code="InappropriateJSON")
    file = operator.batch(2)
    assert operator("import", file).exit_code == 1
    operator.box.behave()
    assert operator("import", file).exit_code == 0 and len(operator.devices()) == 2


def test_a_failing_network_is_outlived(operator):
    faults = [{"status": 500}, {"status": 429}, {"connection": "close"}, {"connection": "truncate"}]
    operator.box.misbehave(share=0.2, one_of=faults)
    file = operator.batch(150)
    assert operator("import", file).exit_code == 0
    assert {device["received"] for device in operator.devices().values()} == {1}
