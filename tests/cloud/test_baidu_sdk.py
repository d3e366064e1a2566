"""The box's Baidu, judged by Baidu's own SDK: its HTTP client and its signer."""

import json

import pytest
from baidubce import protocol
from baidubce.auth import bce_v1_signer
from baidubce.auth.bce_credentials import BceCredentials
from baidubce.bce_client_configuration import BceClientConfiguration
from baidubce.exception import BceHttpClientError
from baidubce.http import bce_http_client, handler
from baidubce.retry.retry_policy import NoRetryPolicy
from baidubce.utils import append_uri

PATH = b"/v2/manage/device"
SIGNED = [b"host", b"x-bce-date"]


def sign(credentials, method, path, headers, params):
    return bce_v1_signer.sign(credentials, method, path, headers, params, headers_to_sign=SIGNED)


@pytest.fixture
def account(cloud, request):
    return cloud.add_baidu_account(request.node.name, "u2wdh3wm", quota=5)


@pytest.fixture
def send(cloud, account, monkeypatch):
    """The SDK's client for one request, with the account's keys."""
    # It takes no argument for its roots.
    monkeypatch.setenv("SSL_CERT_FILE", str(cloud.ca_pem))

    def send(method, *parts, params=None, body=None):
        config = BceClientConfiguration(
            credentials=BceCredentials(account["access_key_id"], account["secret_access_key"]),
            endpoint=cloud.url.encode(),
            protocol=protocol.HTTPS,
            connection_timeout_in_mills=10_000,
            send_buf_size=1 << 20,
            retry_policy=NoRetryPolicy(),
        )
        return bce_http_client.send_request(
            config,
            sign,
            [handler.parse_error, handler.parse_json],
            method.encode(),
            append_uri(PATH, *(part.encode() for part in parts)),
            body and json.dumps(body),
            {b"Content-Type": b"application/json; charset=utf-8"},
            params and {name.encode(): value.encode() for name, value in params.items()},
        )

    return send


def test_manages_devices(account, send):
    fc, pk = account["fc"], account["pk"]
    rows = ["100000691930,mock", "设备 1+,密钥"]
    assert send("POST", body={"fc": fc, "pk": pk, "devices": rows}).code == 0
    device = send("GET", fc, pk, "设备 1+")
    assert (device.sk, device.state, device.fc) == ("密钥", "NOT_ACTIVE", fc)
    assert device.metadata.bce_request_id

    assert send("PUT", fc, pk, "设备 1+", "disable").result == "OK"
    listed = send("GET", params={"fc": fc, "pk": pk, "state": "BAN", "order": "desc", "pageSize": "1"})
    assert (listed.total_count, listed.order, listed.result[0].ak) == (1, "desc", "设备 1+")
    assert send("PUT", fc, pk, "设备 1+", "enable").result == "OK"

    assert send("DELETE", fc, pk, "100000691930").result == "OK"
    assert send("GET", fc, pk, "100000691930").code == 11
    assert send("GET", params={"fc": fc, "pk": pk}).total_count == 1
    assert send("POST", body={"fc": fc, "pk": pk, "devices": rows}).code == 7


def test_a_refusal_is_an_error_with_its_request_id(cloud, account, send):
    other = cloud.add_baidu_account("somebody-else", "p")["fc"]
    for params, code, status in (({"pageNo": "0"}, "InvalidURI", 400), ({"fc": other}, "AccessDenied", 403)):
        with pytest.raises(BceHttpClientError) as raised:
            send("GET", params={"fc": account["fc"], "pk": account["pk"], **params})
        assert (raised.value.code, raised.value.status_code) == (code, status)
        assert len(raised.value.request_id) == 36


def test_another_key_is_refused(account, send):
    account["secret_access_key"] += "x"
    with pytest.raises(BceHttpClientError) as raised:
        send("GET", account["fc"], account["pk"], "A")
    assert (raised.value.code, raised.value.status_code) == ("SignatureDoesNotMatch", 400)
