import json

from helpers import raises
from muster.clouds import chinamobile
from muster.errors import CloudError
from recorded import Answer, Nested, Recorder

SECRET = {"deviceId": "d1", "deviceNo": "n1", "productId": "p1", "deviceSecret": "s3cret"}


def good(data):
    return {"code": "200", "message": "成功", "success": True, "data": data}


def cloud(body, status_code=200, headers=None, **kw):
    """A client, and the session that answers it."""
    session = Recorder(Answer(body, status_code, headers))
    return chinamobile.ChinaMobile("p1", "k3y", session, **kw), session


def asked(session):
    ((method, url, data, headers),) = session.asked
    assert isinstance(data, bytes)
    return method, url, json.loads(data), headers


def test_secret_info_is_the_documents_request():
    platform, session = cloud(good(SECRET))
    assert platform.secret_info("n1", "CMEI") == SECRET
    method, url, body, headers = asked(session)
    assert method == "POST"
    assert url == "https://ivs.chinamobiledevice.com:11443/v2/customer/device/secret/info"
    assert body == {"deviceNoType": "CMEI", "deviceNo": "n1", "productId": "p1", "productKey": "k3y"}
    assert headers == {"Content-Type": "application/json"}
    assert session.answers[0].closed


def test_report_is_the_documents_request():
    platform, session = cloud(
        good({"deviceId": "d1", "protocolTypeTime": "t"}),
        base_url="https://x:1/",
        device_ip="10.1.2.3",
    )
    heartbeat = chinamobile.params()
    assert platform.report("d1", "s3cret", heartbeat) == {"deviceId": "d1", "protocolTypeTime": "t"}
    method, url, body, headers = asked(session)
    assert (method, url) == ("POST", "https://x:1/v2/customer/device/report")
    assert body == {
        "deviceId": "d1",
        "deviceSecret": "s3cret",
        "productId": "p1",
        "productKey": "k3y",
        "params": heartbeat,
    }
    assert headers["X-AI-IP"] == "10.1.2.3"


def test_a_report_that_was_taken_has_what_the_platform_says_and_no_more():
    nothing = {"deviceId": None, "protocolTypeTime": None}
    for body in (
        {"code": "200", "success": True},
        {"code": 200},
        good(None),
        good({}),
        good([]),
        good("ok"),
    ):
        platform, session = cloud(body)
        assert platform.report("d1", "s3cret", {}) == nothing
        assert session.answers[0].closed
    platform, _ = cloud(good({"deviceId": "d1", "more": 1}))
    assert platform.report("d1", "s3cret", {}) == dict(nothing, deviceId="d1")


def test_params_has_every_field_and_the_documents_defaults():
    assert chinamobile.params() == {
        "innerIp": ["127.0.0.1"],
        "netSpeed": "0Mbps",
        "netType": "wifi",
        "platform": "RTOS",
        "sdkVersion": "ai_http_1.0",
        "firmwareVersion": "",
        "imei": "",
        "cmei": "",
        "mac": "",
    }


def test_params_takes_what_is_known():
    known = chinamobile.params(
        innerIp="10.0.0.1", netType="5G", imei=None, cmei="111234560000018", mac="505a.6551.8213"
    )
    assert known["innerIp"] == ["10.0.0.1"]
    assert known["netType"] == "5G"
    assert known["imei"] == ""
    assert known["cmei"] == "111234560000018"
    for mac in (b"PZeQ\x82\x13", "50:5a:65:51:82:13", "50-5A-65-51-82-13", "505A65518213"):
        assert chinamobile.params(mac=mac)["mac"] == "50-5A-65-51-82-13"


def test_one_call_does_not_change_the_next_ones_defaults():
    chinamobile.params()["innerIp"].append("x")
    assert chinamobile.params()["innerIp"] == ["127.0.0.1"]


def test_params_refuses_what_the_document_does():
    assert "sdkversion" in str(raises(ValueError, chinamobile.params, sdkversion="ai_1"))
    assert "ai_" in str(raises(ValueError, chinamobile.params, sdkVersion="1.0"))
    assert "12 hex digits" in str(raises(ValueError, chinamobile.params, mac="50-5A"))
    assert "12 hex digits" in str(raises(ValueError, chinamobile.params, mac="no-mac-here!"))


def refusal(body, status_code=200):
    platform, session = cloud(body, status_code)
    e = raises(CloudError, platform.secret_info, "n1")
    assert e.cloud == "chinamobile" and e.status == status_code
    assert session.answers[0].closed
    return e


def test_a_code_other_than_200_is_a_refusal():
    e = refusal({"code": "500", "message": "设备或产品不存在", "success": False})
    assert e.code == "500" and e.message == "设备或产品不存在" and not e.retryable


def test_success_false_is_one_whatever_the_code():
    assert refusal({"code": "200", "msg": "no", "success": False, "data": SECRET}).message == "no"


def test_the_text_stands_in_message_or_in_msg():
    assert refusal({"code": "501", "msg": "忙"}).message == "忙"
    assert refusal({"code": 501}).message == "no reason given"


def test_an_answer_about_another_device_is_refused_and_may_be_asked_for_again():
    for name in ("deviceNo", "productId"):
        for value in (
            SECRET[name] + "0",
            SECRET[name].upper(),
            " " + SECRET[name],
            "",
            7,
            True,
            None,
            [],
            {},
        ):
            e = refusal(good(dict(SECRET, **{name: value})))
            assert "data.%s is " % name in e.message and e.retryable
    for value in ("d2", "D1", " ", 7, ["d1"]):
        platform, session = cloud(good({"deviceId": value}))
        e = raises(CloudError, platform.report, "d1", "s3cret", {})
        assert "data.deviceId is " in e.message and "about d1" in e.message and e.retryable
        assert session.answers[0].closed


def test_a_number_is_as_good_as_its_digits():
    session = Recorder(good(dict(SECRET, deviceNo=123456, productId=1234567890123)))
    platform = chinamobile.ChinaMobile("1234567890123", "k3y", session)
    found = platform.secret_info("123456")
    assert found == dict(SECRET, deviceNo="123456", productId="1234567890123")
    raises(CloudError, platform.secret_info, "0123456")
    platform, _ = cloud(good({"deviceId": 42}))
    assert platform.report("42", "s3cret", {})["deviceId"] == 42


def test_a_secret_in_another_devices_place_is_not_told():
    e = refusal(good(dict(SECRET, deviceNo="k3y")))
    assert "k3y" not in str(e)
    platform, _ = cloud(good({"deviceId": "k3y s3cret"}))
    assert "data.deviceId is *** ***" in raises(CloudError, platform.report, "d1", "s3cret", {}).message


def test_a_numeric_200_is_success():
    assert cloud({"code": 200, "success": True, "data": SECRET})[0].secret_info("n1") == SECRET


def test_the_code_decides_and_not_the_http_status():
    assert cloud(good(SECRET), 502)[0].secret_info("n1") == SECRET
    assert refusal({"code": "500", "message": "x"}, 503).retryable


def test_the_seconds_that_the_platform_asks_to_wait():
    platform, _ = cloud({"code": "503", "message": "x"}, 503, {"Retry-After": "120"})
    e = raises(CloudError, platform.report, "d1", "s3cret", {})
    assert e.retryable and e.retry_after == 120
    assert refusal({"code": "503", "message": "x"}, 503).retry_after is None


def test_an_answer_without_the_promised_fields_is_a_refusal():
    for missing in SECRET:
        data = {k: v for k, v in SECRET.items() if k != missing}
        assert "data." + missing in refusal(good(data)).message
    for data in (None, [], "x"):
        assert "data.deviceNo" in refusal(good(data)).message
    assert "deviceSecret" in refusal(good(dict(SECRET, deviceSecret=""))).message
    assert "deviceSecret" in refusal(good(dict(SECRET, deviceSecret=7))).message


def test_what_is_not_the_documents_json_is_a_refusal():
    for body in (b"", b"<html>", b"[]", b"3", b"null", b'{"code":', b"\xff\xfe", b"[" * 3000):
        assert "not the document's" in refusal(body).message or body == b"[]"


def test_a_secret_that_the_platform_repeats_goes_nowhere():
    platform, _ = cloud({"code": "500", "message": "k3y and s3cret do not match"})
    e = raises(CloudError, platform.report, "d1", "s3cret", {})
    assert "k3y" not in str(e) + repr(e) and "s3cret" not in str(e) + repr(e)
    assert "do not match" in str(e)


def test_words_without_end_become_a_line():
    e = refusal({"code": "500", "message": "no\r\n\x1b[31m" + "x" * 60000})
    assert len(str(e)) < 400 and str(e).startswith("chinamobile refused: no   [31mxxx")


def test_an_answer_that_is_nested_deeply_is_refused():
    platform = chinamobile.ChinaMobile("p1", "k3y", Recorder(Nested()))
    e = raises(CloudError, platform.secret_info, "n1")
    assert e.code is None and e.message == "no reason given"


def test_a_number_of_many_digits_is_refused():
    body = ('{"code": %s, "message": %s}' % ("9" * 2000, "9" * 2000)).encode()
    assert str(refusal(body)) == "chinamobile refused: no reason given (HTTP 200)"


def test_a_code_can_forge_no_line_of_a_log_and_tells_no_secret():
    e = refusal({"code": "1\nmuster: enrolled " + "x" * 9999, "message": "no"})
    assert e.code.startswith("1 muster") and len(str(e)) < 200 and "\n" not in str(e)
    assert "k3y" not in str(refusal({"code": "k3y"}))


def test_credentials_are_lines_of_text():
    assert "deviceId" in refusal(good(dict(SECRET, deviceId="1\nmuster: "))).message


def test_the_secret_is_not_printed():
    platform, _ = cloud(good(SECRET))
    found = platform.secret_info("n1")
    assert found["deviceSecret"] == "s3cret"
    assert "s3cret" not in repr(found) + str(found) + "%s %r" % (found, found)
    assert "k3y" not in repr(platform)


def spoken(*events, kind="text/event-stream"):
    """The platform where the language model answers with these events."""
    body = "".join("data: %s\n\n" % (e if isinstance(e, str) else json.dumps(e)) for e in events)
    return cloud(body.encode(), headers={"content-type": kind})


def piece(content):
    return {"choices": [{"delta": {"content": content}}]}


def test_the_models_last_piece_may_hold_only_what_it_costs():
    usage = {"choices": [], "usage": {"total_tokens": 9}}
    for kind in ("text/event-stream", "Text/Event-Stream;charset=UTF-8"):
        platform, session = spoken(piece("你"), piece(None), piece("好"), usage, "[DONE]", kind=kind)
        assert list(platform.chat("t0ken", "d1", "hello")) == ["你", "好"]
        assert session.answers[0].closed
    # Others say with every piece that there is no error.
    platform, _ = spoken(dict(piece("a"), error=None), "[DONE]")
    assert list(platform.chat("t0ken", "d1", "hello")) == ["a"]


def test_a_model_that_fails_in_mid_answer_says_why():
    error = {"error": {"message": "t0ken has nothing left", "code": "insufficient_quota"}}
    platform, session = spoken(piece("a"), error, "[DONE]")
    pieces = platform.chat("t0ken", "d1", "hello")
    assert next(pieces) == "a"
    e = raises(CloudError, next, pieces)
    assert (e.code, e.message, e.retryable) == ("insufficient_quota", "*** has nothing left", False)
    assert session.answers[0].closed
    for event in ({}, {"choices": [{}]}, {"choices": 5}, [], 5, "{"):
        platform, _ = spoken(event, "[DONE]")
        assert "not a piece" in raises(CloudError, list, platform.chat("t0ken", "d1", "hello")).message


def test_a_model_that_refuses_in_whatever_form():
    for body, words, code in (
        ({"error": "no such token"}, "no such token", None),
        ({"error": {"message": "no", "code": "invalid_api_key"}}, "no", "invalid_api_key"),
        ({"code": "401", "msg": "no"}, "no", "401"),
        ({"error": []}, "no reason given", None),
    ):
        platform, session = cloud(body, 401)
        e = raises(CloudError, list, platform.chat("t0ken", "d1", "hello"))
        assert (e.message, e.code, e.status, e.retryable) == (words, code, 401, False)
        assert session.answers[0].closed
    platform, _ = cloud({"error": "busy"}, 429, {"retry-after": "5"})
    e = raises(CloudError, list, platform.chat("t0ken", "d1", "hello"))
    assert e.retryable and e.retry_after == 5
