"""Feishu's device records: each request as its documents have it, each answer as it may come."""

import json

from helpers import raises
from muster.clouds import feishu
from muster.clouds.feishu import Feishu, record
from muster.errors import CloudError
from recorded import Answer, Nested, Recorder

NOW = 1800000000
TOKEN = {"code": 0, "msg": "ok", "tenant_access_token": "t-1", "expire": 7200}
CREATED = {"code": 0, "msg": "success", "data": {"device_record_id": "7089353870308032531"}}
EXPIRED = {"code": 99991663, "msg": "Invalid access token for authorization."}
TOKEN_URL = "https://open.feishu.cn/open-apis/auth/v3/tenant_access_token/internal"
RECORDS_URL = "https://open.feishu.cn/open-apis/security_and_compliance/v2/device_records"


def create(cloud):
    return cloud.create_device(4, 2, 1, android_id="02a11ac4a83b918e")


def own(*answers, **more):
    """A client of an app of the tenant's own, and what it asks."""
    recorder = Recorder(*answers)
    return Feishu(recorder, "cli_a", "s3cr3t", now=more.pop("now", lambda: NOW), **more), recorder.asked


def store(*answers):
    """The same of a store app, with a token that it has from elsewhere."""
    recorder = Recorder(*answers)
    return Feishu(recorder, token="t-given"), recorder.asked


def refused(body, status=400, headers=None):
    answer = Answer(body, status, headers)
    e = raises(CloudError, create, store(answer)[0])
    assert e.cloud == "feishu" and e.status == status and answer.closed
    return e


def bearers(asked):
    return [headers.get("Authorization") for _, _, _, headers in asked]


def test_the_requests_are_the_documents():
    cloud, asked = own(TOKEN, CREATED)
    assert create(cloud) == "7089353870308032531"
    content_type = {"Content-Type": "application/json; charset=utf-8"}
    (method, url, data, headers), second = asked
    assert (method, url) == ("POST", TOKEN_URL) and headers == content_type
    assert isinstance(data, bytes) and json.loads(data) == {"app_id": "cli_a", "app_secret": "s3cr3t"}
    method, url, data, headers = second
    assert (method, url) == ("POST", RECORDS_URL)
    assert headers == dict(content_type, Authorization="Bearer t-1")
    assert isinstance(data, bytes) and json.loads(data) == {
        "device_system": 4,
        "device_ownership": 2,
        "device_status": 1,
        "android_id": "02a11ac4a83b918e",
    }
    cloud, asked = own(TOKEN, CREATED, base_url="https://box:8443/")
    create(cloud)
    assert [url for _, url, _, _ in asked] == [
        url.replace("open.feishu.cn", "box:8443") for url in (TOKEN_URL, RECORDS_URL)
    ]


def test_every_field_is_sent():
    identity = {
        "serial_number": "C02DTHRMML7H",
        "disk_serial_number": "CC344362-5990-5A68-8DDD-64A23C99FA0C",
        "uuid": "621CDFF0-13D0-5AB1-9ADC-5F560095F6ED",
        "mac_address": "ac:de:48:00:11:21",
        "android_id": "02a11ac4a83b918e",
        "idfv": "968F0E5C-C297-4122-ACB6-102494DEFD9A",
        "aaid": "ff3c2237-cd76-4331-9d72-0a4470854567",
    }
    assert set(identity) == set(feishu.IDENTITY)
    for system in range(1, 7):
        for ownership in range(3):
            for status in range(3):
                expected = {
                    "device_system": system,
                    "device_ownership": ownership,
                    "device_status": status,
                }
                expected.update(identity)
                assert record(system, ownership, status, **identity) == expected
    cloud, asked = store(CREATED)
    cloud.create_device(1, 0, 0, **dict(identity, idfv=None, aaid="", serial_number="序列号"))
    body = json.loads(asked[0][2])
    assert body["serial_number"] == "序列号" and "idfv" not in body and "aaid" not in body


def test_values_that_the_document_does_not_list_are_refused_by_name():
    good = {"device_system": 1, "device_ownership": 0, "device_status": 0}
    cloud, asked = store(CREATED)
    for name, words in (
        (
            "device_system",
            "1 (Windows), 2 (macOS), 3 (Linux), 4 (Android), 5 (iOS), 6 (OpenHarmony)",
        ),
        ("device_ownership", "0 (unknown), 1 (personal), 2 (company)"),
        ("device_status", "0 (unknown), 1 (trusted), 2 (not trusted)"),
    ):
        for bad in (-1, 7, "1", None, True, 1.0):
            e = raises(ValueError, cloud.create_device, serial_number="S", **dict(good, **{name: bad}))
            assert name in str(e) and words in str(e) and repr(bad) in str(e)
    e = raises(ValueError, cloud.create_device, 0, 0, 0, serial_number="S")
    assert "device_system is one of" in str(e)
    e = raises(ValueError, cloud.create_device, 1, 0, 0, serial="S")
    assert "no field serial," in str(e) and "disk_serial_number" in str(e)
    raises(TypeError, cloud.create_device, device_ownership=0, device_status=0, serial_number="S")
    assert "uuid" in str(raises(ValueError, cloud.create_device, 1, 0, 0, uuid=5))
    assert "uuid" in str(raises(ValueError, cloud.create_device, 1, 0, 0, uuid=" "))
    assert not asked


def test_each_system_needs_its_identifier():
    computer = ("serial_number", "disk_serial_number", "uuid")
    needed = {1: computer, 2: computer, 3: computer, 4: ("android_id",), 5: ("idfv",), 6: ("aaid",)}
    for system in needed:
        for name in feishu.IDENTITY:
            value = {name: "ACDE48001121"}
            if name in needed[system]:
                assert name in record(system, 0, 0, **value)
                raises(ValueError, record, system, 0, 0, **{name: ""})
                continue
            words = str(raises(ValueError, record, system, 0, 0, **value))
            assert feishu.SYSTEMS[system] in words and " or ".join(needed[system]) in words
        raises(ValueError, record, system, 0, 0)


def test_a_mac_is_sent_in_one_form():
    for mac in (
        "ac:de:48:00:11:21",
        "AC-DE-48-00-11-21",
        "acde.4800.1121",
        "ACDE48001121",
        "ac de 48 00 11 21",
        b"\xac\xde\x48\x00\x11\x21",
        bytearray(b"\xac\xde\x48\x00\x11\x21"),
    ):
        assert record(3, 0, 0, uuid="U", mac_address=mac)["mac_address"] == "ac:de:48:00:11:21"
    for bad in ("ac:de:48:00:11", "ac:de:48:00:11:2g", "ac:de:48:00:11:21:00", b"\x00", "::", 7):
        e = raises(ValueError, record, 3, 0, 0, uuid="U", mac_address=bad)
        assert "MAC address" in str(e) and repr(bad) in str(e)


def test_a_token_is_kept_until_a_few_minutes_before_its_end():
    moment = [NOW]
    second = dict(TOKEN, tenant_access_token="t-2")
    cloud, asked = own(TOKEN, CREATED, CREATED, second, CREATED, now=lambda: moment[0])
    create(cloud)
    moment[0] += 7200 - 301
    create(cloud)
    moment[0] += 1
    create(cloud)
    assert bearers(asked) == [None, "Bearer t-1", "Bearer t-1", None, "Bearer t-2"]


def test_a_token_that_is_no_longer_valid_is_renewed_once():
    second = dict(TOKEN, tenant_access_token="t-2")
    cloud, asked = own(TOKEN, CREATED, Answer(EXPIRED, 400), second, CREATED)
    create(cloud)
    assert create(cloud) == "7089353870308032531"
    assert bearers(asked) == [None, "Bearer t-1", "Bearer t-1", None, "Bearer t-2"]
    assert asked[2][2] == asked[4][2]
    cloud, asked = own(TOKEN, Answer(EXPIRED, 400), TOKEN, Answer(EXPIRED, 400))
    e = raises(CloudError, create, cloud)
    assert e.code == "99991663" and not e.retryable and len(asked) == 4


def test_a_token_that_another_call_renewed_is_taken():
    class Meanwhile(Recorder):
        def request(self, method, url, data=None, headers=None):
            if len(self.asked) == 1:
                cloud._tokens.token = "t-2"
            return super().request(method, url, data, headers)

    session = Meanwhile(TOKEN, Answer(EXPIRED, 400), CREATED)
    cloud = Feishu(session, "cli_a", "s3cr3t", now=lambda: NOW)
    create(cloud)
    assert bearers(session.asked) == [None, "Bearer t-1", "Bearer t-2"]


def test_a_given_token_is_used_as_it_is():
    cloud, asked = store(CREATED)
    assert cloud.access_token() == "t-given"
    create(cloud)
    assert bearers(asked) == ["Bearer t-given"]
    cloud, asked = store(Answer(EXPIRED, 400))
    assert raises(CloudError, create, cloud).code == "99991663" and len(asked) == 1
    for missing in ({}, {"app_id": "cli_a"}, {"app_secret": "s"}, {"token": ""}):
        raises(ValueError, Feishu, None, **missing)


CODES = (
    ("1780001", 500, "Internal server error.", True),
    ("1780101", 400, "Request param error.", False),
    ("1780102", 400, "The API is in beta testing. Please contact customer support.", False),
    ("1785005", 400, "The device information corresponding to the operating system is invalid.", False),
    ("1785007", 400, "The parameter device_system is invalid.", False),
    ("1785010", 400, "The device already exists.", False),
    ("99991400", 429, "request trigger frequency limit", True),
    ("99991400", 400, "request trigger frequency limit", True),
    ("99991663", 400, "Invalid access token for authorization.", False),
)


def test_every_code_of_the_tables():
    for code, usual, words, retryable in CODES:
        # The code decides, whatever the HTTP status.
        for status in (usual, 200):
            e = refused({"code": int(code), "msg": words}, status, {"X-Tt-Logid": "2025-log"})
            assert e.code == code and e.message == words and e.log_id == "2025-log"
            assert e.retryable == retryable and e.retry_after is None
        assert refused({"code": int(code), "msg": ""}).message == feishu.CODES[code][0]
    assert set(feishu.CODES) == {code for code, _, _, _ in CODES}


def test_a_rate_limit_says_how_long_to_wait():
    for status in (429, 400):
        e = refused({"code": 99991400, "msg": "slow"}, status, {"x-ogw-ratelimit-reset": "3"})
        assert e.retryable and e.retry_after == 3
    e = refused("Too Many Requests", 429, {"X-Ogw-Ratelimit-Reset": "41"})
    assert e.retryable and e.retry_after == 41 and e.code is None
    assert refused({"code": 99991400}, 429, {"x-ogw-ratelimit-reset": "soon"}).retry_after is None


def test_codes_of_no_table_are_shown_too():
    words = "Access denied. One of the following scopes is required"
    e = refused({"code": 99991672, "msg": words}, 400, {"x-tt-logid": "L"})
    assert not e.retryable
    assert str(e) == "feishu refused: %s (code 99991672) log id L" % words
    assert refused({"code": 5, "msg": "x"}, 503).retryable
    assert refused({"code": 5}, 400).message == "no reason given"
    assert refused({"code": 0, "msg": "success"}, 500).retryable
    assert not refused({}, 403).retryable
    assert refused(CREATED, 500).retryable


def test_answers_that_are_not_the_documents():
    for body in ("<html>", "", "[]", "null", "[" * 3000):
        for status, passing in ((200, True), (404, False), (429, True), (502, True)):
            assert refused(body, status).retryable == passing
    for data in (None, [], "7", {}, {"device_record_id": ""}, {"device_record_id": 7}):
        body = {"code": 0, "msg": "success", "data": data}
        e = refused(body, 200, {"x-tt-logid": "L"})
        assert e.retryable and "device_record_id" in e.message and e.log_id == "L"
    assert refused({}, 200).retryable
    for wrong in ({"expire": "7200"}, {"tenant_access_token": None}, {"tenant_access_token": ""}):
        cloud, asked = own(dict(TOKEN, **wrong), CREATED)
        assert "tenant_access_token" in raises(CloudError, create, cloud).message
        assert len(asked) == 1


def test_a_refused_token_says_why():
    cloud, asked = own(Answer({"code": 10014, "msg": "app secret invalid"}, 200, {"x-tt-logid": "L"}))
    e = raises(CloudError, create, cloud)
    assert e.code == "10014" and e.message == "app secret invalid" and e.log_id == "L" and not e.retryable
    assert len(asked) == 1


def test_no_secret_is_in_what_is_refused():
    cloud, _ = own(TOKEN, Answer({"code": 1780101, "msg": "t-1 of s3cr3t is wrong"}, 400))
    e = raises(CloudError, create, cloud)
    assert e.message == "*** of *** is wrong"
    seen = repr(cloud) + str(cloud) + repr(e)
    assert "s3cr3t" not in seen and "t-1" not in seen


def test_odd_values_in_an_answer():
    cloud, _ = store(Nested())
    assert raises(CloudError, create, cloud).message == "no reason given"
    assert refused({"code": 99991400}, 429, {"x-ogw-ratelimit-reset": "\xb2"}).retry_after is None
    # No header could carry these.
    for token in ("t\r\nX: y", "\u4e2d", "", "a b", 7):
        cloud, _ = own(dict(TOKEN, tenant_access_token=token))
        assert "tenant_access_token" in raises(CloudError, create, cloud).message


def test_no_secret_is_in_a_log_id():
    for body, status in (({}, 200), ("<html>", 502), ({"code": "s3cr3t"}, 400)):
        cloud, _ = own(Answer(body, status, {"x-tt-logid": "1-s3cr3t"}))
        e = raises(CloudError, create, cloud)
        assert "s3cr3t" not in str(e) and e.log_id == "1-***"
    cloud, _ = own(TOKEN, Answer({}, 200, {"x-tt-logid": "t-1"}))
    assert raises(CloudError, create, cloud).log_id == "***"
