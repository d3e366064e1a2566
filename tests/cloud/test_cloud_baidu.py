"""Baidu in the box, judged by requests and by the document, from which the signatures here are written."""

import datetime
import hashlib
import hmac
import json
import re
import secrets
import time
from urllib.parse import quote

import pytest
import requests
from wire import trusting

from tools.cloud import Cloud
from tools.cloud.codes import BAIDU_NAMED as NAMED
from tools.cloud.codes import BAIDU_NUMBERED as NUMBERED
from tools.cloud.state import State

PATH = "/v2/manage/device"
JSON = "application/json; charset=utf-8"
BEIJING = datetime.timezone(datetime.timedelta(hours=8))
FIELDS = ["accountUuid", "fc", "pk", "ak", "sk", "state", "createTime", "updateTime"]


def utc(then):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(then))


def digest(key, text):
    return hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()


class SigningCaller:
    """A vendor's operator. What a call changes is changed before it is signed, but for `forged` headers."""

    def __init__(self, cloud, account, session):
        self.cloud, self.account, self.session = cloud, account, session
        self.fc, self.pk = account["fc"], account["pk"]

    def __call__(self, method, path=PATH, params=(), body=None, forged=(), **how):
        date = how.get("date", utc(time.time()))
        timestamp = how.get("timestamp", date)
        prefix = f"bce-auth-v1/{self.account['access_key_id']}/{timestamp}/{how.get('seconds', 1800)}"
        host = self.cloud.url.removeprefix("https://")
        query = "&".join(f"{quote(name, safe='')}={quote(str(value), safe='')}" for name, value in params)
        canonical = [
            method,
            path,
            "&".join(sorted(query.split("&"))),
            f"host:{quote(host, safe='')}",
            f"x-bce-date:{quote(date, safe='')}",
        ]
        signature = digest(digest(self.account["secret_access_key"], prefix), "\n".join(canonical))
        headers = {
            "Authorization": f"{prefix}/host;x-bce-date/{signature}",
            "Content-Type": JSON,
            "x-bce-date": date,
            **dict(forged),
        }
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        prepared = self.session.prepare_request(
            requests.Request(method, self.cloud.url, headers=headers, data=data)
        )
        # Set afterwards: requests would write some escapes otherwise.
        prepared.url = self.cloud.url + path + (f"?{query}" if query else "")
        return self.session.send(prepared, timeout=10)

    def load(self, *rows, **changed):
        """Imports rows; a field that is changed to None is left out."""
        body = {"fc": self.fc, "pk": self.pk, "devices": list(rows), **changed}
        return self("POST", body={name: value for name, value in body.items() if value is not None})

    def of(self, ak, fc=None, pk=None):
        return "/".join([PATH, fc or self.fc, pk or self.pk, quote(ak, safe="")])

    def get(self, ak):
        return self("GET", self.of(ak)).json()

    def list(self, **params):
        return self("GET", params={"fc": self.fc, "pk": self.pk, **params}.items())


@pytest.fixture
def operator(cloud, session):
    """Makes a vendor of the test's own."""
    return lambda quota=10: SigningCaller(
        cloud, cloud.add_baidu_account(secrets.token_hex(3), "u2wdh3wm", quota), session
    )


@pytest.fixture
def call(operator):
    return operator()


def account(cloud, caller):
    return next(row for row in cloud.state()["baidu"]["accounts"] if row["fc"] == caller.fc)


def ok(answer, content):
    assert answer.status_code == 200 and answer.json() == content, answer.text
    assert answer.headers["Content-Type"] == JSON and answer.headers["x-bce-request-id"]


def numbered(answer, code, *words):
    """A code of the second table comes with HTTP 200."""
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert sorted(told) == ["code", "message"] and told["code"] == code, told
    assert told["message"].startswith(NUMBERED[code]) and answer.headers["x-bce-request-id"]
    for word in words:
        assert word in told["message"], told


def named(answer, code, status, *words):
    """A code of the first table comes with its HTTP status and the request's id."""
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert sorted(told) == ["code", "message", "requestId"] and told["code"] == code, told
    assert told["requestId"] == answer.headers["x-bce-request-id"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", told["requestId"])
    assert answer.headers["Content-Type"] == JSON
    for word in words:
        assert word in told["message"], told


# The six calls


def test_import_and_get(cloud, call):
    before = datetime.datetime.now(BEIJING).replace(microsecond=0)
    ok(call.load("100000691930,mock", "100000691931,other"), {"code": 0, "message": ""})
    device = call.get("100000691930")
    assert list(device) == FIELDS
    assert [device[name] for name in FIELDS[1:6]] == [call.fc, call.pk, "100000691930", "mock", "NOT_ACTIVE"]
    assert re.fullmatch("[0-9a-f]{32}", device["accountUuid"])
    assert device["createTime"] == device["updateTime"]
    created = datetime.datetime.strptime(device["createTime"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=BEIJING)
    assert before <= created <= datetime.datetime.now(BEIJING)
    assert call.get("100000691931")["sk"] == "other"
    assert cloud.calls()[-1]["device"] == "100000691931"


def test_a_row_is_csv(call):
    ok(call.load('"a,b","c""d"', "设备,密钥"), {"code": 0, "message": ""})
    assert call.get("a,b")["sk"] == 'c"d' and call.get("设备")["sk"] == "密钥"


def test_states(cloud, call):
    call.load("A,1", "B,2")
    cloud.use_baidu_device(call.fc, "B")
    assert [call.get(ak)["state"] for ak in "AB"] == ["NOT_ACTIVE", "ACTIVATED"]
    for ak, state in ("A", "NOT_ACTIVE"), ("B", "ACTIVATED"):
        for _ in range(2):
            ok(call("PUT", call.of(ak) + "/disable"), {"result": "OK"})
            assert call.get(ak)["state"] == "BAN"
        ok(call("PUT", call.of(ak) + "/enable"), {"result": "OK"})
        assert call.get(ak)["state"] == state, "what it was before"


def test_update_time_follows_the_state():
    now = 1585000000.0
    state = State(now=lambda: now)
    account = state.baidu.add_account("f", "p", 10)
    assert state.baidu.import_devices(account, [("A", "1")]) == 0
    now += 60
    state.baidu.ban(state.baidu.device(account, "A"), True)
    device = state.baidu.device(account, "A")
    assert (device["createTime"], device["updateTime"]) == ("2020-03-24 05:46:40", "2020-03-24 05:47:40")
    state.close()


def test_delete_gives_no_quota_back(cloud, operator):
    call = operator(quota=3)
    ok(call.load("A,1", "B,2"), {"code": 0, "message": ""})
    ok(call("DELETE", call.of("A")), {"result": "OK"})
    numbered(call("GET", call.of("A")), 11)
    assert [account(cloud, call)[name] for name in ("devices", "spent", "quota")] == [1, 2, 3]
    numbered(call.load("C,3", "D,4"), 10)
    ok(call.load("A,again"), {"code": 0, "message": ""})
    assert call.get("A")["sk"] == "again" and account(cloud, call)["spent"] == 3
    numbered(call.load("C,3"), 10)


@pytest.mark.parametrize("ak", ["a/b", "a b+c%41", "设备?x#y", "disable", "a/enable", ".hidden;~"])
def test_an_ak_is_encoded_once(cloud, call, ak):
    assert call.load(f"{ak},key").json()["code"] == 0
    assert call.get(ak)["ak"] == ak
    ok(call("PUT", call.of(ak) + "/disable"), {"result": "OK"})
    assert call.get(ak)["state"] == "BAN"
    ok(call("DELETE", call.of(ak)), {"result": "OK"})
    numbered(call("GET", call.of(ak)), 11)


def test_list(cloud, operator):
    call = operator(quota=50)
    call.load(*(f"ak-{i:02},key-{i}" for i in range(25)))
    cloud.use_baidu_device(call.fc, "ak-07")
    call("PUT", call.of("ak-08") + "/disable")
    page = call.list().json()
    assert {name: page[name] for name in page if name not in ("result", "fcName", "devSku")} == {
        "totalCount": 25,
        "pageNo": 1,
        "pageSize": 10,
        "fc": call.fc,
        "pk": call.pk,
        "orderBy": "createTime",
        "order": "desc",
    }
    assert page["fcName"] and page["devSku"] and all(list(row) == FIELDS for row in page["result"])
    assert page["result"][0] == call.get("ak-24")

    def aks(**params):
        answer = call.list(**params).json()
        return answer["totalCount"], [row["ak"] for row in answer["result"]]

    assert aks() == (25, [f"ak-{i}" for i in range(24, 14, -1)])
    assert aks(pageNo=3) == (25, ["ak-04", "ak-03", "ak-02", "ak-01", "ak-00"])
    assert aks(pageNo=4) == (25, [])
    assert aks(order="ASC", pageSize=2, pageNo=2) == (25, ["ak-02", "ak-03"])
    assert aks(state="ACTIVATED") == (1, ["ak-07"]) and aks(state="BAN") == (1, ["ak-08"])
    assert aks(state="NOT_ACTIVE", order="asc", pageSize=1000)[0] == 23
    answer = call.list(state="BAN", order="Asc").json()
    assert (answer["state"], answer["order"]) == ("BAN", "asc")
    assert call.list(pageSize=25).json()["pageSize"] == 25


def test_accounts_do_not_see_each_other(operator):
    one, other = operator(), operator()
    one.load("A,1")
    assert other.load("A,2").json()["code"] == 0
    assert (one.get("A")["sk"], other.get("A")["sk"]) == ("1", "2")
    assert one.get("A")["accountUuid"] != other.get("A")["accountUuid"]
    named(other("GET", one.of("A")), "AccessDenied", 403)
    named(other.load("B,1", fc=one.fc), "AccessDenied", 403)
    assert one.list().json()["totalCount"] == 1
    with pytest.raises(ValueError, match=re.escape(f"{one.fc!r} has an account already")):
        one.cloud.add_baidu_account(one.fc, "p")


# Numbered codes


@pytest.mark.parametrize("empty", [None, ""])
@pytest.mark.parametrize("field, code", [("fc", 1), ("pk", 2)])
def test_missing_vendor_or_product(call, field, code, empty):
    numbered(call.load("A,1", **{field: empty}), code)
    params = {"fc": call.fc, "pk": call.pk}
    params = (
        {**params, field: ""} if empty == "" else {name: params[name] for name in params if name != field}
    )
    numbered(call("GET", params=params.items()), code)


@pytest.mark.parametrize("field, code", [("fc", 3), ("pk", 4)])
def test_unknown_vendor_or_product(call, field, code):
    call.load("A,1")
    numbered(call.load("B,1", **{field: "unknown"}), code)
    numbered(call.list(**{field: "unknown"}), code)
    path = call.of("A", **{field: "unknown"})
    for method, end in ("GET", ""), ("DELETE", ""), ("PUT", "/disable"), ("PUT", "/enable"):
        numbered(call(method, path + end), code)
    assert call.get("A")["state"] == "NOT_ACTIVE"


@pytest.mark.parametrize(
    "row", ["A", "A,", ",s", "", "A,s3cr3t,C", "A\ns3cr3t", 'A,"s3cr3t', "A,s\nB,s3cr3t", '"A"x,b']
)
def test_a_bad_row(cloud, call, row):
    numbered(call.load("OK,1", row), 5, "Row 2")
    assert "s3cr3t" not in cloud.calls()[-1]["reason"]
    assert account(cloud, call)["devices"] == 0, "all or nothing"


def test_how_many_at_once(cloud, operator):
    call = operator(quota=5000)
    numbered(call.load(), 9)
    numbered(call.load(*(f"{i},k" for i in range(1001))), 6)
    assert account(cloud, call)["spent"] == 0
    assert call.load(*(f"{i},k" for i in range(1000))).json()["code"] == 0
    assert account(cloud, call)["states"] == {"NOT_ACTIVE": 1000}


def test_duplicates(cloud, call):
    numbered(call.load("A,1", "A,1"), 7)
    assert account(cloud, call)["devices"] == 0
    call.load("A,1")
    answer = call.load("B,2", "A,1")
    numbered(answer, 7)
    assert answer.json()["message"] == "AK Duplicated.", "which one is not told"
    numbered(call("GET", call.of("B")), 11)
    assert account(cloud, call)["spent"] == 1


def test_quota_is_for_all_or_none(cloud, operator):
    call = operator(quota=2)
    numbered(call.load("A,1", "B,2", "C,3"), 10)
    assert account(cloud, call)["spent"] == 0
    assert call.load("A,1", "B,2").json()["code"] == 0


@pytest.mark.parametrize(
    "method, end", [("GET", ""), ("DELETE", ""), ("PUT", "/disable"), ("PUT", "/enable")]
)
def test_device_not_found(call, method, end):
    numbered(call(method, call.of("nobody") + end), 11)


@pytest.mark.parametrize("code", NUMBERED)
def test_every_numbered_code_when_told_to(cloud, call, code):
    cloud.misbehave(code=str(code), path=PATH)
    numbered(call.load("A,1"), code)


# Named codes


@pytest.mark.parametrize("code", NAMED)
def test_every_named_code_when_told_to(cloud, call, code):
    cloud.misbehave(code=code)
    status, words = NAMED[code]
    named(call("GET", call.of("A")), code, status, words)
    cloud.misbehave(code=code, status=418)
    named(call.load("A,1"), code, 418, words)


def test_a_code_in_no_table(cloud, call):
    cloud.misbehave(code="IllegalRequestUrl", status=400)
    named(call.list(), "IllegalRequestUrl", 400)


CALLS = [
    ("POST", PATH),
    ("GET", PATH),
    ("GET", PATH + "/f/p/a"),
    ("DELETE", PATH + "/f/p/a"),
    ("PUT", PATH + "/f/p/a/disable"),
    ("PUT", PATH + "/f/p/a/enable"),
]


@pytest.mark.parametrize("method, path", CALLS)
def test_every_call_is_signed(call, method, path):
    headers = {"x-bce-date": utc(time.time()), "Content-Type": JSON}
    answer = call.session.request(method, call.cloud.url + path, headers=headers, data=b"{}", timeout=10)
    named(answer, "InvalidHTTPAuthHeader", 400)
    call.account["secret_access_key"] += "x"
    named(call(method, path), "SignatureDoesNotMatch", 400)
    call.account["access_key_id"] += "x"
    named(call(method, path), "InvalidAccessKeyId", 403)


@pytest.mark.parametrize(
    "old, new",
    [
        *(("bce-auth-v1", "bce-auth-v2"), ("bce-auth-v1/", ""), ("bce", "BCE")),
        *(("/1800/", "/-1/"), ("/1800/", "/abc/"), ("Z/1800", "/1800")),
        *(("/host;x-bce-date/", new) for new in ("/x-bce-date;host/", "/host/", "//")),
        ("/host;x-bce-date/", "/content-type;host;x-bce-date/"),
    ],
)
def test_a_malformed_authorization(call, old, new):
    given = call("GET", call.of("A")).request.headers["Authorization"]
    assert old in given
    forged = {"Authorization": given.replace(old, new)}
    named(call("GET", call.of("A"), forged=forged), "InvalidHTTPAuthHeader", 400)


@pytest.mark.parametrize("date", ["", "2014-06-01", "2014-06-01 23:00:10", "2014-06-01T23:00:10+08:00"])
def test_a_malformed_date(call, date):
    named(call("GET", call.of("A"), forged={"x-bce-date": date}), "InvalidHTTPAuthHeader", 400, "x-bce-date")


def test_signed_for_half_an_hour(call):
    now = time.time()
    for age in (0, 1790, -1790):
        numbered(call("GET", call.of("A"), date=utc(now - age)), 11)
    for age, seconds in (1810, 1800), (1810, 86400), (-1810, 1800), (20, 10):
        date = utc(now - age)
        named(call("GET", call.of("A"), date=date, seconds=seconds), "RequestExpired", 400, date)
    named(call("GET", call.of("A"), date=utc(now - 1810), timestamp=utc(now)), "RequestExpired", 400)
    numbered(call("GET", call.of("A"), timestamp=utc(now - 1)), 11)


def test_what_is_signed(call):
    """The method, the path as it arrived, every parameter, the host with its port, the date."""
    call.load("A,1")
    signed = call("GET", call.of("A")).request.headers["Authorization"]
    date = call("GET", call.of("A")).request.headers["x-bce-date"]
    forged = {"Authorization": signed, "x-bce-date": date}
    for method, path, params in (
        ("DELETE", call.of("A"), {}),
        ("GET", call.of("B"), {}),
        ("GET", call.of("A").replace("/A", "/%41"), {}),
        ("GET", call.of("A"), {"x": "1"}),
    ):
        named(call(method, path, params.items(), forged=forged), "SignatureDoesNotMatch", 400)
    later = utc(time.time() + 60)
    named(call("GET", call.of("A"), forged={"x-bce-date": later}), "SignatureDoesNotMatch", 400)
    named(call("GET", call.of("A"), forged={"Host": "localhost"}), "SignatureDoesNotMatch", 400)
    assert call.get("A")["ak"] == "A"


def test_parameters_are_signed_raw(call):
    for value in ("a b", "a+b", "a/b", "设备", "%41", "~._-"):
        numbered(call.list(pk=value), 4)


@pytest.mark.parametrize(
    "name, value",
    [
        *(("state", value) for value in ("BANNED", "ban")),
        ("order", "up"),
        *(("pageNo", value) for value in ("0", "x", "1.0")),
        *(("pageSize", value) for value in ("0", "-1", "1001")),
    ],
)
def test_wrong_parameters(call, name, value):
    named(call.list(**{name: value}), "InvalidURI", 400, name)


def test_a_parameter_twice(call):
    params = [("fc", call.fc), ("pk", call.pk), ("pageNo", 1), ("pageNo", 2)]
    named(call("GET", params=params), "InvalidURI", 400, "pageNo")


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/v2/manage/devices"),
        ("GET", PATH + "/"),
        ("GET", PATH + "/f/p"),
        ("GET", PATH + "/f/p/a/b"),
        ("DELETE", PATH + "/f/p/a/disable"),
        ("PUT", PATH + "/f/p/a"),
        ("PUT", PATH + "/f/p/a/b/enable"),
        ("PUT", PATH + "/f/p/a/ban"),
        ("POST", PATH + "/f/p/a"),
        ("PATCH", PATH),
    ],
)
def test_wrong_paths(call, method, path):
    named(call(method, path), "InvalidURI", 400)


@pytest.mark.parametrize("version", ["v1", "v3", "v2.0"])
def test_wrong_versions(call, version):
    named(call("GET", f"/{version}/manage/device/f/p/a"), "InvalidVersion", 404)
    named(call("POST", f"/{version}/manage/device", body={}), "InvalidVersion", 404)


@pytest.mark.parametrize(
    "body, code",
    [
        *((body, "MalformedJSON") for body in (b"{", b"")),
        (b"\xff\xfe", "InvalidHTTPRequest"),
        *((body, "InappropriateJSON") for body in (b"[]", b"null")),
    ],
)
def test_wrong_bodies(call, body, code):
    named(call("POST", body=body), code, 400)


@pytest.mark.parametrize(
    "changed, word",
    [
        ({"fc": 1}, "fc"),
        ({"pk": ["x"]}, "pk"),
        ({"devices": None}, "devices is missing"),
        ({"devices": "A,1"}, "devices"),
        ({"devices": [1]}, "devices.0"),
        ({"devices": ["A,1", {"ak": "A"}]}, "devices.1"),
    ],
)
def test_wrong_fields(call, changed, word):
    named(call.load("A,1", **changed), "InappropriateJSON", 400, word)


def test_what_is_unknown_is_ignored(call):
    """ "出于兼容性考虑,对于所有无法识别的项应直接忽略"."""
    assert call.load("A,1", comment="x").json()["code"] == 0
    assert call.list(marker="x").json()["totalCount"] == 1


@pytest.mark.parametrize("kind", [None, "application/json", "text/plain", "application/json; charset=gbk"])
@pytest.mark.parametrize("method, path", CALLS)
def test_content_type_is_required(call, kind, method, path):
    named(call(method, path, forged={"Content-Type": kind}), "InvalidHTTPRequest", 400, "Content-Type")
    accepted = call(method, path, forged={"Content-Type": "Application/JSON;charset=UTF-8"})
    assert "Content-Type" not in accepted.text


# Many of them


def test_a_large_batch(cloud, operator):
    call = operator(quota=20_000)
    for batch in range(20):
        rows = [f"ak-{batch:03}{i:03},k" for i in range(1000)]
        assert call.load(*rows).json()["code"] == 0
    assert account(cloud, call)["devices"] == account(cloud, call)["spent"] == 20_000
    page = call.session.get(cloud.url + "/?part=baidu", timeout=10).text
    assert "20,000 of 20,000" in page and "the newest first" in page and len(page) < 100_000
    assert len(cloud.state()["baidu"]["devices"]) == 100
    mine = [device for device in cloud.baidu_devices() if device["fc"] == call.fc]
    assert [device["ak"] for device in mine] == sorted({device["ak"] for device in mine})
    assert all(device["received"] == device["imported"] == 1 for device in mine)


def test_how_often_each_was_sent(cloud, call):
    call.load("A,1", "B,2")
    numbered(call.load("A,1", "C,3"), 7)
    cloud.misbehave(status=500, times=1)
    assert call.load("C,3").status_code == 500
    cloud.misbehave(connection="reset", after=0, times=1)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        call.load("C,3")
    numbered(call.load("C,3"), 7)
    call("DELETE", call.of("B"))
    call.load("B,2")
    sent = {
        device["ak"]: (device["sk"], device["received"], device["imported"])
        for device in cloud.baidu_devices()
        if device["fc"] == call.fc
    }
    assert sent == {"A": ("1", 2, 1), "C": ("3", 3, 1), "B": ("2", 2, 2)}


def test_random_faults(cloud, call):
    kinds = [{"status": 500}, {"status": 429}, {"code": "InternalError"}, {"connection": "close"}]
    cloud.misbehave(share=0.5, one_of=kinds, path=PATH)
    seen = []
    for _ in range(200):
        try:
            answer = call.list()
            seen.append((answer.status_code, bool(answer.content)))
        except requests.ConnectionError:
            seen.append("closed")
    assert set(seen) == {(200, True), (500, False), (429, False), (500, True), "closed"}
    assert 60 < seen.count((200, True)) < 140
    assert call("GET", call.of("A")).status_code == 200, "another path"
    assert cloud.state()["misbehaviour"]["one_of"] == kinds
    with pytest.raises(ValueError, match="share"):
        cloud.misbehave(share=1.5)
    with pytest.raises(ValueError, match="times"):
        cloud.misbehave(one_of=[{"times": 2}])


def test_a_share_of_the_next_calls(cloud, call):
    cloud.misbehave(status=503, share=0.5, times=3)
    statuses = [call.list().status_code for _ in range(60)]
    assert statuses.count(503) == 3 and cloud.state()["misbehaviour"] == {}


# What stays, and what is shown


def test_a_second_start_has_the_same_devices(tmp_path):
    with Cloud(data=tmp_path) as cloud, trusting(cloud) as session:
        known = cloud.add_baidu_account("f", "p", 5)
        SigningCaller(cloud, known, session).load("A,1")
    with Cloud(data=tmp_path) as cloud, trusting(cloud) as session:
        call = SigningCaller(cloud, known, session)
        numbered(call.load("A,1"), 7)
        assert call.get("A")["sk"] == "1" and account(cloud, call)["spent"] == 1


def test_state_and_page(cloud, get, call):
    call.load("<b>ak</b>,s3cr3t", "C,s3cr3t")
    call("PUT", call.of("C") + "/disable")
    state = cloud.state()
    shown = account(cloud, call)
    assert (shown["devices"], shown["states"]) == (2, {"NOT_ACTIVE": 1, "BAN": 1})
    assert [row["ak"] for row in state["baidu"]["devices"][:2]] == ["C", "<b>ak</b>"], "the newest first"
    page = get("/?part=baidu")
    assert "&lt;b&gt;ak&lt;/b&gt;" in page and "<b>ak</b>," not in page and "2 of 10" in page
    for secret in ("s3cr3t", call.account["secret_access_key"]):
        assert secret not in json.dumps([state, cloud.calls()]) and secret not in page
