"""Refusals whose cause lies in the operator's computer: its clock, or the other of Coze's two sites."""

import os
import subprocess

import pytest

from tools.common.vm import find_faketime

AGAIN = "set it, then give the same command again."
SITES = "base_url must be https://api.coze.cn or https://api.coze.com"


def bind(operator):
    file = operator.csv("b.csv", ("label", "value"), ("a", "1"))
    return ["bind", "--connector-id", operator.channel, file]


@pytest.fixture
def fleet(operator):
    """Gives a command on a computer whose clock is wrong, such as "-40m"; returns what it says of it."""
    library = find_faketime()
    if library is None:
        pytest.skip("libfaketime is for Linux")

    def fleet(wrong, *arguments):
        clock = {"LD_PRELOAD": str(library), "FAKETIME": wrong}
        done = subprocess.run(
            operator.line(*arguments), env={**os.environ, **clock}, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 1, done
        return done.stderr

    return fleet


@pytest.mark.parametrize(
    "wrong, told", [("-40m", "40 minutes behind"), ("+40m", "40 minutes ahead of"), ("-3h", "3 hours behind")]
)
def test_baidu(fleet, wrong, told):
    said = fleet(wrong, "list")
    assert "RequestExpired" in said and f"This computer's clock is {told} the server's: {AGAIN}" in said


@pytest.mark.parametrize("wrong, told", [("-40m", "40 minutes behind"), ("+3m", "3 minutes ahead of")])
def test_coze(operator, fleet, wrong, told):
    operator.write_profile(coze=operator.box.new_coze_app(may_bind=True))
    said = fleet(wrong, *bind(operator))
    assert "code invalid_client" in said and f"This computer's clock is {told} the server's: {AGAIN}" in said
    assert "belong together" not in said


def test_a_right_clock_is_not_blamed(operator):
    operator.box.misbehave(code="SignatureDoesNotMatch")
    said = operator("list").stderr
    assert "secret_access_key does not belong" in said and "clock" not in said


def test_an_app_of_coze_s_other_site(operator):
    app = operator.box.new_coze_app(may_bind=True)
    operator.write_profile(coze={**app, "key_id": "made-at-the-other-site"})
    said = operator(*bind(operator)).stderr
    assert "kid is not the fingerprint" in said and SITES in said


def test_a_token_of_coze_s_other_site(operator):
    operator.write_profile(coze={"token": "pat_of_the_other_site"})
    said = operator(*bind(operator)).stderr
    assert "code 4100" in said and SITES in said


def test_a_certificate_that_a_wrong_clock_refuses(fleet):
    said = fleet("-3d", "list")
    assert "certificate is not yet valid" in said and "set this computer's clock if it is not" in said
