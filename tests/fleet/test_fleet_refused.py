"""What each of the clouds' refusals is told as."""

import pytest
from muster import CloudError
from muster.clouds import baidu, feishu
from operators import FEISHU, RECORDS, laptops

from tools.fleet import retry
from tools.fleet.remedies import remedy


def why(done):
    """What a run says of its only device, and of its end."""
    (one,) = done.json
    return f"{one['why']} {done.stderr}"


@pytest.mark.parametrize("code", [code for code in baidu.CODES if code != "0"])
def test_each_of_baidus_codes_says_what_to_do(operator, code):
    operator.box.misbehave(code=code)
    done = operator("import", operator.batch(1), "--json")
    assert done.exit_code == 1 and f"code {code}" in why(done)
    assert advice_of("baidu", code) in why(done)


@pytest.mark.parametrize("code", feishu.CODES)
def test_each_of_feishus_codes_says_what_to_do(operator, code, monkeypatch):
    # What the box asks for is a second at each attempt.
    monkeypatch.setattr(retry, "ATTEMPTS", 2)
    operator.box.misbehave(code=code, path=RECORDS)
    done = operator("register", operator.csv("f.csv", FEISHU, *laptops(1)), "--json")
    if code == "1785010":
        assert done.exit_code == 0 and "was there" in why(done)
    else:
        assert done.exit_code == 1 and f"code {code}" in why(done)
        assert advice_of("feishu", code) in why(done)


def advice_of(cloud, code):
    text = remedy(CloudError(cloud, "", 200, code))
    assert "documents do not explain" not in text
    return text


def test_a_code_of_no_table_is_shown_well(operator):
    operator.box.misbehave(code="IllegalRequestUrl", status=400)
    done = operator("import", operator.batch(1), "--json")
    assert done.exit_code == 1 and "IllegalRequestUrl" in why(done)
    assert "Baidu's documents do not explain this: ask its support" in why(done)


def test_when_every_call_fails_strangely_the_run_ends(operator):
    operator.box.misbehave(code="InappropriateJSON")
    done = operator("disable", operator.batch(200), "--jobs", 2)
    assert done.exit_code == 1 and "5 calls in a row failed" in done.stderr
    assert done.calls < 8
