"""Baidu's device management: each request as its document has it, each answer as it may come."""

import json
import time

from helpers import raises, replaced
from muster.clouds import baidu
from muster.clouds.baidu import Baidu
from muster.errors import CloudError
from recorded import Answer, Nested, Recorder

NOW = 1800000000
DEVICE = {
    "accountUuid": "611f366b29f64d04ad2ed130d32835d2",
    "fc": "8gt3x2",
    "pk": "n806btcp",
    "ak": "6bdca967",
    "sk": "s3cr3tk3y",
    "state": "ACTIVATED",
    "createTime": "2020-03-23 06:39:53",
    "updateTime": "2020-03-23 06:39:53",
}
OK = {"result": "OK"}


def client(*answers, **more):
    """A client, and what it asks."""
    recorder = Recorder(*answers)
    return Baidu("AKID", "SECRET", "jagu79", "u2wdh3wm", recorder, now=lambda: NOW, **more), recorder.asked


def refused(body, status=200, headers=None, call=lambda cloud: cloud.get("a")):
    answer = Answer(body, status, headers)
    e = raises(CloudError, call, client(answer)[0])
    assert e.cloud == "baidu" and answer.closed
    return e


def test_the_example_of_a_signature():
    # Computed with bce-python-sdk 0.9.79.
    found = baidu.authorization(
        "AKID",
        "SECRET",
        "GET",
        "/v2/manage/device",
        {"fc": "a/b", "pk": "设备 1", "pageNo": 1, "state": None},
        {"Host": " h:8443 ", "X-Bce-Date": "2027-01-15T08:00:00Z", "Content-Type": "text/plain"},
        NOW,
    )
    assert found == (
        "bce-auth-v1/AKID/2027-01-15T08:00:00Z/1800/host;x-bce-date/"
        "0d562d2d7292e831da1e83243e5b059a95f28c81b775893fdbc24ca232eea09b"
    )


def test_a_parameter_named_authorization_is_not_signed_nor_are_other_headers():
    headers = {"host": "h"}
    arguments = ("AKID", "SECRET", "GET", "/", {"a": "b"}, headers, NOW)
    plain = baidu.authorization(*arguments)
    assert "/host/" in plain
    more = {"a": "b", "Authorization": "x"}
    assert baidu.authorization("AKID", "SECRET", "GET", "/", more, headers, NOW) == plain
    more = {"host": "h", "x-bce-request-id": "1", "content-type": "text/plain", "x-bce-date": " "}
    assert baidu.authorization("AKID", "SECRET", "GET", "/", {"a": "b"}, more, NOW) == plain


def test_the_date_on_a_board_whose_epoch_is_2000():
    class Epoch2000:
        @staticmethod
        def gmtime(seconds):
            return time.gmtime(seconds + 946684800)

    with replaced(baidu, time=Epoch2000):
        found = baidu.authorization("A", "S", "GET", "/", {}, {}, NOW)
    assert found.startswith("bce-auth-v1/A/2027-01-15T08:00:00Z/1800//")


def test_every_request_is_the_documents():
    base = "/v2/manage/device"
    device = base + "/jagu79/u2wdh3wm/100000691930"
    page = {"totalCount": 0, "result": []}
    for call, answer, method, path, params in (
        (lambda c: c.delete("100000691930"), OK, "DELETE", device, {}),
        (lambda c: c.disable("100000691930"), OK, "PUT", device + "/disable", {}),
        (lambda c: c.enable("100000691930"), OK, "PUT", device + "/enable", {}),
        (lambda c: c.get("100000691930"), {}, "GET", device, {}),
        (lambda c: c.list(), page, "GET", base, {"pageNo": 1, "pageSize": 10}),
        (
            lambda c: c.list("BAN", "DESC", 2, 50),
            page,
            "GET",
            base,
            {"state": "BAN", "order": "desc", "pageNo": 2, "pageSize": 50},
        ),
    ):
        cloud, asked = client(answer)
        call(cloud)
        [(found, url, data, headers)] = asked
        assert found == method and data is None
        if path == base:
            params = dict(params, fc="jagu79", pk="u2wdh3wm")
        url, _, query = url.partition("?")
        assert url == "https://smarthome-bdvs.baidubce.com" + path
        assert query == "&".join(sorted("%s=%s" % (name, params[name]) for name in params))
        check_headers(headers, method, path, params)


def check_headers(headers, method, path, params):
    expected = {
        "Host": "smarthome-bdvs.baidubce.com",
        "Content-Type": "application/json; charset=utf-8",
        "x-bce-date": "2027-01-15T08:00:00Z",
    }
    expected["Authorization"] = baidu.authorization("AKID", "SECRET", method, path, params, expected, NOW)
    assert headers == expected
    assert "/host;x-bce-date/" in headers["Authorization"]


def test_an_import_sends_rows_of_csv():
    cloud, asked = client({"code": 0, "message": ""})
    assert cloud.import_devices(("设备-%d" % i, "sk-%d" % i) for i in range(2)) is None
    [(method, url, data, headers)] = asked
    assert method == "POST" and url == "https://smarthome-bdvs.baidubce.com/v2/manage/device"
    assert isinstance(data, bytes)
    assert json.loads(data) == {
        "fc": "jagu79",
        "pk": "u2wdh3wm",
        "devices": ["设备-0,sk-0", "设备-1,sk-1"],
    }
    check_headers(headers, "POST", "/v2/manage/device", {})


def test_an_import_takes_1_to_1000_devices():
    cloud, asked = client({"code": 0})
    for count in (0, 1001):
        words = str(raises(ValueError, cloud.import_devices, ((str(i), "sk") for i in range(count))))
        assert "1000" in words and str(count) in words
    assert not asked
    cloud.import_devices((str(i), "sk") for i in range(1000))
    assert len(json.loads(asked[0][2])["devices"]) == 1000


def test_what_cannot_stand_in_a_row_is_refused_without_showing_the_key():
    cloud, asked = client({"code": 0})
    for bad in ("a,b", 'a"b', "a\nb", "a\rb", "a\u2028b", " ab", "ab ", "", None, 7):
        for pair in ((bad, "s3cr3t"), ("good", bad)):
            e = raises(ValueError, cloud.import_devices, [("one", "s3cr3t"), pair])
            assert "s3cr3t" not in str(e) and (not bad or repr(bad) not in str(e) or pair[0] == bad)
    e = raises(ValueError, cloud.import_devices, [("one", "s3cr3t1"), ("two", "x"), ("one", "s3cr3t2")])
    assert "'one'" in str(e) and "s3cr3t" not in str(e)
    assert not asked
    assert baidu.row("设备 1", "b/+=") == "设备 1,b/+="


def test_parts_of_a_path_are_encoded_once():
    cloud, asked = client(OK)
    cloud.delete("a b/c%20?#设~\U0001f600")
    path = "/v2/manage/device/jagu79/u2wdh3wm/a%20b%2Fc%2520%3F%23%E8%AE%BE~%F0%9F%98%80"
    assert asked[0][1] == baidu.PRODUCTION + path
    check_headers(asked[0][3], "DELETE", path, {})


def test_an_ak_that_would_change_the_path_is_refused():
    cloud, asked = client(OK)
    for bad in ("", " ", ".", "..", None, 5):
        for call in (cloud.delete, cloud.disable, cloud.enable, cloud.get):
            assert "ak" in str(raises(ValueError, call, bad))
        assert "fc" in str(raises(ValueError, Baidu, "a", "b", bad, "pk", None))
        assert "pk" in str(raises(ValueError, Baidu, "a", "b", "fc", bad, None))
    assert not asked
    raises(ValueError, Baidu, "", "b", "fc", "pk", None)
    raises(ValueError, Baidu, "a", None, "fc", "pk", None)


def test_a_host_is_signed_with_its_port_unless_that_is_the_default():
    for base_url, host in (
        ("https://box:8443/", "box:8443"),
        ("https://box:443", "box"),
        ("http://box:80", "box"),
        ("http://box:443", "box:443"),
        ("https://[::1]:443", "[::1]"),
    ):
        cloud, asked = client(OK, base_url=base_url)
        cloud.enable("a")
        assert asked[0][3]["Host"] == host
        assert asked[0][1].startswith(base_url.rstrip("/") + "/v2/manage/device/")
    cloud, asked = client(OK, base_url="https://gate/baidu")
    cloud.enable("a")
    path = "/baidu/v2/manage/device/jagu79/u2wdh3wm/a/enable"
    assert asked[0][1] == "https://gate" + path
    headers = asked[0][3]
    assert headers["Authorization"] == baidu.authorization("AKID", "SECRET", "PUT", path, {}, headers, NOW)


def test_state_order_and_pages_are_checked():
    cloud, asked = client({"result": []})
    for bad in (("ban",), ("BANNED",), (None, "up"), (None, None, 0), (None, None, "1"), (None, None, True)):
        raises(ValueError, cloud.list, *bad)
    raises(ValueError, cloud.list, page_size=0)
    e = raises(ValueError, cloud.list, "BANNED")
    assert "state" in str(e) and "NOT_ACTIVE, ACTIVATED, BAN" in str(e) and "BANNED" in str(e)
    assert not asked


def test_a_device_is_returned_with_its_key_masked():
    device = client(DEVICE)[0].get("6bdca967")
    assert device.plain() == DEVICE and device["sk"] == "s3cr3tk3y"
    assert "s3cr3tk3y" not in repr(device) + str(device) and "***" in repr(device)
    page = client({"totalCount": 1, "result": [DEVICE], "pageNo": 1})[0].list()
    assert page["totalCount"] == 1 and page["result"][0]["sk"] == "s3cr3tk3y"
    for shown in (page, page["result"], page["result"][0]):
        assert "s3cr3tk3y" not in repr(shown) + str(shown)
    assert page.plain()["result"] == [DEVICE]


def pages(*pages):
    """The aks that come of pages, each (aks, totalCount), and how often was asked."""
    answers = []
    for aks, total in pages:
        answers.append({"result": [{"ak": ak} for ak in aks], "totalCount": total})
    cloud, asked = client(*answers)
    aks = [device["ak"] for device in cloud.list_all("BAN", "asc", page_size=2)]
    for i, (_, url, _, _) in enumerate(asked):
        assert "order=asc" in url and "pageNo=%d&pageSize=2" % (i + 1) in url and "state=BAN" in url
    return aks, len(asked)


def test_all_pages_one_after_the_other():
    assert pages(("ab", 5), ("cd", 5), ("e", 5)) == (list("abcde"), 3)
    assert pages(("ab", 4), ("cd", 4)) == (list("abcd"), 2)
    assert pages(("", 0)) == ([], 1)
    # A device deleted meanwhile; a server that says no total; one that gives fewer than asked for.
    assert pages(("ab", 3), ("", 3)) == (list("ab"), 2)
    assert pages(("ab", None), ("c", None), ("", None)) == (list("abc"), 3)
    assert pages(("a", 3), ("b", 3), ("c", 3)) == (list("abc"), 3)
    assert client({"totalCount": 0, "result": None})[0].list()["result"] == []
    cloud, asked = client({"result": [DEVICE], "totalCount": 9})
    assert next(cloud.list_all())["ak"] and len(asked) == 1 and "pageSize=100" in asked[0][1]


NUMBERS = (
    ("1", "Missing fc Parameter"),
    ("2", "Missing pk Parameter"),
    ("3", "FC Not Found"),
    ("4", "PK Not Found"),
    ("5", "CSV Format Error or Missing ak/sk Parameter."),
    ("6", "Import Device Batch Error: Max Batch Size is 1000."),
    ("7", "AK Duplicated."),
    ("8", "Read File Error."),
    ("9", "Empty File Error."),
    ("10", "Insufficient Quota Error."),
    ("11", "Device Not Found."),
    ("12", "Generate TTS Url Error."),
)
NAMES = (
    ("AccessDenied", 403),
    ("InappropriateJSON", 400),
    ("InternalError", 500),
    ("InvalidAccessKeyId", 403),
    ("InvalidHTTPAuthHeader", 400),
    ("InvalidHTTPRequest", 400),
    ("InvalidURI", 400),
    ("MalformedJSON", 400),
    ("InvalidVersion", 404),
    ("OptInRequired", 403),
    ("PreconditionFailed", 412),
    ("RequestExpired", 400),
    ("IdempotentParameterMismatch", 403),
    ("SignatureDoesNotMatch", 400),
)
MAY_PASS = ("8", "12", "InternalError")
CALLS = (
    lambda c: c.import_devices([("a", "k3y")]),
    lambda c: c.delete("a"),
    lambda c: c.disable("a"),
    lambda c: c.enable("a"),
    lambda c: c.get("a"),
    lambda c: c.list(),
    lambda c: next(c.list_all()),
)


def test_every_number_of_the_table():
    for code, words in NUMBERS:
        for call in CALLS:
            e = refused({"code": int(code), "message": words}, 200, {"x-bce-request-id": "r-1"}, call)
            assert e.code == code and e.message == words and e.log_id == "r-1" and e.status == 200
            assert e.retryable == (code in MAY_PASS)
        # What a refusal without words says is the table's name.
        assert refused({"code": int(code), "message": ""}).message == baidu.CODES[code][0]
        assert refused({"code": code}).code == code


def test_every_name_of_the_table():
    for code, status in NAMES:
        for call in CALLS:
            e = refused({"code": code, "message": "Words.", "requestId": " 81d0b05f"}, status, None, call)
            assert e.code == code and e.message == "Words." and e.log_id == "81d0b05f"
            assert e.status == status and e.retryable == (code in MAY_PASS)
        assert refused({"code": code, "requestId": "1"}, status).message == baidu.CODES[code][0]
    assert set(baidu.CODES) == {"0"} | {code for code, _ in NUMBERS} | {code for code, _ in NAMES}


def test_codes_of_no_table_are_shown_too():
    words = "The requested url belongs to domain which is not under acceleration"
    body = {"code": "IllegalRequestUrl", "message": words, "requestId": " 81d0b05f-5ad4"}
    e = refused(body, 400)
    assert not e.retryable
    assert str(e) == "baidu refused: %s (code IllegalRequestUrl) log id 81d0b05f-5ad4" % words
    assert refused(body, 503).retryable
    assert refused({"code": 99}).message == "no reason given"
    e = refused({"message": "busy"}, 429, {"Retry-After": "7", "X-Bce-Request-Id": "r-2"})
    assert e.retryable and e.retry_after == 7 and e.log_id == "r-2" and e.code is None
    assert refused({"code": 0}, 500).retryable
    assert refused({"code": "11"}).retry_after is None


def test_answers_that_are_not_the_documents():
    for body in ("<html>", "", "[]", '"OK"', "null", "[" * 3000):
        for status, passing in ((200, True), (404, False), (429, True), (502, True)):
            for call in CALLS:
                e = refused(body, status, {"retry-after": "soon"}, call)
                assert e.retryable == passing and e.status == status and e.retry_after is None
    for body in ({}, {"result": "NO"}, {"code": None}, {"token": "xxx.xxx.xxx"}):
        for call in CALLS[:4]:
            assert refused(body, 200, {"x-bce-request-id": "r"}, call).log_id == "r"
    for result in ({}, "OK", [7], None):
        refused({"result": result}, call=CALLS[5])
    refused(DEVICE)  # which is about another ak
    # A number for success where the document promises words, and the other way round.
    client({"code": 0})[0].delete("a")
    client(OK)[0].import_devices([("a", "b")])


def test_no_secret_is_in_what_is_refused():
    cloud, asked = client(Answer("{}", 400))
    raises(CloudError, cloud.import_devices, [("a", "s3cr3t"), ("b", "s3cr3tlong")])
    signature = asked[0][3]["Authorization"]
    words = "row a,s3cr3t; b,s3cr3tlong; %s; SECRET" % signature
    e = refused(
        {"code": 5, "message": words},
        call=lambda c: c.import_devices([("a", "s3cr3t"), ("b", "s3cr3tlong")]),
    )
    assert e.message == "row a,***; b,***; ***; ***"
    assert "SECRET" not in repr(cloud) + str(cloud)


def test_odd_values_in_a_refusal():
    cloud, _ = client(Nested())
    assert raises(CloudError, cloud.get, "a").message == "no reason given"
    # Digits to str.isdigit(), and not to int().
    for text in ("\xb2", "9" * 400, "-1", ""):
        assert refused({"code": 1}, 429, {"retry-after": text}).retry_after is None
    e = refused({"code": ["1"], "message": {"a": 1}, "requestId": "1\r\n" + "2" * 999}, 400)
    assert e.code is None and e.message == "no reason given" and "\n" not in str(e) and len(e.log_id) < 99


def test_no_key_is_in_a_request_id():
    for body, status in (({"requestId": "1-sk-1"}, 200), ("<html>", 502), ({"code": "sk-1"}, 400)):
        headers = {"x-bce-request-id": "2-sk-1"}
        e = refused(body, status, headers, lambda cloud: cloud.import_devices([("a", "sk-1")]))
        assert "sk-1" not in str(e) and "***" in str(e)
