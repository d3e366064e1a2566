import json

from configurations import CMEI, SECRET, minimal
from helpers import lines_of, raises
from muster import config
from muster.errors import ConfigError

IMEI = "490154203237518"
WIFI_KEY = "owl-on-the-roof"


def without(name, **more):
    raw = minimal(**more)
    del raw[name]
    return raw


def refused(raw, *fragments):
    """The message with which check refuses raw; it must name all the fragments and no secret."""
    text = str(raises(ConfigError, config.check, raw))
    for fragment in fragments:
        assert fragment in text, text
    assert SECRET not in text and WIFI_KEY not in text, text
    return text


def test_defaults():
    checked = config.check(minimal())
    assert checked.plain() == {
        "wifi": [],
        "firstJoin": 30,
        "pm": "",
        "txpower": 0,
        "hostname": "",
        "productId": "1234567890123",
        "productKey": SECRET,
        "deviceNoType": "SN",
        "deviceNo": "SN0001",
        "cellular": False,
        "imei": "",
        "cmei": CMEI,
        "firmwareVersion": "0.0.5.2",
        "sdkVersion": "ai_http_1.0",
        "platform": "RTOS",
        "netType": "",
        "baseUrl": "https://ivs.chinamobiledevice.com:11443",
        "roots": "/roots",
        "ntp": ["ntp.aliyun.com", "ntp.ntsc.ac.cn", "cn.pool.ntp.org", "pool.ntp.org"],
        "policy": "interval",
        "period": 43200,
        "jitter": 900,
        "spread": 43200,
        "deadline": 86400,
        "clouds": [],
        "store": "file",
        "updates": {},
        "setup": {},
    }
    assert lines_of(config.check, minimal()) == ""


def test_what_is_checked_passes_again_and_the_input_stays_as_it_was():
    raw = minimal(
        wifi=[{"ssid": "home", "key": WIFI_KEY}, {"ssid": "open"}], baseUrl="https://localhost:8443/"
    )
    copy = json.loads(json.dumps(raw))
    checked = config.check(raw)
    assert raw == copy
    assert config.check(checked) == checked
    assert checked["baseUrl"] == "https://localhost:8443"
    assert checked["wifi"] == [{"ssid": "home", "key": WIFI_KEY}, {"ssid": "open", "key": ""}]


def test_secrets_are_masked_when_printed():
    checked = config.check(minimal(wifi=[{"ssid": "home", "key": WIFI_KEY}]))
    for value in (checked, checked["wifi"], checked["wifi"][0]):
        for text in (str(value), repr(value)):
            assert SECRET not in text and WIFI_KEY not in text and "***" in text
    assert checked["productKey"] == SECRET and checked["wifi"][0]["key"] == WIFI_KEY


def test_missing_keys_are_named():
    for name in ("productId", "productKey", "deviceNo", "firmwareVersion"):
        refused(without(name), '"%s" is missing' % name)


def test_wrong_values_are_named_with_what_was_expected():
    for name, value, fragments in (
        ("productId", 1234567890123, ("1234567890123", "a string")),
        ("productId", "", ('""',)),
        ("firstJoin", 0, ("1 or more",)),
        ("firstJoin", "30", ("whole seconds",)),
        ("pm", "off", ('"none", "performance" or "powersave"',)),
        ("pm", False, ("false",)),
        ("txpower", 1, ("2 to 21",)),
        ("txpower", 22, ("2 to 21",)),
        ("txpower", 8.5, ("whole dBm",)),
        ("txpower", True, ("whole dBm",)),
        ("policy", "每天", ('holds "每天"',)),
        ("productId", "\x1b[31m", ("holds '\\x1b[31m'",)),
        ("productId", "a\nb", ("a\\nb",)),
        ("productId", None, ("null",)),
        ("productId", [SECRET], ("a list",)),
        ("productId", {"productKey": SECRET}, ("an object",)),
        ("deviceNo", "", ("auto",)),
        ("deviceNo", "x\x7f", ()),
        ("deviceNoType", "sn", ('"SN", "IMEI" or "CMEI"',)),
        ("deviceNoType", ["SN"], ("a list",)),
        ("cellular", 0, ("true or false",)),
        ("cellular", "false", ("true or false",)),
        ("firmwareVersion", 1.5, ("1.5",)),
        ("sdkVersion", "http_1.0", ("ai_",)),
        ("sdkVersion", "", ("ai_",)),
        ("platform", "", ()),
        ("netType", 5, ("5G",)),
        ("policy", "hourly", ('"interval" or "daily"',)),
        ("store", "flash", ('"file" or "nvs"',)),
        ("clouds", "coze", ("a list of",)),
        ("clouds", ["coze", "koze"], ('holds ["coze","koze"]; expected a list of "coze"',)),
        ("clouds", ["coze", "aliyun"], ('"coze", "baidu" and "feishu"',)),
        ("roots", 5, ("path",)),
        ("roots", [""], ("path",)),
        ("roots", [], ("path",)),
        ("roots", "", ("path",)),
        ("ntp", "pool.ntp.org", ("a list",)),
        ("ntp", ["pool.ntp.org", "http://x"], ("a list",)),
        ("ntp", ["pool.ntp.org:0"], ()),
        ("wifi", {"ssid": "home", "key": WIFI_KEY}, ("a list",)),
        ("hostname", "-toy", ("hyphen",)),
        ("hostname", "toy-", ("hyphen",)),
        ("hostname", "my toy", ()),
        ("hostname", "toy.local", ()),
        ("hostname", "\u73a9\u5177", ()),
        ("hostname", "t" * 33, ("32",)),
        ("hostname", "\u212a", ()),  # its small form is k
        ("baseUrl", "https://\u212a.cn", ()),
        ("deviceNo", "\ud800", ()),
    ):
        refused(minimal(**{name: value}), '"%s"' % name, "expected", *fragments)


def test_good_values_pass():
    for name, value in (
        ("hostname", "t" * 32),
        ("hostname", "Toy-7"),
        ("firstJoin", 1),
        ("pm", "none"),
        ("pm", "performance"),
        ("pm", "powersave"),
        ("txpower", 2),
        ("txpower", 21),
        ("netType", "5G"),
        ("sdkVersion", "ai_2"),
        ("ntp", []),
        ("ntp", ["10.0.0.1:1123", "time.example", "[fe80::1]:123"]),
        ("roots", ["/roots/a.der", "/roots/b.pem"]),
        ("policy", "daily"),
        ("store", "nvs"),
        ("clouds", ["coze", "baidu", "feishu", "chinamobile"]),
        ("deviceNo", "auto"),
        ("deviceNo", "\u8bbe\u5907 1"),
    ):
        assert config.check(minimal(**{name: value}))[name] == value


def test_no_message_shows_a_secret():
    for value in (None, 5, "", SECRET + "\n", [SECRET], {"x": SECRET}):
        refused(minimal(productKey=value), '"productKey"', "expected")
    for wifi in (
        [WIFI_KEY],
        WIFI_KEY,
        [["home", WIFI_KEY]],
        [{"ssid": "home", "key": WIFI_KEY + "\n"}],
        [{"ssid": "home", "key": WIFI_KEY * 5}],
        [{"ssid": "home", "key": [WIFI_KEY]}],
        [{"ssid": "home", "password": WIFI_KEY}],
        [{"ssid": "", "key": WIFI_KEY}],
        [{"key": WIFI_KEY}],
    ):
        refused(minimal(wifi=wifi), "wifi", "expected" if "password" not in str(wifi) else "password")
    refused(minimal(baseUrl="https://user:%s@host" % SECRET), '"baseUrl"')
    refused(minimal(product_Key=SECRET))
    refused(minimal(zzz=SECRET))
    refused(without("cmei"))


def test_no_message_shows_a_secret_that_stands_elsewhere_too():
    networks = [{"ssid": "home", "key": WIFI_KEY}]
    for secret in (SECRET, WIFI_KEY):
        for key in ("baseUrl", "hostname", "cmei", "policy", "deviceNoType", "sdkVersion"):
            for value in (secret + "_", "-" + secret * 2, "x" * 60 + secret, secret + "\n"):
                refused(minimal(**{"wifi": networks, key: value}), '"%s"' % key)
        refused(minimal(wifi=[networks[0], {"ssid": secret * 3}]), "wifi[1].ssid")
        for name in (secret, "x" * 25 + secret):
            refused(minimal(wifi=networks, **{name: 1}), "unknown key")
            refused(minimal(wifi=[networks[0], {name: 1}]), "wifi[1]", "unknown key")
    for key in ("a\"b\\c'd-owl", "\u8001\u864e\u5728\u4e95\u91cc-\u732b\u5934\u9e70"):
        text = refused(minimal(wifi=[{"ssid": "home", "key": key}], hostname=key), "hostname", "expected")
        assert key not in text and repr(key)[1:-1] not in text and "***" in text


def test_the_product_key_stands_nowhere_else():
    for key, value in (("baseUrl", "https://%s.cn" % SECRET), ("deviceNo", SECRET), ("ntp", [SECRET])):
        refused(minimal(**{key: value}), '"%s" holds the productKey' % key)
    assert config.check(minimal(productKey="1", deviceNo="1"))["deviceNo"] == "1"  # by chance


def test_wifi_networks():
    for bad, fragment in (
        ({"ssid": "s" * 33}, "wifi[1].ssid"),
        ({"ssid": "\u7f51" * 11}, "wifi[1].ssid"),
        ({"ssid": 5}, "wifi[1].ssid"),
        ({"ssid": "home", "key": "short"}, "wifi[1].key"),
        ({"ssid": "home", "key": None}, "wifi[1].key"),
        ({"ssid": "home", "Key": "long enough"}, 'did you mean "key"'),
    ):
        refused(minimal(wifi=[{"ssid": "home"}, bad]), fragment)
    for good in (
        {"ssid": "\u7f51" * 10, "key": "k" * 8},
        {"ssid": "s" * 32, "key": "f" * 64},
        {"ssid": "x", "key": ""},
    ):
        assert config.check(minimal(wifi=[good]))["wifi"] == [good]


def test_an_unknown_key_is_named_with_the_nearest_known_one():
    for wrong, known in (
        ("productID", "productId"),
        ("product_id", "productId"),
        ("PRODUCTKEY", "productKey"),
        ("perod", "period"),
        ("deviceno", "deviceNo"),
        ("deviceNoTyp", "deviceNoType"),
        ("base_url", "baseUrl"),
        ("WiFi", "wifi"),
        ("jiter", "jitter"),
    ):
        refused(minimal(**{wrong: 1}), '"%s"' % wrong, 'did you mean "%s"?' % known)
    text = refused(minimal(password=1), '"password"', "the keys are", "productKey", "deadline")
    assert "did you mean" not in text
    raw = minimal()
    raw["x" * 10000] = 1
    refused(raw, "unknown key")
    refused(minimal(**{"网络": 1}), 'unknown key: "网络"')
    refused(minimal(**{"\x1b[2J": 1}), "unknown key: '\\x1b[2J'")


def test_the_number_for_the_products_kind_must_be_there():
    refused(without("cmei"), '"cmei" is missing', "false")
    refused(without("cmei", imei=IMEI), '"cmei" is missing')
    refused(minimal(cellular=True), '"imei" is missing', "true")
    assert config.check(without("cmei", cellular=True, imei=IMEI))["cmei"] == ""
    assert config.check(minimal(cellular=True, imei=IMEI))["cmei"] == CMEI


def test_an_empty_number_is_allowed_and_warned_about():
    assert "cmei" in lines_of(config.check, minimal(cmei=""))
    assert "imei" in lines_of(config.check, minimal(cellular=True, imei=""))
    # What the product need not send is no reason to warn.
    assert lines_of(config.check, minimal(imei="")) == ""


def test_an_imei_is_no_cmei_and_the_other_way_round():
    refused(minimal(cmei=IMEI), '"cmei"', "starts with 11")
    refused(minimal(imei=CMEI), '"imei"', "starts with 11")
    refused(minimal(imei=IMEI[:14] + "9"), '"imei"', "last digit should be 8")
    refused(minimal(cmei="11123456"), '"cmei"', "15 digits")
    refused(minimal(cmei=111234560000011), '"cmei"', "15 digits")


def test_a_device_number_of_type_imei_or_cmei_is_that_number():
    assert config.check(minimal(deviceNoType="CMEI", deviceNo=CMEI))["deviceNo"] == CMEI
    assert config.check(minimal(deviceNoType="IMEI", deviceNo=IMEI, imei=IMEI))["deviceNo"] == IMEI
    refused(minimal(deviceNoType="CMEI"), '"deviceNo"', "SN0001", '"cmei"')
    refused(minimal(deviceNoType="IMEI", deviceNo=IMEI), '"deviceNo"', '"imei"')
    refused(minimal(deviceNoType="CMEI", deviceNo="auto"), '"deviceNo"', "auto")
    refused(minimal(deviceNoType="IMEI", deviceNo="auto", imei=IMEI), '"deviceNo"', "auto")


def test_the_product_id_as_device_number_is_warned_about():
    assert "deviceNo" in lines_of(config.check, minimal(deviceNo="1234567890123"))


def test_base_url():
    for good in (
        "https://a.example",
        "https://62b98tux.cxzfdm.com:30101",
        "https://127.0.0.1:8443/",
        "https://[::1]:8443",
        "https://[::1]",
    ):
        assert config.check(minimal(baseUrl=good))["baseUrl"] == (good[:-1] if good.endswith("/") else good)
    for bad in (
        "http://a.example",
        "a.example",
        "https://",
        "https:///",
        "https://a.example/path",
        "https://a.example?x=1",
        "https://a.example#x",
        "https://user@a.example",
        "https://a.example:",
        "https://a.example:0",
        "https://a.example:65536",
        "https://a.example:+1",
        "https://:443",
        "https://a b",
        "https://a.example\r\nX: y",
        "https://::1",
        "https://[::1",
        "https://[]",
        "",
        None,
        5,
    ):
        refused(minimal(baseUrl=bad), '"baseUrl"', "https://host")


MANIFEST = "https://files.example/toys/manifest.jwt"


def test_updates():
    def taken(**updates):
        return config.check(minimal(updates=updates))["updates"]

    assert taken(url=MANIFEST) == {"url": MANIFEST, "period": 86400, "tell": True}
    assert taken(url=MANIFEST, period=3600, tell=False) == {"url": MANIFEST, "period": 3600, "tell": False}
    assert taken() == {}
    for good in (
        "https://a/manifest.jwt",
        "https://[::1]:8443/manifest.jwt",
        "https://a.cn/b/c%20d/manifest.jwt",
    ):
        checked = config.check(minimal(updates={"url": good}))
        assert checked["updates"]["url"] == good
        assert config.check(checked) == checked
    for bad in (
        "http://a.example/manifest.jwt",
        "https://a.example/",
        "https://a.example/other.jwt",
        "https://a.example/xmanifest.jwt",
        "https:///manifest.jwt",
        "https://user@a.example/manifest.jwt",
        "https://a.example:0/manifest.jwt",
        "https://a b/manifest.jwt",
        "https://a.example/b c/manifest.jwt",
        "https://a.example/\u6587/manifest.jwt",
        "https://a.example/\r\nX:/manifest.jwt",
        "",
        None,
        5,
    ):
        refused(minimal(updates={"url": bad}), '"updates.url"', "https://host/", "manifest.jwt")
    for period in (3599, 0, -1, True, 86400.0, "86400", None):
        refused(minimal(updates={"url": MANIFEST, "period": period}), '"updates.period"', "3600 or more")
    for tell in (0, 1, "no", None):
        refused(minimal(updates={"url": MANIFEST, "tell": tell}), '"updates.tell"', "true or false")
    refused(minimal(updates={"period": 3600}), '"updates.url" is missing', "https://host/")
    refused(minimal(updates={"url": MANIFEST, "perod": 3600}), "updates has an unknown key", '"period"')
    for bad in (None, [], MANIFEST, True, 0):
        refused(minimal(updates=bad), '"updates"', "an object")
    refused(minimal(updates={"url": "https://a/%s/manifest.jwt" % SECRET}), '"updates" holds the productKey')


def test_times():
    for name in ("period", "jitter", "spread", "deadline"):
        for bad in (True, False, 1.5, 900.0, "900", -1, None, [900]):
            refused(minimal(**{name: bad}), '"%s"' % name, "whole seconds")
    refused(minimal(period=0), '"period"', "1 or more")
    refused(minimal(period=900), '"jitter"', "less than period, 900")
    refused(minimal(period=85500), '"period"', "86400")
    refused(minimal(period=60, jitter=10, spread=0, deadline=70), '"period"', "70")
    refused(minimal(period=60, jitter=10, deadline=71), '"spread"', "71")
    refused(minimal(spread=86400), '"spread"', "less than deadline")
    refused(minimal(deadline=86401), '"deadline"', "24 hours")
    for good in (
        {"period": 85499},
        {"period": 1, "jitter": 0},
        {"period": 60, "jitter": 10, "spread": 70, "deadline": 71},
        {"spread": 0},
        {"spread": 86399},
    ):
        checked = config.check(minimal(**good))
        assert all(checked[name] == good[name] for name in good)


def test_what_is_no_object_is_refused():
    for raw in (None, [], "x", 5):
        refused(raw, "no JSON object")


def written(tmp, content):
    path = tmp + "/config.json"
    with open(path, "wb") as f:
        f.write(content)
    return path


def test_load(tmp):
    path = written(tmp, json.dumps(minimal(deviceNo="\u8bbe\u5907")).encode())
    assert config.load(path) == config.check(minimal(deviceNo="\u8bbe\u5907"))
    path = written(tmp, b"\xef\xbb\xbf" + json.dumps(minimal()).encode())
    assert config.load(path)["deviceNo"] == "SN0001"
    # Not of json.dumps, which on MicroPython escapes no character.
    for escaped in ("\\ud83d\\ude00", "\\uD83D\\uDE00"):
        path = written(tmp, json.dumps(minimal(deviceNo="AI-")).replace("AI-", "AI-" + escaped).encode())
        assert config.load(path)["deviceNo"] == "AI-\U0001f600"


def test_load_says_what_is_wrong_with_the_file(tmp):
    e = raises(ConfigError, config.load, tmp + "/none.json")
    assert "write one" in str(e) and "productKey" in str(e) and tmp in str(e)
    assert "cannot read" in str(raises(ConfigError, config.load, tmp))
    for content, fragment in (
        (b"", "not JSON"),
        (b"[1, 2]", "no JSON object"),
        (b'{\n "productKey": "%s",\n "cellular": falsch\n}\n' % SECRET.encode(), "line 3"),
        (b'{\n "deviceNo": "%s",\n "cellular": falsch\n}\n' % (b"\\ud83d\\ude00" * 5), "line 3"),
        (b'{\n "productKey": "%s",\n "deviceNo": "x"\n' % SECRET.encode(), "not JSON"),
        (b'{"productKey": "%s\xff"}' % SECRET.encode(), "not UTF-8"),
        (b"\xff\xfe{\x00}\x00", "not UTF-8"),
        (b" " * 16385, "larger than 16384"),
        (json.dumps({"productKey": SECRET}).encode(), '"productId" is missing'),
    ):
        e = raises(ConfigError, config.load, written(tmp, content))
        assert fragment in str(e), str(e)
        assert SECRET not in str(e)
        # Nor in an exception that hangs on it, as those of CPython's json do.
        assert getattr(e, "__context__", None) is None
