"""fleet register for Feishu and fleet bind for Coze, against the clouds in a box."""

import json
import time

from operators import FEISHU, Operator, laptops, records

# Feishu


def test_register_keeps_the_limit_and_tells_the_record_ids(box, tmp_path):
    # Feishu would take more: what holds it back is its own limit, and nothing is refused.
    operator, rows = Operator(box, tmp_path, per_second=1000), laptops(15)
    file = operator.csv("f.csv", FEISHU, *rows)
    before, began = len(operator.box.calls()), time.monotonic()
    done = operator("register", file, "--json")
    took = time.monotonic() - began
    made = operator.box.calls()[before:]
    assert done.exit_code == 0 and took > 1.4
    assert [call["code"] for call in made if "device_records" in call["path"]] == ["0"] * 15
    kept = {record["serial_number"]: record for record in records(operator.box, rows)}
    told = json.loads(done.stdout)
    assert [one["device_record_id"] for one in told] == [kept[row[3]]["device_record_id"] for row in rows]
    assert {record["mac_address"] for record in kept.values()} == {"ac:de:48:00:11:21"}


def test_what_feishu_has_already_is_done(operator):
    file = operator.csv("f.csv", FEISHU, *laptops(2))
    assert operator("register", file).exit_code == 0
    done = operator("register", file, "--journal", operator.folder / "new", "--csv")
    assert done.exit_code == 0 and done.stdout.count("1785010,was there") == 2


def test_feishus_429_is_obeyed(box, tmp_path):
    operator = Operator(box, tmp_path, per_second=3)
    rows = laptops(7)
    began = time.monotonic()
    done = operator("register", operator.csv("f.csv", FEISHU, *rows), "--rate", 1000)
    assert done.exit_code == 0 and len(records(box, rows)) == 7
    assert time.monotonic() - began > 2


def test_an_app_without_the_permission(operator):
    operator.app = operator.box.add_feishu_app(scopes=[])
    operator.profile = operator.write_profile()
    done = operator("register", operator.csv("f.csv", FEISHU, *laptops(30)), "--jobs", 1)
    assert done.exit_code == 1 and "security_and_compliance:device_record:write: ask for it" in done.stderr
    operator.app["app_secret"] = "wrong"
    operator.profile = operator.write_profile()
    done = operator("register", operator.csv("f.csv", FEISHU, *laptops(1)))
    assert done.exit_code == 1 and "app_id or app_secret is wrong" in done.stderr


# Coze


def bound(operator):
    calls = operator.box.calls(f"/v1/connectors/{operator.channel}/user_configs")
    return len(calls)


def test_bind_sends_all_together_and_again_only_when_something_is_new(operator):
    def bind(*values, more=()):
        file = operator.csv("c.csv", ("label", "value"), *((f"音箱 {value}", value) for value in values))
        return operator("bind", file, "--connector-id", operator.channel, *more)

    assert bind("v1", "v2").exit_code == 0 and bound(operator) == 1
    assert bind("v1", "v2").exit_code == 0 and bound(operator) == 1
    shown = json.loads(bind("v1", "v2", "v3", more=["--dry-run", "--json"]).stdout)
    assert [one["value"] for one in shown[0]["body"]["configs"][0]["enums"]] == ["v1", "v2", "v3"]
    shown = json.loads(bind("v1", "v2", "v3", more=["--dry-run", "--json", "--batch", 10]).stdout)
    assert [one["value"] for one in shown[0]["body"]["configs"][0]["enums"]] == ["v3"]
    assert bind("v1", "v2", "v3").exit_code == 0 and bound(operator) == 2
    assert bind("v4", "v5", "v6", more=["--batch", 2]).exit_code == 0 and bound(operator) == 4


def test_bind_that_coze_refuses(operator):
    file = operator.csv("c.csv", ("label", "value"), ("lamp", "v"))
    done = operator("bind", file, "--connector-id", "none")
    assert done.exit_code == 1 and "compare --connector-id" in done.stderr
    done = operator("bind", file, "--connector-id", operator.channel, "--key", "other")
    assert done.exit_code == 1 and "compare --key" in done.stderr
