"""The library against China Mobile's platform in a box, over real TLS."""

import asyncio
import os
import sys

from helpers import logged, raises
from muster import clock, http, log, memory, store
from muster.agent import Agent
from muster.clouds.chinamobile import ChinaMobile, params
from muster.errors import CloudError
from muster.net.carrier import Carrier

CALLS = {"secret": "/v2/customer/device/secret/info", "report": "/v2/customer/device/report"}


def misbehave(platform, **how):
    http.post(platform["baseUrl"] + "/misbehave", ca=platform["roots"], json=how)


def counts(platform):
    seen = http.get(platform["baseUrl"] + "/state", ca=platform["roots"]).json()["counts"]
    return seen.get(CALLS["secret"], 0), seen.get(CALLS["report"], 0)


def client(platform, session=None):
    session = session or http.Session(platform["roots"])
    return ChinaMobile(platform["productId"], platform["productKey"], session, platform["baseUrl"])


def kept_by(session):
    return list(session._kept.values())


class Hurried:
    """A clock that need not be waited for."""

    ahead = 0

    def now(self):
        return clock.now() + self.ahead

    def trusted(self):
        return True


def agent(platform, tmp, timeout=10, clock=None):
    session = http.Session(platform["roots"], timeout)
    return Agent(platform, session, store.FileStore(tmp + "/credentials"), clock)


def enrol_and_report(cloud, device_no):
    found = cloud.secret_info(device_no)
    heartbeat = params(firmwareVersion="1.0", cmei="111234560000018", mac="50-5A-65-51-82-13")
    return found, cloud.report(found["deviceId"], found["deviceSecret"], heartbeat)


def test_a_platform_that_is_strict_about_its_document_accepts_it(platform):
    found, answer = enrol_and_report(client(platform), platform["deviceNo"])
    assert found["deviceNo"] == platform["deviceNo"] and found["productId"] == platform["productId"]
    assert answer["deviceId"] == found["deviceId"] and answer["protocolTypeTime"]
    assert counts(platform) == (1, 1)


def test_the_address_of_the_device_is_passed_on(platform):
    session = http.Session(platform["roots"])
    cloud = ChinaMobile(
        platform["productId"], platform["productKey"], session, platform["baseUrl"], device_ip="10.1.2.3"
    )
    assert cloud.secret_info(platform["deviceNo"])["deviceSecret"]
    bad = ChinaMobile(
        platform["productId"], platform["productKey"], session, platform["baseUrl"], device_ip="somewhere"
    )
    assert "X-AI-IP" in raises(CloudError, bad.secret_info, platform["deviceNo"]).message


def test_its_refusals_arrive_with_code_and_words(platform):
    e = raises(CloudError, client(platform).secret_info, "nobody")
    assert e.code == "500" and e.status == 200 and e.message
    wrong = ChinaMobile(
        platform["productId"], "wr0ngk3y", http.Session(platform["roots"]), platform["baseUrl"]
    )
    e = raises(CloudError, wrong.secret_info, platform["deviceNo"])
    assert e.code == "500" and "wr0ngk3y" not in str(e)


def test_urequests_and_requests_will_do_as_sessions(platform):
    import requests

    session = requests
    if sys.implementation.name == "cpython":
        session = requests.Session()
        session.trust_env = False
        session.verify = platform["roots"]
    lines = []
    log.write = lambda level, text: lines.append(text)
    for _ in range(2):
        found, answer = enrol_and_report(client(platform, session), platform["deviceNo"])
        assert answer["deviceId"] == found["deviceId"]
    told = [line for line in lines if "verifies no certificate" in line]
    assert len(told) == (sys.implementation.name == "micropython")


def test_an_agent_lives_through_whatever_the_platform_does(platform, tmp):
    faults = (
        {"status": 500, "body": '{"error": "internal"}'},
        {"status": 502, "body": "<html>Bad gateway</html>"},
        {"body": "<html>Log in to this Wi-Fi</html>"},
        {"body": '{"code": "200", "success": true'},
        {"connection": "truncate"},
        {"connection": "close"},
        {"connection": "reset"},
        {"code": "503"},
        {"delay": 1},
    )
    time = Hurried()
    device = agent(platform, tmp, 0.3, time)
    for fault in faults:
        misbehave(platform, **fault)
        pause = device.step()
        assert pause > 0 and device.status()["last_error"], fault
        time.ahead += pause
    assert device.status()["failures"] == len(faults)
    assert device.status()["reports"] == 0
    misbehave(platform)
    device._session.timeout = 10
    device.step()
    assert device.status()["failures"] == 0 and device.status()["reports"] == 1


def test_an_agent_lives_through_an_absent_platform(platform, tmp):
    nowhere = dict(platform, baseUrl="https://localhost:1")
    time = Hurried()
    device = agent(nowhere, tmp, 10, time)
    for _ in range(3):
        pause = device.step()
        assert pause > 0
        time.ahead += pause
    assert device.status()["failures"] == 3
    assert "reached" in device.status()["last_error"]


def test_a_certificate_that_does_not_hold_stops_it_before_a_byte_leaves(platform, tmp):
    # Last of all, since the box's own switch cannot be reached over a bad certificate.
    reasons = (("expired", "it has expired"), ("misnamed", "another name"), ("foreign", "no trusted root"))
    for kind, reason in reasons:
        misbehave(platform, certificate=kind, times=1)
        device = agent(platform, tmp)
        device.step()
        assert reason in device.status()["last_error"], (kind, device.status())
    assert counts(platform) == (0, 0)


def test_the_secret_is_fetched_once_over_many_boots(platform, tmp):
    for _ in range(3):
        agent(platform, tmp).report()
    assert counts(platform) == (1, 3)


def test_a_task_leaves_the_loop_turning_while_the_platform_is_silent(platform, tmp):
    misbehave(platform, delay=3600, times=1)
    device = agent(platform, tmp)

    async def main():
        task = asyncio.create_task(device.task())
        # A task that blocked would not come back before it had failed.
        while counts(platform) == (0, 0):
            await asyncio.sleep(0.005)
        for _ in range(20):
            await asyncio.sleep(0.005)
        assert device.status()["failures"] == 0
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass

    asyncio.run(main())
    device = agent(platform, tmp)
    device.step()
    assert device.status()["reports"] == 1 and counts(platform) == (2, 1)


def test_a_kept_connection_serves_both_calls(platform):
    session = http.Session(platform["roots"])
    cloud = client(platform, session)
    found = cloud.secret_info(platform["deviceNo"])
    kept = kept_by(session)
    cloud.report(found["deviceId"], found["deviceSecret"], params(firmwareVersion="1"))
    assert kept_by(session) == kept and len(kept) == 1


def test_both_calls_are_repeated_when_a_kept_connection_ends_without_an_answer(platform, tmp):
    session = http.Session(platform["roots"])
    cloud = client(platform, session)
    found = cloud.secret_info(platform["deviceNo"])
    misbehave(platform, connection="close", times=1)
    assert cloud.secret_info(platform["deviceNo"]) == found
    misbehave(platform, connection="close", times=1)
    assert cloud.report(found["deviceId"], found["deviceSecret"], params(firmwareVersion="1"))
    device = Agent(platform, session, store.FileStore(tmp + "/credentials"))
    for call in (device.enrol, device.report):
        misbehave(platform, connection="close", times=1)
        call()


def test_a_session_of_its_own_lasts_for_a_step_and_leaves_no_code_behind(platform, tmp):
    own = Agent(platform, store=store.FileStore(tmp + "/credentials"), clock=Hurried())
    for reports in (1, 2):
        own.step()
        assert own.status()["last_error"] is None and own.status()["reports"] == reports
        own._clock.ahead += 13 * 3600
    own.report()
    assert counts(platform) == (1, 3)


class Seen(store.FileStore):
    """What of muster.net was loaded when a record was written."""

    def __init__(self, path, loaded):
        super().__init__(path)
        self.loaded = loaded

    def beside(self, name):
        return Seen(self.path + name, self.loaded)

    def save(self, record):
        self.loaded.append(sorted(name[11:] for name in sys.modules if name.startswith("muster.net.")))
        super().save(record)


def test_what_talks_makes_room_for_what_writes(platform, tmp):
    if sys.implementation.name == "cpython":
        return  # a laptop keeps it all
    for name in [name for name in sys.modules if name.startswith(("muster.net.", "muster.http"))]:
        if name != "muster.net.wait":
            memory.unload(name)
    loaded = []
    Agent(platform, store=Seen(tmp + "/credentials", loaded)).step()
    # The secret, in both slots, over a connection that is kept; the schedule when it has gone.
    assert loaded == [["carrier", "connection", "tls", "wait"]] * 2 + [["wait"]]


def test_a_lean_session_works_as_any_other_and_drops_code_between_two_requests(platform):
    carrier = Carrier(platform["roots"])
    carrier.lean = True
    cloud = client(platform, carrier)
    found = cloud.secret_info(platform["deviceNo"])
    kept = kept_by(carrier)
    if sys.implementation.name != "cpython":
        for name in ("request", "exchange", "http1"):
            assert "muster.net." + name not in sys.modules
    assert cloud.secret_info(platform["deviceNo"]) == found
    assert kept_by(carrier) == kept and len(kept) == 1
    carrier.close()


def test_a_task_shares_its_session_and_the_connection_with_the_program(platform, tmp):
    async def main():
        session = http.AsyncSession(platform["roots"])
        shared = Agent(platform, session, store.FileStore(tmp + "/credentials"))
        task = asyncio.create_task(shared.task())
        while not shared.status()["reports"]:
            assert not shared.status()["failures"], shared.status()["last_error"]
            await asyncio.sleep(0.01)
        while shared._at_work:
            await asyncio.sleep(0.01)
        kept = kept_by(session)
        found = await client(platform, session).secret_info(platform["deviceNo"])
        assert found["deviceId"] == shared.status()["device_id"]
        assert kept_by(session) == kept and len(kept) == 1
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        session.close()

    asyncio.run(main())
    assert counts(platform) == (2, 1)


def test_an_agent_remembers_which_root_has_verified_its_platform(platform, roots, tmp):
    folder = tmp + "/roots"
    os.mkdir(folder)
    for name, path in (("a.pem", roots["other"]), ("b.pem", platform["roots"])):
        with open(path, "rb") as f, open(folder + "/" + name, "wb") as copy:
            copy.write(f.read())
    device = Agent(dict(platform, roots=folder), None, store.FileStore(tmp + "/credentials"))
    device.report()
    # If it were read again, that would be said.
    with open(folder + "/a.pem", "wb") as f:
        f.write(b"nothing")
    log._said.clear()
    with logged() as lines:
        device.report()
    warned = [line for line in lines if "a.pem is no CA certificate" in line]
    assert len(warned) == (0 if memory.MICROPYTHON else 1), lines
