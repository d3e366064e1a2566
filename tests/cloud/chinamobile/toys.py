"""The devices in the box, what they send, and what a refusal looks like."""

import json

from tools.cloud import Device

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


def dumps(content):
    return json.dumps(content).encode()


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
