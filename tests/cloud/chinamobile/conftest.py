"""China Mobile in the box."""

import pytest
from toys import ASK, KEY, PARAMS, PHONE, PRODUCT, SECRET_INFO, TOY

from tools.cloud import Cloud, Device


@pytest.fixture(scope="module")
def box():
    with Cloud(devices=[TOY, PHONE, Device(PRODUCT, KEY, "SN", "NEVER-SEEN")]) as cloud:
        yield cloud


@pytest.fixture
def post(cloud, session):
    return lambda path, json=None, **options: session.post(cloud.url + path, json=json, timeout=10, **options)


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
