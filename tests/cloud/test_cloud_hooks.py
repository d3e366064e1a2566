"""What the box lends to other tools: a clock that they set, and every request as it came."""

import email.utils

import requests

from tools.cloud import Cloud


def test_answers_tell_the_time_of_the_boxs_clock():
    with Cloud(now=lambda: 1893456000.5) as cloud, requests.Session() as session:
        session.trust_env = False
        for path in ("/", "/v2/customer/device/report", "/nowhere"):
            answer = session.get(cloud.url + path, verify=str(cloud.ca_pem), timeout=10)
            told = email.utils.parsedate_to_datetime(answer.headers["Date"])
            assert told.timestamp() == 1893456000, path


def test_a_request_is_handed_on_before_its_answer_and_only_a_vendors():
    events = []
    with (
        Cloud(
            on_request=lambda *request: events.append(request), on_call=lambda row: events.append(row)
        ) as cloud,
        requests.Session() as session,
    ):
        session.trust_env, session.verify = False, str(cloud.ca_pem)
        session.get(cloud.url + "/state", timeout=10)
        path = "/v2/customer/device/report"
        session.post(cloud.url + path, b'{"deviceId": "x"', headers={"X-AI-IP": "10.0.0.1"}, timeout=10)
    (method, asked, headers, body), row = events
    assert (method, asked, body) == ("POST", path, b'{"deviceId": "x"')
    assert headers["X-AI-IP"] == "10.0.0.1" and row["path"] == path
