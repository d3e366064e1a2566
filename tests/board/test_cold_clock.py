"""A board that thinks it is 2000 meets a certificate of last week: the real VM, its mbedTLS, its clock."""

import calendar
import json
import time
import urllib.request

import pytest
from muster.clock import RELEASED
from programs import needs_faketime, needs_micropython

from tools.common import vm

pytestmark = [needs_micropython, needs_faketime]

Y2000 = calendar.timegm((2000, 1, 1, 0, 0, 0))

# Sets the time as a board does, through machine.RTC; here that is libfaketime's file.
PROGRAM = """
import json, sys
from muster import clock, http
from muster.errors import Error

url, ca, path, offset, rtc = json.loads(sys.stdin.readline())


class RTC:
    def datetime(self, parts):
        global offset
        if rtc == "works":
            offset += clock.unix(parts[:3] + parts[4:7]) - clock.now()
            with open(path, "w") as f:
                f.write("%+d" % offset)


class Machine:
    pass


if rtc != "none":
    Machine.RTC = RTC
sys.modules["machine"] = Machine
first = clock.now()
try:
    with http.Session(ca) as session:
        told = session.post(url, data=b"secret").json()["body"], session.get(url).status_code
except Error as e:
    told = str(e)
print(json.dumps({"first": first, "last": clock.now(), "told": told}))
"""


@pytest.fixture
def cold(tmp_path):
    """A function that runs the program in a VM whose clock starts in 2000, against one of the servers."""
    clock, environment = tmp_path / "time", vm.own_clock(vm.find_faketime(), tmp_path) | {"TZ": "UTC"}

    def run(server, rtc="works"):
        offset = Y2000 - int(time.time())
        clock.write_text(f"{offset:+d}")
        request = [server["url"], server["ca"], str(clock), offset, rtc]
        answer = vm.ask(PROGRAM, request, folder=tmp_path, environment=environment)
        assert 0 <= answer["first"] - Y2000 < 10
        return answer

    return run


def seen(server):
    with urllib.request.urlopen(server["seen"]) as told:
        return json.load(told)


def received(server):
    return ["".join(connection["received"]) for connection in seen(server)]


def test_the_clock_moves_to_the_first_day_of_a_good_certificate(cold, tls):
    answer = cold(tls)
    assert answer["told"] == ["secret", 200]
    assert 0 <= answer["last"] - max(tls["starts"], RELEASED) < 10
    # Nothing left in the handshake that failed, and the second connection was kept.
    refused, kept = received(tls)
    assert refused == "" and kept.count("secret") == 1 and seen(tls)[1]["requests"] == 2


@pytest.mark.parametrize(
    "kind", ["foreign", "misnamed", "self-signed", "foreign future", "misnamed future", "client's future"]
)
def test_the_clock_stays_when_the_certificate_is_wrong_besides(cold, bad_tls, kind):
    answer = cold(bad_tls[kind])
    reason = {"misnamed": "another name", "client's": ""}.get(kind.split()[0], "no trusted root")
    assert reason in answer["told"] and "not valid yet" in answer["told"]
    assert answer["last"] - Y2000 < 10
    assert received(bad_tls[kind]) == [""]


def test_a_board_whose_clock_cannot_be_set_is_refused(cold, tls):
    answer = cold(tls, rtc="none")
    assert "not valid yet" in answer["told"] and answer["last"] - Y2000 < 10
    assert received(tls) == [""]


def test_a_clock_that_does_not_move_is_asked_once(cold, tls):
    answer = cold(tls, rtc="stuck")
    assert "not valid yet" in answer["told"] and answer["last"] - Y2000 < 10
    assert received(tls) == ["", ""]
