"""China Mobile in the box: the document's two calls, judged by requests, and what the box remembers."""

import time

import pytest
import requests
from toys import ASK, CMEI, IMEI, KEY, PARAMS, PHONE, PRODUCT, REPORT, SECRET_INFO, TOY, last, refused, shown
from wire import connect, request, wait_until

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
    phone = {
        "deviceNoType": "IMEI",
        "deviceNo": IMEI,
        "productId": PHONE.product_id,
        "productKey": PHONE.product_key,
    }
    other = post(SECRET_INFO, phone).json()["data"]
    assert other["deviceId"] != first["deviceId"] and other["deviceSecret"] != first["deviceSecret"]


def test_report_answers_as_documented(post, body):
    told = post(REPORT, body).json()
    assert (told["code"], told["message"], told["success"]) == ("200", "成功", True)
    assert told["data"]["deviceId"] == body["deviceId"]
    time.strptime(told["data"]["protocolTypeTime"], "%Y-%m-%d %H:%M:%S")
    assert sorted(told["data"]) == ["deviceId", "protocolTypeTime"]


@pytest.mark.parametrize("field", ASK)
@pytest.mark.parametrize("wrong", [None, 1, "", [], "gone"])
def test_secret_info_needs_every_field(post, field, wrong):
    asked = {**ASK, field: wrong}
    if wrong == "gone":
        del asked[field]
    refused(post(SECRET_INFO, asked), f"{field} is missing" if wrong == "gone" else field)


@pytest.mark.parametrize("field", ["deviceId", "deviceSecret", "productId", "productKey", "params"])
@pytest.mark.parametrize("wrong", [None, 1, "", [], "gone"])
def test_report_needs_every_field(post, body, field, wrong):
    body[field] = wrong
    if wrong == "gone":
        del body[field]
    refused(post(REPORT, body), f"{field} is missing" if wrong == "gone" else field)


@pytest.mark.parametrize("field", PARAMS)
def test_report_needs_every_one_of_the_params(post, body, field):
    del body["params"][field]
    refused(post(REPORT, body), f"params.{field} is missing")


@pytest.mark.parametrize(
    "field, wrong",
    [(field, 7) for field in PARAMS]
    + [(field, None) for field in PARAMS]
    + [(field, "") for field in PARAMS if field not in ("imei", "cmei", "mac")]
    + [
        ("innerIp", []),
        ("innerIp", "10.0.0.1"),
        ("innerIp", ["10.0.0.256"]),
        ("innerIp", ["10.0.0.1", 7]),
        ("netSpeed", "fast"),
        ("netSpeed", "0 Mbps"),
        ("sdkVersion", "http_1.0"),
        ("sdkVersion", "ai_"),
        ("imei", "49015420323751"),
        ("imei", "490154203237519"),
        ("imei", "49015420323751a"),
        ("imei", CMEI),
        ("cmei", IMEI),
        ("cmei", "11123456000001"),
        ("cmei", "11" + 13 * "\uff11"),
        ("mac", "50:5A:65:51:82:13"),
        ("mac", "50-5A-65-51-82"),
        ("mac", "50-5A-65-51-82-1G"),
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
    "changed, words",
    [
        ({"deviceNoType": "MAC"}, "deviceNoType"),
        ({"deviceNoType": "IMEI"}, "SN, not IMEI"),
        ({"deviceNo": "TOY-0002"}, "TOY-0002"),
        ({"deviceNo": IMEI, "deviceNoType": "IMEI"}, "设备不存在"),
        ({"productId": "5"}, "产品不存在"),
        ({"productKey": "guessed"}, "productKey"),
        ({"productId": KEY, "productKey": PRODUCT}, "产品不存在"),
    ],
)
def test_secret_info_refuses_what_does_not_match(cloud, post, changed, words):
    refused(post(SECRET_INFO, {**ASK, **changed}), words)
    assert last(cloud)["code"] == "500" and words in last(cloud)["reason"]
    assert KEY not in str(last(cloud))


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"deviceId": "5"}, "deviceId"),
        ({"deviceSecret": "guessed"}, "deviceSecret"),
        ({"productKey": "guessed"}, "productKey"),
        ({"productId": "5"}, "productId"),
        ({"productId": PHONE.product_id, "productKey": PHONE.product_key}, "deviceId"),
    ],
)
def test_report_refuses_what_does_not_match(cloud, post, body, changed, words):
    before = shown(cloud, "TOY-0001")["reportCount"]
    refused(post(REPORT, {**body, **changed}), words)
    assert shown(cloud, "TOY-0001")["reportCount"] == before


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
def test_another_method_or_path_is_refused_in_the_same_shape(cloud, method, path, status):
    answer = requests.request(method, cloud.url + path, verify=str(cloud.ca_pem), timeout=10)
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


def test_state_shows_devices_calls_and_counts(cloud, post, body):
    post(REPORT, body)
    told = requests.get(cloud.url + "/state", verify=str(cloud.ca_pem), timeout=10).json()
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


def test_secrets_are_shown_nowhere(cloud, post, body):
    post(REPORT, body)
    for path in ("/", "/state"):
        text = requests.get(cloud.url + path, verify=str(cloud.ca_pem), timeout=10).text
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
    page = render({**state.summary(), "misbehaviour": {}})
    assert '<span class="pill bad">overdue</span>' in page and "1 day ago" in page
    state.close()


def test_page_escapes_what_comes_from_outside():
    nasty = '<script>alert("x")</script>'
    with Cloud(devices=[Device(nasty, KEY, "SN", nasty)]) as cloud, requests.Session() as session:
        session.trust_env, session.verify = False, str(cloud.ca_pem)
        asked = {"deviceNoType": "SN", "deviceNo": nasty, "productId": nasty, "productKey": KEY}
        data = session.post(cloud.url + SECRET_INFO, json=asked, timeout=10).json()["data"]
        known = {name: data[name] for name in ("deviceId", "deviceSecret", "productId")}
        params = {**PARAMS, "firmwareVersion": nasty, "netType": nasty}
        report = {**known, "productKey": KEY, "params": params}
        assert session.post(cloud.url + REPORT, json=report, timeout=10).json()["code"] == "200"
        session.post(cloud.url + "/" + nasty, json={}, timeout=10)
        cloud.misbehave(body=nasty)
        page = session.get(cloud.url + "/", timeout=10)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.text.count("&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;") >= 6
    assert page.text.count("<script>") == 1 and "alert(" in page.text and nasty not in page.text
    assert "http://" not in page.text and "https://" not in page.text, "no external resources"


def test_page_shows_a_device_and_its_calls(cloud, post, body):
    post(REPORT, body)
    page = requests.get(cloud.url + "/", verify=str(cloud.ca_pem), timeout=10).text
    for part in (
        "TOY-0001",
        PRODUCT,
        "reporting",
        "0.0.5.2",
        "WiFi",
        "192.168.1.7",
        REPORT,
        "NEVER-SEEN",
        "not seen",
    ):
        assert part in page


def test_a_second_start_has_the_same_ca_devices_and_heartbeats(tmp_path):
    def run(devices):
        with Cloud(devices=devices, data=tmp_path / "box") as cloud:
            answer = requests.post(cloud.url + SECRET_INFO, json=ASK, verify=str(cloud.ca_pem), timeout=10)
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
