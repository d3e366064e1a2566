"""The other commands on Baidu's devices, as a person and a script give them, against the clouds in a box."""

import csv
import io
import subprocess

import pytest

from tools.fleet.journal import DONE, NOT_SENT, SENT, Journal, default


def test_disable_enable_and_disable_once_more(operator):
    file = operator.batch(5)
    operator("import", file)
    for command, state in (("disable", "BAN"), ("enable", "NOT_ACTIVE"), ("disable", "BAN")):
        assert operator(command, file).exit_code == 0
        assert {device["state"] for device in operator.devices().values()} == {state}
    assert operator("disable", file).calls == 0


def test_a_device_that_is_not_there_fails_alone(operator):
    operator("import", operator.batch(3))
    done = operator("disable", operator.csv("some.csv", ("ak",), ("ak00000",), ("nobody",), ("ak00002",)))
    assert done.exit_code == 1 and "The product has no" in done.stdout
    assert [device["state"] for device in operator.devices().values()] == ["BAN", "NOT_ACTIVE", "BAN"]


def test_delete_asks(operator, monkeypatch):
    monkeypatch.chdir(operator.folder)
    file = operator.batch(3)
    operator("import", file)
    for done in operator("delete", file), operator("delete", "-", input=file.read_bytes()):
        assert done.exit_code == 2 and "add --yes" in done.stderr and len(operator.devices()) == 3
    monkeypatch.setattr("tools.cli.fleet.someone_there", lambda: True)
    done = operator("delete", file, input="n\n")
    assert done.exit_code == 1 and "does not come back" in done.stderr and len(operator.devices()) == 3
    assert operator("delete", file, input="y\n").exit_code == 0 and not operator.devices()


@pytest.mark.parametrize(("file", "said"), [("devices.csv", "add --yes"), ("-", "standard input is closed")])
def test_delete_with_standard_input_closed(operator, monkeypatch, file, said):
    monkeypatch.chdir(operator.folder)
    operator.batch(1)
    shell = ["sh", "-c", 'exec "$@" <&-', "sh", *operator.line("delete", file)]
    done = subprocess.run(shell, capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


def test_delete_whose_answer_was_lost_is_done(operator):
    file = operator.batch(1)
    operator("import", file)
    operator.box.misbehave(connection="truncate", times=1)
    assert operator("delete", file, "--yes").exit_code == 0 and not operator.devices()


def test_what_was_deleted_can_be_imported_again(operator):
    file = operator.batch(2)
    for command, *more in (("import",), ("delete", "--yes"), ("import",)):
        assert operator(command, file, *more).exit_code == 0
    assert len(operator.devices()) == 2


def test_what_another_file_deleted_is_imported_again_and_the_rest_is_done_before(operator):
    file = operator.batch(3)
    operator("import", file)
    (operator.folder / "elsewhere").mkdir()
    other = operator.csv("elsewhere/other.csv", ("ak",), ("ak00001",))
    assert operator("delete", other, "--yes").exit_code == 0 and len(operator.devices()) == 2
    done = operator("import", file, "--json")
    assert [one["why"] for one in done.json] == ["imported"] * 3 and done.calls == 1
    assert len(operator.devices()) == 3


def uncertain(operator, command, file):
    """Leaves all devices of a file as a kill would: sent, and nobody knows."""
    journal = Journal()
    for line, row in enumerate(csv.DictReader(file.open()), 2):
        known = {"ak": row["ak"]} if command != "import" else {"ak": row["ak"], "sk": row["sk"]}
        journal.add(line, [row["ak"]], known)
    scope = f"{operator.box.url} {operator.fc}/pk-1"
    journal.open(default(scope), scope, command)
    for rows in journal.batches(100, NOT_SENT, DONE):
        journal.sent(rows)
    assert journal.counts() == {SENT: line - 1}
    journal.close()


@pytest.mark.parametrize("command", ["import", "disable", "enable", "delete"])
def test_after_a_kill_get_decides(operator, command):
    file = operator.batch(4)
    there = [("ak00000", "sk-secret-00000"), ("ak00001", "sk-secret-00001")]
    baidus = operator.client
    baidus.import_devices([*there, *([] if command == "import" else [("ak00002", "x"), ("ak00003", "y")])])
    for ak, _ in there:  # to these it has happened already
        if command in ("disable", "delete"):
            getattr(baidus, command)(ak)
    if command == "enable":
        baidus.disable("ak00002")
        baidus.disable("ak00003")
    uncertain(operator, command, file)
    done = operator(command, file, *(["--yes"] if command == "delete" else []))
    assert done.exit_code == 0, done.output
    assert done.calls == 4 + (1 if command == "import" else 2)  # a look at each, then what was left
    state = {"import": {"NOT_ACTIVE"}, "disable": {"BAN"}, "enable": {"NOT_ACTIVE"}, "delete": set()}[command]
    assert {device["state"] for device in operator.devices().values()} == state
    if command == "import":
        assert operator.received() == {1}


def test_list_and_show_mask_keys_until_told_otherwise(operator):
    operator("import", operator.batch(250))
    operator("disable", operator.csv("one.csv", ("ak",), ("ak00007",)))
    assert len(operator("list", "--json").json) == 250
    banned = operator("list", "--state", "BAN", "--csv").stdout
    assert [row["ak"] for row in csv.DictReader(io.StringIO(banned))] == ["ak00007"]
    page = operator("list", "--page", 2, "--page-size", 3, "--order", "asc", "--json").json
    assert [device["ak"] for device in page] == ["ak00003", "ak00004", "ak00005"]
    for form in ([], ["--json"], ["--csv"]):
        for command in (["list"], ["show", "ak00001"]):
            assert "sk-secret" not in operator(*command, *form).output
            assert "sk-secret-00001" in operator(*command, *form, "--reveal").stdout


def test_a_list_with_nothing_in_it_says_so_to_people(operator):
    assert operator("list").stdout == "There are no devices to show.\n"
    assert operator("list", "--json").json == []
    assert operator("list", "--csv").stdout.count("\n") == 1


def test_show_of_a_device_that_is_not_there(operator):
    operator("import", operator.batch(1))
    done = operator("show", "nobody", "ak00000", "--json")
    assert done.exit_code == 1 and "no device nobody" in done.stderr
    assert [device["ak"] for device in done.json] == ["ak00000"]


def test_list_outlives_a_broken_page(operator):
    operator("import", operator.batch(5))
    operator.box.misbehave(connection="truncate", times=2)
    assert len(operator("list", "--json").json) == 5
    operator.box.misbehave(code="AccessDenied")
    done = operator("list")
    assert done.exit_code == 1 and "let the account's owner permit it" in done.stderr
