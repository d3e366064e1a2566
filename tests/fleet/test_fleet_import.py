"""fleet import, as a person and a script give it, against the clouds in a box."""

import csv
import io
import sqlite3

import pytest
from muster.clouds import baidu
from muster.errors import CloudError
from operators import FEISHU, IMPORTS, FleetOperator, fleet, laptops

from tools.fleet.journal import Journal, default

CLOSE, TRUNCATE = {"connection": "close"}, {"connection": "truncate"}


def test_import_twice_sends_once(operator):
    file = operator.batch(2500)
    done = operator("import", file)
    assert done.exit_code == 0 and "2,500" in done.stdout and "imported" in done.stdout
    assert len(operator.devices()) == 2500
    again = operator("import", file)
    assert again.exit_code == 0 and again.calls == 0 and "done before" in again.stdout


def test_a_longer_file_sends_only_what_is_new(operator):
    operator("import", operator.batch(3))
    operator("import", operator.batch(5))
    assert operator.received() == {1}
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
    told = operator("import", file, "--json").json
    assert told[1] == {"line": 3, "ak": "ak00001", "outcome": "done", "code": None, "why": "imported"}
    rows = list(csv.DictReader(io.StringIO(operator("import", file, "--csv").stdout)))
    assert [row["ak"] for row in rows] == ["ak00000", "ak00001", "ak00002"]
    assert {row["outcome"] for row in rows} == {"done"}


def test_a_dry_run_shows_all_and_sends_nothing(operator):
    file = operator.batch(1200)
    there = set(operator.folder.iterdir())
    done, for_people = (operator("import", file, "--dry-run", *more) for more in (["--json"], []))
    made = done.json
    assert [len(call["body"]["devices"]) for call in made] == [1000, 200]
    assert made[0]["method"] == "POST" and made[0]["url"] == operator.box.url + IMPORTS
    assert made[0]["body"]["devices"][0] == "ak00000,***" and made[0]["body"]["fc"] == operator.fc
    told = "".join(for_people.output.replace("│", "").split())
    assert '["ak00000,***","…1,000inall…","ak00999,***"]' in told and "itwouldbe2calls.--jsonshows" in told
    everything = done.stdout + for_people.output
    assert "sk-secret" not in everything and operator.keys["secret_access_key"] not in everything
    assert done.calls == for_people.calls == 0 and set(operator.folder.iterdir()) == there


def test_a_dry_run_masks_feishus_secret_and_leaves_out_what_is_done(operator):
    rows = laptops(3)
    operator("register", operator.csv("f.csv", FEISHU, *rows[:2]))
    file = operator.csv("f.csv", FEISHU, *rows)
    done = operator("register", file, "--dry-run", "--json")
    token, record = done.json
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
    other = FleetOperator(operator.box, operator.folder)
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


DAMAGES = {
    "zeros": lambda data: b"\0" * len(data),
    "first page": lambda data: b"\0" * 4096 + data[4096:],
    "one page": lambda data: data[:4096],
    "end": lambda data: data[:-100],
    "half": lambda data: data[: len(data) // 2],
    "pages": lambda data: data[:4096] + b"\xff" * (len(data) - 4096),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_journal_ends_in_a_sentence_and_one_can_begin_anew(operator, damage):
    file, journal = operator.batch(50), operator.folder / "j"
    operator("import", file, "--journal", journal)
    damaged = damage(journal.read_bytes())
    journal.write_bytes(damaged)
    for more in ([], ["--dry-run"]):
        done = operator("import", file, "--journal", journal, *more)
        assert done.exit_code == 2 and done.calls == 0
        assert "or damaged (" in done.stderr and "delete it to begin anew" in done.stderr
    assert journal.read_bytes() == damaged
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


@pytest.mark.parametrize(("place", "said"), [(".", ""), ("none/j", "--journal FILE")])
def test_a_journal_that_is_a_folder_or_in_one_that_is_not_there(operator, place, said):
    done = operator("import", operator.batch(1), "--journal", operator.folder / place)
    assert done.exit_code == 2 and said in done.stderr


def test_two_runs_do_not_share_a_journal(operator):
    path = operator.folder / "j"
    holder = Journal()
    holder.open(path, "scope", "import")
    done = operator("import", operator.batch(1), "--journal", path)
    holder.close()
    assert done.exit_code == 2 and "another run is using it" in done.stderr
    assert operator("import", operator.batch(1), "--journal", path).exit_code == 0


def test_after_a_7_the_culprits_are_found_and_get_decides(operator):
    operator.client.import_devices([("ak00007", "sk-secret-00007"), ("ak00300", "another key")])
    failed = operator.folder / "failed.csv"
    done = operator("import", operator.batch(512), "--failed", failed)
    assert done.exit_code == 1
    assert done.calls < 2 * 9 * (2 + 2)  # two ways down a tree of 512 leaves
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
    longer = operator("import", operator.batch(60), "--journal", operator.folder / "new")
    assert longer.exit_code == 0 and len(operator.devices()) == 60
    again = operator("import", file, "--journal", operator.folder / "newer")
    assert longer.calls + again.calls < 200


def test_a_key_that_baidu_does_not_show_is_unconfirmed(operator, monkeypatch):
    operator.client.import_devices([("ak00001", "sk-secret-00001")])
    true = baidu.Baidu.get
    file = operator.batch(3)
    with monkeypatch.context() as patch:
        patch.setattr(baidu.Baidu, "get", lambda self, ak: {**true(self, ak), "sk": "s***1"})
        done = operator("import", file, "--json")
    assert done.exit_code == 1 and [o["outcome"] for o in done.json] == ["done", "unconfirmed", "done"]
    assert "exists, key unconfirmed" in done.json[1]["why"]
    sent = operator.devices()["ak00001"]["received"]
    assert operator("import", file).exit_code == 0
    assert operator.devices()["ak00001"]["received"] == sent


def test_another_key_in_the_file_is_not_taken_for_done(operator):
    operator("import", operator.csv("devices.csv", ("ak", "sk"), ("a1", "one")))
    done = operator("import", operator.csv("devices.csv", ("ak", "sk"), ("a1", "two")), "--json")
    (told,) = done.json
    assert done.exit_code == 1 and told["outcome"] == "failed" and "another sk" in told["why"]


def test_a_row_that_baidu_cannot_read_does_not_keep_the_others_out(operator, monkeypatch):
    true = baidu.Baidu.import_devices

    def picky(self, pairs):
        if any(ak == "ak00005" for ak, _ in pairs):
            raise CloudError("baidu", "CSV Format Error", 200, "5")
        true(self, pairs)

    monkeypatch.setattr(baidu.Baidu, "import_devices", picky)
    told = operator("import", operator.batch(20), "--json").json
    assert [one["line"] for one in told if one["outcome"] != "done"] == [7]
    assert "correct them in the input" in told[5]["why"]


@pytest.mark.parametrize("fault", [TRUNCATE, {"connection": "reset", "after": 0}, CLOSE, {"status": 502}])
def test_a_lost_answer_sends_no_device_twice(operator, fault):
    operator.box.misbehave(**fault, path=IMPORTS, times=1)
    done = operator("import", operator.batch(50))
    assert done.exit_code == 0, done.output
    assert len(operator.devices()) == 50 and operator.received() == {1}


def test_quota_ends_the_run_at_once(box, tmp_path):
    operator = FleetOperator(box, tmp_path, quota=2500)
    file = operator.batch(5000)
    done = operator("import", file, "--jobs", 1)
    assert done.exit_code == 1 and "Buy more in Baidu's console" in done.stderr
    assert len(operator.devices()) == 2000 and operator.received() == {1}
    # 1000 of them were refused, and are known not to be there: nobody has to look them up.
    assert "not sent" in done.stdout and "unknown" not in done.stdout
    again = operator("import", file, "--jobs", 1)
    assert again.exit_code == 1 and again.calls == 1


def test_a_wrong_secret_ends_the_run_after_one_call(operator):
    operator.write_profile(baidu={**operator.keys, "secret_access_key": "wrong"})
    done = operator("import", operator.batch(5000), "--jobs", 1)
    assert done.exit_code == 1 and "does not belong to access_key_id" in done.stderr and done.calls == 1


def test_what_failed_is_tried_again(operator):
    operator.box.misbehave(code="InappropriateJSON")
    file = operator.batch(2)
    assert operator("import", file).exit_code == 1
    operator.box.behave()
    assert operator("import", file).exit_code == 0 and len(operator.devices()) == 2


def test_a_failing_network_is_outlived(operator):
    operator.box.misbehave(share=0.2, one_of=[{"status": 500}, {"status": 429}, CLOSE, TRUNCATE])
    file = operator.batch(150)
    assert operator("import", file).exit_code == 0
    assert operator.received() == {1}
