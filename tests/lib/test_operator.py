"""The maker's operator, with Baidu and Feishu in a box, over real TLS."""

from helpers import raises
from muster import http
from muster.clouds.baidu import Baidu
from muster.clouds.feishu import Feishu
from muster.errors import CloudError, TransportError


def baidu(operator, **changes):
    account = dict(operator["baidu"], **changes)
    return Baidu(
        account["access_key_id"],
        account["secret_access_key"],
        account["fc"],
        account["pk"],
        http.Session(operator["ca"]),
        base_url=operator["url"],
    )


def feishu(operator, **changes):
    app = dict(operator["feishu"], **changes)
    return Feishu(http.Session(operator["ca"]), app["app_id"], app["app_secret"], base_url=operator["url"])


def test_a_batch_into_baidu_and_out_again(operator):
    cloud = baidu(operator)
    cloud.import_devices([("ak%02d" % i, "sk%02d" % i) for i in range(30)])
    assert cloud.get("ak07")["sk"] == "sk07" and "sk07" not in repr(cloud.get("ak07"))
    cloud.disable("ak07")
    assert [device["ak"] for device in cloud.list_all(state="BAN", page_size=10)] == ["ak07"]
    cloud.enable("ak07")
    cloud.delete("ak08")
    assert len(list(cloud.list_all(page_size=10))) == 29
    page = cloud.list(state="NOT_ACTIVE", order="asc", page_no=3, page_size=10)
    assert len(page["result"]) == 9 and page["totalCount"] == 29


def test_baidus_refusals(operator):
    cloud = baidu(operator)
    cloud.import_devices([("a", "s")])
    assert raises(CloudError, cloud.import_devices, [("b", "s"), ("a", "s")]).code == "7"
    assert raises(CloudError, cloud.import_devices, [("c%d" % i, "s") for i in range(60)]).code is not None
    assert raises(CloudError, cloud.get, "nobody").code is not None
    e = raises(CloudError, baidu(operator, secret_access_key="wr0ng").get, "a")
    assert e.code == "SignatureDoesNotMatch" and e.status in (400, 403)
    assert e.log_id and "wr0ng" not in str(e)


def test_a_record_in_feishu(operator):
    cloud = feishu(operator)
    assert cloud.create_device(4, 2, 1, android_id="02a11ac4a83b918e")
    assert cloud.create_device(3, 2, 1, serial_number="S1", mac_address="AC-DE-48-00-11-21")
    assert raises(CloudError, cloud.create_device, 4, 2, 1, android_id="02a11ac4a83b918e").code == "1785010"
    raises(ValueError, cloud.create_device, 4, 2, 1, serial_number="S2")
    e = raises(CloudError, feishu(operator, app_secret="wr0ng").create_device, 4, 2, 1, android_id="x")
    assert e.cloud == "feishu" and "wr0ng" not in str(e)


def test_what_creates_is_not_sent_again_and_what_deletes_is(operator):
    devices, records = baidu(operator), feishu(operator)
    devices.import_devices([("ak1", "sk1")])
    records.create_device(1, 1, 1, uuid="1")
    for call in (
        lambda: devices.import_devices([("ak2", "sk2")]),
        lambda: records.create_device(1, 1, 1, uuid="2"),
    ):
        drop(operator)
        assert "may have executed" in str(raises(TransportError, call))
        devices.get("ak1")
    drop(operator)
    devices.delete("ak1")


def drop(operator):
    """The box reads one more request and closes the connection."""
    http.post(operator["url"] + "/misbehave", ca=operator["ca"], json={"connection": "close", "times": 1})
