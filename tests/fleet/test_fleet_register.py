"""fleet register for Feishu and fleet bind for Coze, against the clouds in a box."""

import time

from operators import FEISHU, FleetOperator, laptops, records


def test_register_keeps_the_limit_and_tells_the_record_ids(box, tmp_path):
    # Feishu would take more: what holds it back is its own limit, and nothing is refused.
    operator, rows = FleetOperator(box, tmp_path, per_second=1000), laptops(15)
    file = operator.csv("f.csv", FEISHU, *rows)
    began = time.monotonic()
    done = operator("register", file, "--json")
    assert done.exit_code == 0 and time.monotonic() - began > 1.4
    made = operator.box.calls()[-done.calls :]
    assert [call["code"] for call in made if "device_records" in call["path"]] == ["0"] * 15
    kept = {record["serial_number"]: record for record in records(operator.box, rows)}
    assert [one["device_record_id"] for one in done.json] == [
        kept[row[3]]["device_record_id"] for row in rows
    ]
    assert {record["mac_address"] for record in kept.values()} == {"ac:de:48:00:11:21"}


def test_what_feishu_has_already_is_done(operator):
    file = operator.csv("f.csv", FEISHU, *laptops(2))
    assert operator("register", file).exit_code == 0
    done = operator("register", file, "--journal", operator.folder / "new", "--csv")
    assert done.exit_code == 0 and done.stdout.count("1785010,was there") == 2


def test_feishus_429_is_obeyed(box, tmp_path):
    operator = FleetOperator(box, tmp_path, per_second=3)
    rows = laptops(7)
    began = time.monotonic()
    done = operator("register", operator.csv("f.csv", FEISHU, *rows), "--rate", 1000)
    assert done.exit_code == 0 and len(records(box, rows)) == 7
    assert time.monotonic() - began > 2


def test_an_app_without_the_permission(operator):
    app = operator.box.add_feishu_app(scopes=[])
    operator.write_profile(feishu=app)
    done = operator("register", operator.csv("f.csv", FEISHU, *laptops(30)), "--jobs", 1)
    assert done.exit_code == 1 and "security_and_compliance:device_record:write: ask for it" in done.stderr
    operator.write_profile(feishu={**app, "app_secret": "wrong"})
    done = operator("register", operator.csv("f.csv", FEISHU, *laptops(1)))
    assert done.exit_code == 1 and "app_id or app_secret is wrong" in done.stderr


def bound(operator):
    return len(operator.box.calls(f"/v1/connectors/{operator.channel}/user_configs"))


def test_bind_sends_all_together_and_again_only_when_something_is_new(operator):
    def bind(*values, more=()):
        file = operator.csv("c.csv", ("label", "value"), *((f"音箱 {value}", value) for value in values))
        return operator("bind", file, "--connector-id", operator.channel, *more)

    assert bind("v1", "v2").exit_code == 0 and bound(operator) == 1
    assert bind("v1", "v2").exit_code == 0 and bound(operator) == 1
    for more, expected in ([], ["v1", "v2", "v3"]), (["--batch", 10], ["v3"]):
        shown = bind("v1", "v2", "v3", more=["--dry-run", "--json", *more]).json
        assert [one["value"] for one in shown[0]["body"]["configs"][0]["enums"]] == expected
    assert bind("v1", "v2", "v3").exit_code == 0 and bound(operator) == 2
    assert bind("v4", "v5", "v6", more=["--batch", 2]).exit_code == 0 and bound(operator) == 4


def test_bind_that_coze_refuses(operator):
    file = operator.csv("c.csv", ("label", "value"), ("lamp", "v"))
    for where, said in (["none"], "--connector-id"), ([operator.channel, "--key", "other"], "--key"):
        done = operator("bind", file, "--connector-id", *where)
        assert done.exit_code == 1 and f"compare {said}" in done.stderr
