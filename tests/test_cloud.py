"""The clouds in a box, judged by requests, ssl and struct."""

import json
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import pytest
import requests
from cryptography import x509

from tools.cloud import Cloud, Device, read_devices
from tools.cloud.ntp import Ntp
from tools.cloud.page import render
from tools.cloud.state import State

ROOT = Path(__file__).parent.parent
SECRET_INFO = "/v2/customer/device/secret/info"
REPORT = "/v2/customer/device/report"
PRODUCT, KEY = "1234567890123", "product-key-0f3b"
TOY = Device(PRODUCT, KEY, "SN", "TOY-0001")
IMEI, CMEI = "490154203237518", "111234560000017"
PHONE = Device("9876543210987", "other-key-77aa", "IMEI", IMEI, cellular=True)
ASK = {"deviceNoType": "SN", "deviceNo": "TOY-0001", "productId": PRODUCT, "productKey": KEY}
PARAMS = {
    "innerIp": ["10.229.111.172", "192.168.1.7"],
    "netSpeed": "0Mbps",
    "netType": "WiFi",
    "platform": "rtos",
    "sdkVersion": "ai_http_1.0",
    "firmwareVersion": "0.0.5.2",
    "imei": "",
    "cmei": CMEI,
    "mac": "50-5A-65-51-82-13",
}


@pytest.fixture(scope="module")
def box():
    with Cloud(devices=[TOY, PHONE, Device(PRODUCT, KEY, "SN", "NEVER-SEEN")]) as cloud:
        yield cloud


@pytest.fixture
def cloud(box):
    """The one box of this file, well-behaved; what a test asks is what came after `seen`."""
    box.behave()
    yield box
    box.behave()


@pytest.fixture
def post(cloud):
    with requests.Session() as session:
        session.trust_env = False  # or REQUESTS_CA_BUNDLE would go before verify

        def post(path, json=None, **options):
            return session.post(cloud.url + path, json=json, verify=str(cloud.ca_pem), timeout=10, **options)

        yield post


@pytest.fixture
def body(post):
    """A report that is accepted."""
    data = post(SECRET_INFO, ASK).json()["data"]
    return {
        "deviceId": data["deviceId"],
        "deviceSecret": data["deviceSecret"],
        "productId": PRODUCT,
        "productKey": KEY,
        "params": dict(PARAMS),
    }


def refused(answer, *words):
    assert answer.status_code == 200
    told = answer.json()
    assert sorted(told) == ["code", "message", "success"]
    assert (told["code"], told["success"]) == ("500", False)
    for word in words:
        assert word in told["message"], told["message"]


def last(cloud):
    return cloud.calls()[-1]


def shown(cloud, device_no):
    return next(device for device in cloud.state()["devices"] if device["deviceNo"] == device_no)


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
    state.add([TOY])
    assert state.devices()[0]["overdue"] is False, "not enrolled yet"
    device_id = state.devices()[0]["deviceId"]
    state.secret_fetched(device_id)
    now += 24 * 3600
    assert state.devices()[0]["overdue"] is False
    now += 1
    assert state.devices()[0]["overdue"] is True
    state.reported(device_id, PARAMS)
    assert state.devices()[0]["overdue"] is False
    now += 24 * 3600 + 1
    assert state.devices()[0]["overdue"] is True
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
    assert page.text.count("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;") >= 6
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


# Misbehaviour


def test_delay(cloud, post):
    cloud.misbehave(delay=0.4)
    start = time.monotonic()
    assert post(SECRET_INFO, ASK).json()["code"] == "200"
    assert time.monotonic() - start >= 0.4


def test_a_caller_that_leaves_within_the_delay_is_logged(cloud, post):
    cloud.misbehave(delay=30)
    with pytest.raises(requests.ReadTimeout):
        requests.post(cloud.url + SECRET_INFO, json=ASK, verify=str(cloud.ca_pem), timeout=0.3)
    wait_until(lambda: last(cloud)["reason"])
    assert "left" in last(cloud)["reason"]


@pytest.mark.parametrize(
    "how, status, kind, text",
    [
        ({"status": 503}, 503, "application/json", ""),
        ({"status": 500, "body": '{"error": "down"}'}, 500, "application/json", '{"error": "down"}'),
        ({"status": 502, "body": "<html>Bad Gateway</html>"}, 502, "text/html", "<html>Bad Gateway</html>"),
        ({"body": "<html>log in</html>"}, 200, "text/html", "<html>log in</html>"),
        ({"body": '{"code": "200", "da'}, 200, "application/json", '{"code": "200", "da'),
    ],
)
def test_answers_instead(cloud, post, how, status, kind, text):
    count = shown(cloud, "TOY-0001")["secretCount"]
    cloud.misbehave(**how)
    answer = post(SECRET_INFO, ASK)
    assert (answer.status_code, answer.text) == (status, text)
    assert answer.headers["Content-Type"].startswith(kind)
    assert last(cloud)["status"] == status and last(cloud)["reason"] == "misbehaved: answered as told"
    assert shown(cloud, "TOY-0001")["secretCount"] == count, "answered without looking"


def test_a_documented_refusal(cloud, post):
    cloud.misbehave(code="500")
    refused(post(SECRET_INFO, ASK))
    cloud.misbehave(code="404", status=502)
    answer = post(SECRET_INFO, ASK)
    assert (answer.status_code, answer.json()["code"], answer.json()["success"]) == (502, "404", False)


def test_truncated_answer(cloud):
    cloud.misbehave(connection="truncate")
    count = shown(cloud, "TOY-0001")["secretCount"]
    with connect(cloud) as tls:
        tls.sendall(request(SECRET_INFO, dumps(ASK)))
        # A ragged end would raise here: the connection ends properly, only the answer does not.
        answer = read_all(tls)
    head, _, body = answer.partition(b"\r\n\r\n")
    promised = int(re.search(rb"content-length: (\d+)", head)[1])
    assert 0 < len(body) < promised
    assert shown(cloud, "TOY-0001")["secretCount"] == count + 1, "the answer is lost, not the call"
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        requests.post(cloud.url + SECRET_INFO, json=ASK, verify=str(cloud.ca_pem), timeout=10)


@pytest.mark.parametrize("connection, end", [("close", b""), ("reset", ConnectionResetError)])
def test_connection_ends_before_the_first_byte(cloud, connection, end):
    cloud.misbehave(connection=connection)
    raw = socket.create_connection(address(cloud), timeout=10)
    with raw.dup() as wire, connect(cloud, raw) as tls:
        tls.sendall(request(SECRET_INFO, dumps(ASK)))
        # Below TLS, since Python's ssl reports a reset as an end of file. What comes first is
        # the handshake's session tickets.
        got = b""
        try:
            while received := wire.recv(4096):
                got += received
            seen = received
        except ConnectionResetError:
            seen = ConnectionResetError
    assert seen == end
    assert len(got) < 700
    wait_until(lambda: last(cloud)["reason"])
    assert last(cloud)["reason"] == f"misbehaved: {connection} before the answer"
    assert last(cloud)["received"] == len(dumps(ASK)) and last(cloud)["status"] is None


def test_only_the_next_calls_and_only_one_path(cloud, post):
    cloud.misbehave(status=503, times=2, path=SECRET_INFO)
    statuses = [post(path, ASK).status_code for path in (REPORT, *[SECRET_INFO] * 3)]
    assert statuses == [200, 503, 503, 200]
    assert cloud.state()["misbehaviour"] == {}


def test_misbehave_from_another_process(cloud, post):
    assert post("/misbehave", {"status": 503, "body": "<b>no</b>"}).json() == {
        "status": 503,
        "body": "<b>no</b>",
    }
    assert post(SECRET_INFO, ASK).status_code == 503
    page = requests.get(cloud.url + "/", verify=str(cloud.ca_pem), timeout=10)
    assert page.status_code == 200 and "&lt;b&gt;no&lt;/b&gt;" in page.text
    assert post("/misbehave", {"stauts": 503}).status_code == 422
    assert post(SECRET_INFO, ASK).status_code == 503, "a mistake changes nothing"
    for nothing in (b"null", b"{}", b""):
        cloud.misbehave(status=503)
        post("/misbehave", data=nothing, headers={"Content-Type": "application/json"})
        assert post(SECRET_INFO, ASK).status_code == 200


def test_misbehave_names_what_it_does_not_know(cloud):
    with pytest.raises(ValueError, match="certifcate"):
        cloud.misbehave(certifcate="expired")
    with pytest.raises(ValueError, match="expired"):
        cloud.misbehave(certificate="old")


# Certificates


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize(
    "kind, why",
    [
        ("expired", "certificate has expired"),
        ("not-yet-valid", "certificate is not yet valid"),
        ("foreign", "unable to get local issuer certificate"),
        ("misnamed", "mismatch"),
    ],
)
def test_a_bad_certificate_receives_nothing(cloud, kind, why, host):
    url = f"https://{host}:{address(cloud)[1]}{SECRET_INFO}"
    requests.post(url, json=ASK, verify=str(cloud.ca_pem), timeout=10).raise_for_status()
    seen = len(cloud.calls())
    cloud.misbehave(certificate=kind)
    with pytest.raises(requests.exceptions.SSLError, match=why):
        requests.post(url, json=ASK, verify=str(cloud.ca_pem), timeout=10)
    assert len(cloud.calls()) == seen
    cloud.behave()
    assert requests.post(url, json=ASK, verify=str(cloud.ca_pem), timeout=10).json()["code"] == "200"


def test_a_bad_certificate_for_the_next_handshakes_only(cloud):
    cloud.misbehave(certificate="expired", times=2)
    for _ in range(2):
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(cloud)
    connect(cloud).close()


def test_certificates_have_realistic_dates():
    with Cloud(issued_days_ago=30) as cloud:
        with connect(cloud) as tls:
            leaf = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))
        pem, der = cloud.ca_pem.read_bytes(), cloud.ca_der
    root = x509.load_der_x509_certificate(der)
    assert x509.load_pem_x509_certificate(pem) == root
    now = time.time()
    days = [
        (date.timestamp() - now) / 86400 for date in (leaf.not_valid_before_utc, leaf.not_valid_after_utc)
    ]
    assert days == [pytest.approx(-30, abs=0.1), pytest.approx(60, abs=0.1)]
    assert 2000 < root.not_valid_before_utc.year < time.gmtime().tm_year
    assert time.gmtime().tm_year + 5 < root.not_valid_after_utc.year < time.gmtime().tm_year + 20
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["localhost", "127.0.0.1", "::1"]


# As a program


def test_a_port_in_use_is_a_sentence(cloud):
    port = address(cloud)[1]
    with pytest.raises(click.ClickException, match=f"port {port} of 127.0.0.1 is in use"), Cloud(port=port):
        pass


def test_nothing_is_left_behind():
    threads = threading.active_count()
    with Cloud() as cloud:
        folder = cloud.ca_pem.parent
        idle = connect(cloud)
        start = time.monotonic()
    assert time.monotonic() - start < 1, "a connection that is kept open must not hold it up"
    idle.close()
    assert not folder.exists() and threading.active_count() == threads
    with pytest.raises(OSError):
        socket.create_connection(address(cloud), timeout=1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_in_the_foreground(tmp_path, number):
    data = tmp_path / "data"
    command = f"from tools.cloud import serve; serve(data={str(data)!r})"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        printed = ""
        while "CA " not in printed:
            line = process.stdout.readline()
            assert line, printed
            printed += line
        url = re.search(r"platform +(\S+)", printed)[1]
        assert f"{url}/" in printed and f"{data / 'ca.pem'} " in printed
        known = dict(re.findall(r"(productId|productKey|deviceNoType|deviceNo) (\S+)", printed))
        answer = requests.post(url + SECRET_INFO, json=known, verify=str(data / "ca.pem"), timeout=10).json()
        assert answer["code"] == "200", (known, answer)
        process.send_signal(number)
        rest = process.communicate(timeout=10)[0]
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0
    assert re.search(rf"\d\d:\d\d:\d\d +{known['deviceNo']} +{SECRET_INFO} +200 成功", rest), rest
    assert answer["data"]["deviceSecret"] not in printed + rest and "Traceback" not in rest


# The CSV file

HEADER = "productId,productKey,deviceNoType,deviceNo"


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_read_devices(tmp_path, mark, end):
    file = tmp_path / "devices.csv"
    lines = [
        HEADER + ",cellular",
        f"{PRODUCT},{KEY},SN,TOY-0001,",
        "",
        f"9876543210987,other-key-77aa,IMEI,{IMEI},true",
    ]
    file.write_bytes((mark + end.join(lines)).encode())
    assert read_devices(file) == [TOY, PHONE]


def test_read_devices_without_cellular(tmp_path):
    file = tmp_path / "devices.csv"
    file.write_text(f"deviceNo,deviceNoType,productKey,productId\n TOY-0001 ,SN,{KEY},{PRODUCT}\n")
    assert read_devices(str(file)) == [TOY]


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "line 1: column productId is missing"),
        ("productId,productKey,deviceNo\n1,2,3\n", "line 1: column deviceNoType is missing"),
        (HEADER + ",celular\n", "line 1: column 'celular' is unknown"),
        (HEADER + ",deviceNo\n", "line 1: column deviceNo stands there twice"),
        (HEADER + "\n", "line 1: no device follows"),
        (HEADER + "\n1,k,SN,A\n1,k,SN,\n", "line 3: deviceNo is empty"),
        (HEADER + "\n1,,SN,A\n", "line 2: productKey is empty"),
        (HEADER + "\n1,k,MAC,A\n", "line 2: deviceNoType must be one of SN, IMEI, CMEI, not 'MAC'"),
        (HEADER + "\n1,k,SN,A\n1,k,SN,B\n1,k,SN,A\n", "line 4: deviceNo 'A' is in product '1' already"),
        (HEADER + "\n1,k,SN\n", "line 2: 3 values for 4 columns"),
        (HEADER + "\n1,k,SN,A,B\n", "line 2: 5 values for 4 columns"),
        (HEADER + "\n1,k,SN,A\n1,other,SN,B\n", "line 3: productKey is not the one"),
        (HEADER + ",cellular\n1,k,SN,A,maybe\n", "line 2: cellular must be true or false, not 'maybe'"),
        (HEADER + ",cellular\n1,k,SN,A,yes\n1,k,SN,B,no\n", "line 3: cellular is not what product '1' has"),
        (HEADER + '\n1,k,SN,"A\n', "line 2: "),
        ((HEADER + "\n1,k,SN,A\n1,k,SN,玩具\n").encode("gbk"), "line 3: not UTF-8"),
    ],
)
def test_read_devices_names_line_and_column(tmp_path, text, sentence):
    file = tmp_path / "devices.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as raised:
        read_devices(file)
    assert f"{file}, {sentence}" in str(raised.value)
    assert "other" not in str(raised.value), "a key is a secret"


def test_a_device_is_checked_without_a_file_too():
    with pytest.raises(ValueError, match="productKey is empty"):
        Cloud(devices=[{"product_id": "1", "product_key": "", "device_no_type": "SN", "device_no": "A"}])


# NTP

FROM_1900 = 2208988800
QUESTION = struct.pack("!B39xII", 0b00_100_011, 0xDEADBEEF, 0x12345678)  # version 4, client


def ask(ntp, question=QUESTION, timeout=2.0):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(timeout)
        client.sendto(question, ntp.address)
        return client.recv(512)


@pytest.mark.parametrize("offset", [0, -3600, 86400.5])
def test_ntp_reply(offset):
    with Ntp(offset_s=offset) as ntp:
        before = time.time()
        reply = ask(ntp)
        after = time.time()
        assert ntp.requests == 1
    assert len(reply) == 48
    first, stratum, poll, precision, delay, dispersion, identifier, *stamps = struct.unpack(
        "!BBbbII4s8I", reply
    )
    assert (first >> 6, first >> 3 & 7, first & 7) == (0, 4, 4), "no leap second, version 4, server"
    assert (stratum, identifier) == (2, socket.inet_aton("127.0.0.1"))
    assert (delay, dispersion) == (0, 0) and precision < 0 < poll
    assert stamps[2:4] == [0xDEADBEEF, 0x12345678]
    received, sent = (stamps[i] - FROM_1900 + stamps[i + 1] / 2**32 for i in (4, 6))
    assert before - 0.001 <= received - offset <= sent - offset <= after + 0.001


def test_ntp_answers_in_the_version_that_was_asked_and_only_clients():
    with Ntp() as ntp:
        assert ask(ntp, b"\x1b" + 47 * b"\0")[0] == 0x1C
        for nothing in (b"", b"\x23" * 40, b"\x24" + 47 * b"\0"):
            with pytest.raises(TimeoutError):
                ask(ntp, nothing, timeout=0.1)
        assert len(ask(ntp)) == 48


def test_ntp_lies():
    with Ntp(stratum=0) as ntp:
        reply = ask(ntp)
        assert reply[1] == 0 and reply[12:16] == b"RATE"
        ntp.stratum, ntp.wrong_originate = 2, True
        reply = ask(ntp)
        assert reply[1] == 2 and reply[24:32] != QUESTION[40:48]
        ntp.silent = True
        with pytest.raises(TimeoutError):
            ask(ntp, timeout=0.1)
        assert ntp.requests == 3


def test_ntp_leaves_nothing_behind():
    threads = threading.active_count()
    with Ntp() as ntp:
        pass
    assert threading.active_count() == threads
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(ntp.address)


# Plain TLS, where requests does not show enough


def address(cloud):
    return "127.0.0.1", int(cloud.url.rpartition(":")[2])


def connect(cloud, raw=None):
    context = ssl.create_default_context(cafile=str(cloud.ca_pem))
    raw = raw or socket.create_connection(address(cloud), timeout=10)
    return context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)


def dumps(content):
    return json.dumps(content).encode()


def request(path, body, length=None):
    size = len(body) if length is None else length
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {size}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_all(tls):
    received = b""
    while part := tls.recv(4096):
        received += part
    return received


def wait_until(true, seconds=5):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
