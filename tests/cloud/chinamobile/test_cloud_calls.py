"""China Mobile in the box: the document's two calls, judged by requests, and what the box remembers."""

import json
import time

import pytest
from toys import ASK, CMEI, IMEI, KEY, PARAMS, PHONE, PRODUCT, REPORT, SECRET_INFO, TOY, last, refused, shown
from wire import connect, request, trusting, wait_until

from tools.cloud import Cloud, Device
from tools.cloud.page import render
from tools.cloud.state import State

# The document's two calls


def test_secret_info_answers_as_documented(post):
    answer = post(SECRET_INFO, ASK)
    assert answer.status_code == 200
    told = answer.json()
    assert sorted(told) == ["code", "data", "message", "success"]
    assert (told["code"], told["message"], told["success"]) == ("200", "成功", True)
    assert sorted(told["data"]) == ["deviceId", "deviceNo", "deviceSecret", "productId"]
    assert told["data"]["deviceNo"] == "TOY-0001" and told["data"]["productId"] == PRODUCT
    assert told["data"]["deviceId"] and told["data"]["deviceSecret"]


def test_secret_is_the_same_every_time_and_another_for_each_device(post):
    first, second = (post(SECRET_INFO, ASK).json()["data"] for _ in range(2))
    assert first == second
    phone = {"productId": PHONE.product_id, "productKey": PHONE.product_key}
    other = post(SECRET_INFO, {"deviceNoType": "IMEI", "deviceNo": IMEI, **phone}).json()["data"]
    assert other["deviceId"] != first["deviceId"] and other["deviceSecret"] != first["deviceSecret"]


def test_report_answers_as_documented(post, body):
    told = post(REPORT, body).json()
    assert (told["code"], told["message"], told["success"]) == ("200", "成功", True)
    assert told["data"]["deviceId"] == body["deviceId"]
    time.strptime(told["data"]["protocolTypeTime"], "%Y-%m-%d %H:%M:%S")
    assert sorted(told["data"]) == ["deviceId", "protocolTypeTime"]


REPORTED = ("deviceId", "deviceSecret", "productId", "productKey", "params")


@pytest.mark.parametrize(
    "path, field", [*((SECRET_INFO, field) for field in ASK), *((REPORT, field) for field in REPORTED)]
)
@pytest.mark.parametrize("wrong", [None, 1, "", [], "gone"])
def test_every_field_is_needed(post, body, path, field, wrong):
    asked = {**(ASK if path == SECRET_INFO else body), field: wrong}
    if wrong == "gone":
        del asked[field]
    refused(post(path, asked), f"{field} is missing" if wrong == "gone" else field)


@pytest.mark.parametrize("field", PARAMS)
def test_report_needs_every_one_of_the_params(post, body, field):
    del body["params"][field]
    refused(post(REPORT, body), f"params.{field} is missing")


@pytest.mark.parametrize(
    "field, wrong",
    [
        *((field, wrong) for field in PARAMS for wrong in (7, None)),
        *((field, "") for field in PARAMS if field not in ("imei", "cmei", "mac")),
        *(("innerIp", wrong) for wrong in ([], "10.0.0.1", ["10.0.0.256"], ["10.0.0.1", 7])),
        *(("netSpeed", wrong) for wrong in ("fast", "0 Mbps")),
        *(("sdkVersion", wrong) for wrong in ("http_1.0", "ai_")),
        *(("imei", wrong) for wrong in ("49015420323751", "490154203237519", "49015420323751a", CMEI)),
        *(("cmei", wrong) for wrong in (IMEI, "11123456000001", "11" + 13 * "\uff11")),
        *(("mac", wrong) for wrong in ("50:5A:65:51:82:13", "50-5A-65-51-82", "50-5A-65-51-82-1G")),
    ],
)
def test_params_of_a_wrong_type_or_form_are_refused(post, body, field, wrong):
    body["params"][field] = wrong
    refused(post(REPORT, body), f"params.{field}")


@pytest.mark.parametrize(
    "known",
    [
        {"innerIp": ["127.0.0.1"]},
        {"innerIp": ["fe80::1"]},
        {"imei": "", "cmei": "", "mac": ""},
        {"imei": IMEI},
        {"cmei": "111234560000010"},
        {"netType": "5G", "platform": "Android11", "netSpeed": "100Mbps"},
        {"mac": "50-5a-65-51-82-13"},
    ],
)
def test_params_that_the_document_allows_are_accepted(cloud, post, body, known):
    body["params"].update(known)
    assert post(REPORT, body).json()["code"] == "200"
    assert shown(cloud, "TOY-0001")["params"] == body["params"]


def test_an_unknown_field_is_named(post, body):
    refused(post(SECRET_INFO, {**ASK, "deviceID": "1"}), "deviceID is not a field of this call")
    body["params"]["ssid"] = "home"
    refused(post(REPORT, body), "params.ssid is not a field of this call")


@pytest.mark.parametrize(
    "path, changed, words",
    [
        (SECRET_INFO, {"deviceNoType": "MAC"}, "deviceNoType"),
        (SECRET_INFO, {"deviceNoType": "IMEI"}, "SN, not IMEI"),
        (SECRET_INFO, {"deviceNo": "TOY-0002"}, "TOY-0002"),
        (SECRET_INFO, {"deviceNo": IMEI, "deviceNoType": "IMEI"}, "设备不存在"),
        (SECRET_INFO, {"productId": "5"}, "产品不存在"),
        (SECRET_INFO, {"productKey": "guessed"}, "productKey"),
        (SECRET_INFO, {"productId": KEY, "productKey": PRODUCT}, "产品不存在"),
        (REPORT, {"deviceId": "5"}, "deviceId"),
        (REPORT, {"deviceSecret": "guessed"}, "deviceSecret"),
        (REPORT, {"productKey": "guessed"}, "productKey"),
        (REPORT, {"productId": "5"}, "productId"),
        (REPORT, {"productId": PHONE.product_id, "productKey": PHONE.product_key}, "deviceId"),
    ],
)
def test_what_does_not_match_is_refused(cloud, post, body, path, changed, words):
    before = shown(cloud, "TOY-0001")["reportCount"]
    refused(post(path, {**(ASK if path == SECRET_INFO else body), **changed}), words)
    assert shown(cloud, "TOY-0001")["reportCount"] == before
    assert last(cloud)["code"] == "500" and words in last(cloud)["reason"]
    assert KEY not in str(last(cloud))


@pytest.mark.parametrize(
    "data, kind, words",
    [
        (b'{"deviceNo": ', "application/json", "not JSON"),
        (b"", "application/json", "body"),
        (b"[1, 2]", "application/json", "the body must be a JSON object"),
        (b"{}", "text/plain", "Content-Type"),
        (b"{}", None, "Content-Type"),
        (b"deviceNo=1", "application/x-www-form-urlencoded", "Content-Type"),
    ],
)
@pytest.mark.parametrize("path", [SECRET_INFO, REPORT])
def test_only_a_json_object_is_accepted(post, path, data, kind, words):
    refused(post(path, data=data, headers={"Content-Type": kind}), words)


def test_content_type_may_name_the_charset(post):
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert post(SECRET_INFO, ASK, headers=headers).json()["code"] == "200"


def test_x_ai_ip_is_an_address(post):
    assert post(SECRET_INFO, ASK, headers={"X-AI-IP": "203.0.113.9"}).json()["code"] == "200"
    refused(post(SECRET_INFO, ASK, headers={"X-AI-IP": "somewhere"}), "X-AI-IP")


@pytest.mark.parametrize("method, path, status", [("GET", REPORT, 405), ("POST", "/v2/customer/device", 404)])
def test_another_method_or_path_is_refused_in_the_same_shape(cloud, session, method, path, status):
    answer = session.request(method, cloud.url + path, timeout=10)
    assert answer.status_code == status
    assert answer.json()["code"] == "500" and answer.json()["success"] is False
    assert last(cloud)["path"] == path and last(cloud)["status"] == status


# What it remembers


def test_calls_are_logged_without_secrets(cloud, post, body):
    post(REPORT, body)
    call = last(cloud)
    assert (call["path"], call["device"], call["status"]) == (REPORT, "TOY-0001", 200)
    assert (call["code"], call["reason"]) == ("200", "成功")
    assert call["received"] > 300 and abs(call["time"] - time.time()) < 5
    assert cloud.calls(REPORT)[-1] == call
    assert {row["path"] for row in cloud.calls(REPORT)} == {REPORT}


def test_a_request_that_ends_early_is_logged_with_the_bytes_that_came(cloud):
    seen = len(cloud.calls())
    with connect(cloud) as tls:
        tls.sendall(request(SECRET_INFO, b'{"deviceNo": ', length=100))
        wait_until(lambda: len(cloud.calls()) > seen)
    wait_until(lambda: last(cloud)["reason"])
    assert last(cloud)["received"] == 13 and "ended in the middle" in last(cloud)["reason"]


def test_state_shows_devices_calls_and_counts(cloud, get, post, body):
    post(REPORT, body)
    told = json.loads(get("/state"))
    device = next(device for device in told["devices"] if device["deviceNo"] == "TOY-0001")
    assert device["params"] == PARAMS and device["deviceId"] == body["deviceId"]
    assert device["secretCount"] >= 1 and device["reportCount"] >= 1
    assert abs(device["lastReport"] - time.time()) < 5 and device["firstSecret"] <= device["lastReport"]
    assert device["overdue"] is False and device["warning"] is None and device["cellular"] is False
    assert told["counts"][REPORT] == len(cloud.calls(REPORT))
    assert told["calls"][-1] == last(cloud)
    assert "/state" not in told["counts"]
    assert {name: told[name] for name in told if name != "time"} == {
        name: value for name, value in cloud.state().items() if name != "time"
    }


def test_an_empty_number_is_warned_about(cloud, post, body):
    body["params"]["cmei"] = ""
    post(REPORT, body)
    assert shown(cloud, "TOY-0001")["warning"].startswith("cmei is empty")


def test_secrets_are_shown_nowhere(get, post, body):
    post(REPORT, body)
    for path in ("/", "/state"):
        text = get(path)
        assert "TOY-0001" in text
        for secret in (KEY, PHONE.product_key, body["deviceSecret"]):
            assert secret not in text


def test_a_device_is_overdue_24_hours_after_it_was_last_heard():
    now = 1_800_000_000.0
    state = State(now=lambda: now)
    state.products.add([TOY])
    assert state.products.devices()[0]["overdue"] is False, "not enrolled yet"
    device_id = state.products.devices()[0]["deviceId"]
    state.products.secret_fetched(device_id)
    now += 24 * 3600
    assert state.products.devices()[0]["overdue"] is False
    now += 1
    assert state.products.devices()[0]["overdue"] is True
    state.products.reported(device_id, PARAMS)
    assert state.products.devices()[0]["overdue"] is False
    now += 24 * 3600 + 1
    assert state.products.devices()[0]["overdue"] is True
    page = render(state, {}, {})
    assert '<span class="pill bad">overdue</span>' in page and "1 day ago" in page
    state.close()


def test_page_escapes_what_comes_from_outside():
    nasty = '<script>alert("x")</script>'
    with Cloud(devices=[Device(nasty, KEY, "SN", nasty)]) as cloud, trusting(cloud) as session:
        asked = {"deviceNoType": "SN", "deviceNo": nasty, "productId": nasty, "productKey": KEY}
        data = session.post(cloud.url + SECRET_INFO, json=asked, timeout=10).json()["data"]
        known = {name: data[name] for name in ("deviceId", "deviceSecret", "productId")}
        params = {**PARAMS, "firmwareVersion": nasty, "netType": nasty}
        report = {**known, "productKey": KEY, "params": params}
        assert session.post(cloud.url + REPORT, json=report, timeout=10).json()["code"] == "200"
        session.post(cloud.url + "/" + nasty, json={}, timeout=10)
        cloud.misbehave(body=nasty)
        for part, times in (("chinamobile", 6), ("calls", 4)):
            asked = {"part": part, "find": nasty, "show": nasty}
            page = session.get(cloud.url + "/", params=asked, timeout=10)
            assert page.headers["Content-Type"] == "text/html; charset=utf-8"
            policy = page.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; style-src 'sha256-") and "unsafe" not in policy
            assert page.text.count("&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;") >= times
            assert page.text.count("<script") == 1 and "alert(" in page.text and nasty not in page.text
            assert "http://" not in page.text and "https://" not in page.text, "no external resources"


def test_page_shows_a_device_and_its_calls(get, post, body):
    post(REPORT, body)
    page = get("/")
    for part in ("TOY-0001", PRODUCT, "reporting", "0.0.5.2", "WiFi", "192.168.1.7"):
        assert part in page
    assert "NEVER-SEEN" in page and "not seen" in page
    assert REPORT in get("/?part=calls")


def test_a_second_start_has_the_same_ca_devices_and_heartbeats(tmp_path):
    def run(devices):
        with Cloud(devices=devices, data=tmp_path / "box") as cloud, trusting(cloud) as session:
            answer = session.post(cloud.url + SECRET_INFO, json=ASK, timeout=10)
            return answer.json()["data"], cloud.ca_der, cloud.calls(), shown(cloud, "TOY-0001")

    data, der, calls, device = run([TOY])
    again, der_again, calls_again, device_again = run([])
    assert (data, der) == (again, der_again)
    assert len(calls) == 1 and calls_again[0] == calls[0] and len(calls_again) == 2
    assert (device["secretCount"], device_again["secretCount"]) == (1, 2)
    assert device["firstSecret"] == device_again["firstSecret"]
    assert (tmp_path / "box" / "ca.der").read_bytes() == der
    assert (tmp_path / "box" / "ca.key").stat().st_mode & 0o077 == 0
    assert run([TOY])[0] == data, "importing it again changes nothing"


def test_a_device_can_be_imported_while_it_runs(post, cloud):
    asked = {**ASK, "deviceNo": "LATE-1"}
    refused(post(SECRET_INFO, asked), "LATE-1")
    cloud.add_device(product_id=PRODUCT, product_key=KEY, device_no_type="SN", device_no="LATE-1")
    assert post(SECRET_INFO, asked).json()["data"]["deviceNo"] == "LATE-1"
