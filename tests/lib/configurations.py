"""The least that a configuration must say."""

CMEI = "111234560000011"
SECRET = "tiger-in-the-mine"


def minimal(**more):
    raw = {
        "productId": "1234567890123",
        "productKey": SECRET,
        "deviceNo": "SN0001",
        "firmwareVersion": "0.0.5.2",
        "cmei": CMEI,
    }
    for name in more:
        raw[name] = more[name]
    return raw
