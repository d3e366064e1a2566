"""The device of these tests, and the configurations with which it enrols at the box."""

from tools.cloud import Device

SECRET_INFO = "/v2/customer/device/secret/info"
REPORT = "/v2/customer/device/report"
DEVICE = Device("1234567890123", "pr0ductk3y", "SN", "AI-0001")


def identity(cloud, **changes):
    """What every configuration says."""
    return DEVICE.config(cloud.url, **changes)


def settings(cloud, **changes):
    """A board's, which is due again every two seconds."""
    wifi = [{"ssid": "muster-lab", "key": "password"}]
    return identity(cloud, **{"wifi": wifi, "period": 2, "jitter": 0, "spread": 0, "deadline": 8, **changes})


def hourly(cloud, **changes):
    return settings(cloud, **{"period": 3600, "deadline": 7200, **changes})
