"""Feishu in the box, judged by requests and by the document."""

import json
import re
import secrets

import pytest
from wire import trusting

from tools.cloud import Cloud
from tools.cloud.codes import FEISHU as CODES
from tools.cloud.state import State

TOKEN = "/open-apis/auth/v3/tenant_access_token/internal"
RECORDS = "/open-apis/security_and_compliance/v2/device_records"
JSON = "application/json; charset=utf-8"
WRONG, BAD_FEATURES, BAD_SYSTEM, EXISTS = 1780101, 1785005, 1785007, 1785010
COMPUTER = ("serial_number", "disk_serial_number", "uuid")
FIELDS = (*COMPUTER, "mac_address", "android_id", "idfv", "aaid", "is_public", "device_record_id")


@pytest.fixture(scope="module")
def app(box):
    """With no limit that a test could meet unasked."""
    return box.add_feishu_app(per_second=100_000)


@pytest.fixture
def post(cloud, session):
    def post(path, body=None, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return session.post(cloud.url + path, data=data, headers=headers, timeout=10)

    return post


@pytest.fixture
def token(post, app):
    return post(TOKEN, app).json()["tenant_access_token"]


@pytest.fixture
def create(post, token):
    def create(body, token=token):
        return post(RECORDS, body, Authorization=f"Bearer {token}", **{"Content-Type": JSON})

    return create


def device(system=1, **changed):
    """A record that is accepted but for what is changed; None leaves a field out."""
    name = {4: "android_id", 5: "idfv", 6: "aaid"}.get(system, "serial_number")
    known = {"device_system": system, name: secrets.token_hex(8), "device_ownership": 0, "device_status": 0}
    return {field: value for field, value in {**known, **changed}.items() if value is not None}


def created(answer):
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert sorted(told) == ["code", "data", "msg"] and (told["code"], told["msg"]) == (0, "success")
    assert list(told["data"]) == ["device_record_id"] and answer.headers["X-Tt-Logid"]
    assert re.fullmatch("[1-9][0-9]{18}", told["data"]["device_record_id"])
    return told["data"]["device_record_id"]


def refused(answer, code, status=400, *words):
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert sorted(told) == ["code", "msg"] and told["code"] == code, told
    assert told["msg"].startswith(CODES[code][1]) and len(answer.headers["X-Tt-Logid"]) == 34
    for word in words:
        assert word in told["msg"], told


# The token


def test_token(post, app):
    answer = post(TOKEN, app)
    assert answer.status_code == 200 and answer.headers["X-Tt-Logid"]
    told = answer.json()
    assert sorted(told) == ["code", "expire", "msg", "tenant_access_token"]
    assert (told["code"], told["msg"]) == (0, "ok") and told["tenant_access_token"].startswith("t-")
    assert type(told["expire"]) is int and 7190 <= told["expire"] <= 7200
    assert post(TOKEN, app).json()["tenant_access_token"] == told["tenant_access_token"]


def test_the_same_token_while_half_an_hour_is_left():
    now = 1_000_000.5
    state = State(now=lambda: now)
    app = state.feishu.add_app(["scope"], 7200, 10)
    token, expire = state.feishu.token_for(app)
    assert expire == 7200
    now += 5400
    assert state.feishu.token_for(app) == (token, 1800)
    now += 1
    other, expire = state.feishu.token_for(app)
    assert other != token and expire == 7200
    assert state.feishu.app_with_token(token) and state.feishu.app_with_token(other), "both are valid"
    now += 1799
    assert state.feishu.app_with_token(token) is None and state.feishu.app_with_token(other)
    state.close()


@pytest.mark.parametrize(
    "field, msg", [("app_id", "app id not exists"), ("app_secret", "app secret invalid")]
)
def test_unknown_app(post, app, field, msg):
    answer = post(TOKEN, {**app, field: app[field] + "x"})
    refused(answer, 10014, 200)
    assert answer.json()["msg"] == msg


@pytest.mark.parametrize("field", ["app_id", "app_secret"])
@pytest.mark.parametrize("value", [None, "", 5])
def test_token_needs_both(post, app, field, value):
    body = {**app, field: value}
    if value is None:
        del body[field]
    refused(post(TOKEN, body), 10003, 200, field)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"app_id": "a", "app_secret": "b", "x": 1}'])
def test_token_bodies(post, body):
    refused(post(TOKEN, body), 10003, 200)


# Who may


@pytest.mark.parametrize("header", [None, "", "t-1", "Basic abc", "Bearer", "Bearer a b"])
def test_no_token(post, header):
    headers = {"Content-Type": JSON} | ({} if header is None else {"Authorization": header})
    refused(post(RECORDS, device(), **headers), 99991661)


def test_wrong_token(create, app, post):
    refused(create(device(), token="t-unknown"), 99991663)
    refused(create(device(), token=app["app_secret"]), 99991663)


def test_expired_token(cloud, clock, create, post):
    app = cloud.add_feishu_app(token_s=60)
    answer = post(TOKEN, app).json()
    assert answer["expire"] == 60
    clock.held += 59
    created(create(device(), answer["tenant_access_token"]))
    clock.held += 1
    refused(create(device(), answer["tenant_access_token"]), 99991663)
    created(create(device(), post(TOKEN, app).json()["tenant_access_token"]))


@pytest.mark.parametrize("scopes", [(), ("contact:user:readonly",)])
def test_without_the_scope(cloud, create, post, scopes):
    token = post(TOKEN, cloud.add_feishu_app(scopes)).json()["tenant_access_token"]
    refused(create(device(), token), 99991672, 400, "security_and_compliance:device_record:write")


def test_ten_a_second(cloud, clock, create, post):
    apps = [cloud.add_feishu_app(), cloud.add_feishu_app()]
    one, other = (post(TOKEN, app).json()["tenant_access_token"] for app in apps)
    answers = [create(device(), one) for _ in range(12)]
    for answer in answers[:10]:
        created(answer)
    for answer in answers[10:]:
        refused(answer, 99991400, 429)
        assert answer.headers["x-ogw-ratelimit-reset"] == "1"
    created(create(device(), other))
    clock.held += 1
    created(create(device(), one))


def test_a_refused_record_counts_too(cloud, clock, create, post):
    token = post(TOKEN, cloud.add_feishu_app(per_second=2)).json()["tenant_access_token"]
    codes = [create(device(9), token).json()["code"] for _ in range(3)]
    assert codes == [BAD_SYSTEM, BAD_SYSTEM, 99991400]


def test_the_limit_is_for_each_second():
    now = 50.0
    state = State(now=lambda: now)
    app = state.feishu.add_app([], 7200, 2)
    counted = []
    for moment in (50.0, 50.5, 50.9, 51.0, 51.1, 51.2, 40.0):
        now = moment
        counted.append(state.feishu.count(app))
    assert counted == [True, True, False, True, True, False, True]
    state.close()


# Records


@pytest.mark.parametrize("system", [1, 2, 3])
@pytest.mark.parametrize("name", COMPUTER)
def test_a_computer(create, system, name):
    body = device(system, **{"serial_number": None, name: secrets.token_hex(8)})
    created(create(body))
    refused(create(body), EXISTS)


@pytest.mark.parametrize("system, name", [(4, "android_id"), (5, "idfv"), (6, "aaid")])
def test_other_systems(create, system, name):
    body = device(system)
    assert name in body
    created(create(body))
    refused(create(body), EXISTS)


def test_every_field_of_a_computer(cloud, create):
    body = device(
        3,
        disk_serial_number=secrets.token_hex(8),
        uuid=UUID,
        mac_address="ac:de:48:00:11:21",
        device_ownership=2,
        device_status=1,
    )
    record_id = created(create(body))
    *_, last = cloud.feishu_records()
    assert {name: last[name] for name in body} == body and last["device_record_id"] == record_id
    assert cloud.calls()[-1]["device"] == body["serial_number"]


def test_one_feature_in_common_is_enough(create):
    body = device(1, uuid=secrets.token_hex(8))
    created(create(body))
    refused(create(device(1, uuid=body["uuid"])), EXISTS)
    refused(create(device(1, serial_number=body["serial_number"])), EXISTS)
    created(create(device(2, serial_number=body["serial_number"])))
    for _ in range(2):
        created(create(device(1, mac_address="ac:de:48:00:11:22")))


def test_a_refused_record_leaves_nothing(cloud, create):
    body = device(1)
    created(create(body))
    before = cloud.state()["feishu"]["count"]
    other = secrets.token_hex(8)
    refused(create({**body, "uuid": other}), EXISTS)
    assert cloud.state()["feishu"]["count"] == before
    created(create(device(1, serial_number=None, uuid=other)))


NUMBERS = ("device_system", "device_ownership", "device_status")
UUID = "621CDFF0-13D0-5AB1-9ADC-5F560095F6ED"


@pytest.mark.parametrize(
    "system, changed, code",
    [
        *((system, {}, BAD_SYSTEM) for system in (0, 7, -1, 100)),
        (1, {"serial_number": None, "mac_address": "ac:de:48:00:11:21"}, BAD_FEATURES),
        # Another system's feature.
        (1, {"android_id": "02a11ac4a83b918e"}, BAD_FEATURES),
        (2, {"idfv": "968F0E5C-C297-4122-ACB6-102494DEFD9A"}, BAD_FEATURES),
        (3, {"aaid": "ff3c2237-cd76-4331-9d72-0a4470854567"}, BAD_FEATURES),
        (4, {"serial_number": "C02DTHRMML7H"}, BAD_FEATURES),
        (4, {"mac_address": "ac:de:48:00:11:21"}, BAD_FEATURES),
        (5, {"android_id": "02a11ac4a83b918e"}, BAD_FEATURES),
        (6, {"uuid": UUID}, BAD_FEATURES),
        # What is of another type or form.
        *((1, {field: value}, WRONG) for field in NUMBERS for value in (None, "1", 1.5, True, [1])),
        *((1, {field: value}, WRONG) for field in NUMBERS[1:] for value in (-1, 3)),
        *((1, {field: value}, WRONG) for field in FIELDS for value in ("", 5, ["x"])),
        *((1, {"mac_address": mac}, WRONG) for mac in ("AC:DE:48:00:11:21", "ac-de-48-00-11-21")),
        *((1, {"mac_address": mac}, WRONG) for mac in ("acde48001121", "ac:de:48:00:11")),
    ],
)
def test_a_wrong_record(create, system, changed, code):
    alone = "serial_number" in changed and changed["serial_number"] is None
    named = () if alone else changed
    refused(create(device(system, **changed)), code, 400, *named)


@pytest.mark.parametrize("system", range(1, 7))
def test_a_system_without_its_feature(create, system):
    body = device(system)
    feature = next(name for name in body if not name.startswith("device_"))
    del body[feature]
    refused(create(body), BAD_FEATURES, 400, feature)


@pytest.mark.parametrize("field", NUMBERS[1:])
@pytest.mark.parametrize("value", [0, 1, 2])
def test_enums(create, field, value):
    created(create(device(**{field: value})))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff"])
def test_bodies(create, body):
    refused(create(body), WRONG)


@pytest.mark.parametrize("kind", ["text/plain", "application/json; charset=gbk"])
def test_content_type(post, token, kind):
    answer = post(RECORDS, device(), Authorization=f"Bearer {token}", **{"Content-Type": kind})
    refused(answer, WRONG, 400, "Content-Type")


@pytest.mark.parametrize("kind", ["application/json", 'Application/JSON;charset="UTF-8"'])
def test_content_type_of_other_sdks(post, token, kind):
    """Feishu's SDK for Node names no charset."""
    answer = post(RECORDS, device(), Authorization=f"Bearer {token}", **{"Content-Type": kind})
    assert answer.json()["code"] == 0


def test_no_such_call(cloud, post, session):
    answers = [post("/open-apis/nothing"), session.get(cloud.url + RECORDS, timeout=10)]
    for answer, status in zip(answers, (404, 405), strict=True):
        assert answer.status_code == answer.json()["code"] == status and answer.headers["X-Tt-Logid"]


# Misbehaviour, and what is shown


@pytest.mark.parametrize("code", CODES)
def test_every_code_when_told_to(cloud, create, code):
    cloud.misbehave(code=str(code))
    answer = create(device())
    refused(answer, code, CODES[code][0])
    assert ("x-ogw-ratelimit-reset" in answer.headers) == (code == 99991400)


def test_the_limit_with_another_status(cloud, create):
    cloud.misbehave(code="99991400", status=400, times=1)
    refused(create(device()), 99991400, 400)
    created(create(device()))


def test_a_second_start_has_the_same_records(tmp_path):
    body = device()
    for answered in (0, EXISTS):
        with Cloud(data=tmp_path) as cloud, trusting(cloud) as session:
            if answered == 0:
                app = cloud.add_feishu_app()
                token = session.post(cloud.url + TOKEN, json=app, timeout=10).json()["tenant_access_token"]
            header = {"Authorization": f"Bearer {token}"}
            answer = session.post(cloud.url + RECORDS, json=body, headers=header, timeout=10)
            assert answer.json()["code"] == answered
            assert [row["serial_number"] for row in cloud.feishu_records()] == [body["serial_number"]]


def test_state_and_page(cloud, get, app, create, token):
    record_id = created(create(device(2, serial_number="<b>sn</b>", device_ownership=2, device_status=1)))
    state = cloud.state()
    assert state["feishu"]["records"][0]["device_record_id"] == record_id
    assert state["feishu"]["count"] == sum(1 for _ in cloud.feishu_records())
    page = get("/?part=feishu")
    for part in (record_id, "&lt;b&gt;sn&lt;/b&gt;", "macOS", "company", "trusted"):
        assert part in page
    assert "<b>sn" not in page
    for secret in (app["app_secret"], token):
        assert secret not in json.dumps([state, cloud.calls()]) and secret not in page
