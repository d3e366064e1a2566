"""What the box bears from strangers: foreign pages, endless bodies, and control characters."""

import json

import pytest
from wire import connect, trusting

from tools.cloud import Cloud

HEARTBEAT = "/v2/customer/device/report"
SECRET = "/v2/customer/device/secret/info"
RECORDS = "/open-apis/security_and_compliance/v2/device_records"
DEVICES = "/v2/manage/device"
TRANSCRIPTIONS = "/v1/audio/transcriptions"
MB = 1 << 20


@pytest.fixture
def send(cloud):
    """Sends a request as it stands and returns the answer's status and body."""

    def send(path, *headers, method="POST", body=b"", host=None):
        host = host or cloud.url.removeprefix("https://")
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers, "", ""]
        with connect(cloud) as tls:
            tls.sendall("\r\n".join(lines).encode() + body)
            answer = b""
            # The box reads on after a refusal, so its goodbye is not waited for.
            while b"}" not in answer and (part := tls.recv(65536)):
                answer += part
        head, _, content = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), content.decode()

    return send


def misbehave(send, *headers, **more):
    body = b'{"status": 503}'
    return send("/misbehave", f"Content-Length: {len(body)}", *headers, body=body, **more)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:{port}", "https://localhost"]
)
def test_a_foreign_page_changes_nothing(cloud, send, origin):
    origin = origin.format(port=cloud.url.rpartition(":")[2])
    status, said = misbehave(send, f"Origin: {origin}")
    assert status == 403 and origin in said and cloud.state()["misbehaviour"] == {}


@pytest.mark.parametrize("method, path", [("POST", "/misbehave"), ("GET", "/state"), ("GET", "/")])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:443", "localhost.evil.example", "[", ":1"])
def test_a_name_that_was_turned_to_the_box_reaches_nothing(cloud, send, method, path, host):
    status, said = send(path, "Content-Length: 0", method=method, host=host)
    assert status == 403 and "localhost" in said and "MUSTER" not in said


def test_the_box_s_own_page_may_and_so_may_a_person(cloud, send):
    port = cloud.url.rpartition(":")[2]
    for name in "localhost", "127.0.0.1", "[::1]", "LOCALHOST":
        host = f"{name}:{port}"
        assert misbehave(send, f"Origin: https://{host}", host=host)[0] == 200, name
        cloud.behave()
        assert misbehave(send, host=host)[0] == 200, name
        cloud.behave()


def test_where_others_reach_it_only_the_token_makes_it_misbehave():
    how = b'{"status": 503}'
    with Cloud(host="0.0.0.0") as cloud, trusting(cloud) as session:
        assert len(cloud.token) == 32
        for given in ("", "Bearer", "Bearer " + cloud.token[:-1], cloud.token, "Bearer é"):
            header = {"Authorization": given.encode()}
            answer = session.post(cloud.url + "/misbehave", data=how, headers=header, timeout=10)
            assert answer.status_code == 401 and cloud.state()["misbehaviour"] == {}, given
        right = {"Authorization": "Bearer " + cloud.token}
        assert session.post(cloud.url + "/misbehave", data=how, headers=right, timeout=10).status_code == 200
        for url in cloud.urls:
            assert session.get(url + "/state", timeout=10).json()["misbehaviour"] == {"status": 503}, url
            assert cloud.token not in session.get(url + "/", timeout=10).text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_box_of_this_computer_alone_has_no_token(host):
    with Cloud(host=host) as cloud, trusting(cloud) as session:
        assert cloud.token is None and cloud.urls == [cloud.url] and "localhost" in cloud.url
        assert session.get(cloud.url + "/state", timeout=10).status_code == 200


def test_it_names_the_address_that_it_is_given(monkeypatch):
    # 127.0.0.2 plays an address of a network.
    monkeypatch.setattr("tools.cloud.box.is_loopback", lambda host: host in ("localhost", "127.0.0.1"))
    with Cloud(host="127.0.0.2") as cloud, trusting(cloud) as session:
        here, there = cloud.urls
        assert there.startswith("https://127.0.0.2:") and cloud.token
        for url in (here, there):
            assert session.get(url + "/state", timeout=10).status_code == 200


def test_a_box_for_others_takes_localhost_from_nobody(cloud):
    port = int(cloud.url.rpartition(":")[2])
    with pytest.raises(OSError, match=f"port {port} of 127.0.0.1 is in use"):
        Cloud(host="127.0.0.2", port=port).__enter__()


REFUSALS = [
    ("/misbehave", "code", "500"),
    (HEARTBEAT, "code", "500"),
    ("/v3/chat", "code", 4000),
    (TRANSCRIPTIONS, "code", 4302),
    ("/api/permission/oauth2/token", "error_code", "invalid_request"),
    (DEVICES, "code", "InvalidHTTPRequest"),
    (RECORDS, "code", 1780101),
    ("/open-apis/auth/v3/tenant_access_token/internal", "code", 10003),
]


@pytest.mark.parametrize("path, name, code", REFUSALS)
def test_a_body_that_is_announced_too_long_is_not_waited_for(cloud, send, path, name, code):
    status, said = send(path, "Content-Type: application/json", f"Content-Length: {60 * MB}")
    assert status == 413 and json.loads(said)[name] == code and "longer than" in said


@pytest.mark.parametrize("path, name, code", REFUSALS)
def test_a_chunked_body_is_refused_where_it_becomes_too_long(cloud, send, path, name, code):
    limit = (12 if path == TRANSCRIPTIONS else 1) * MB
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    body = chunk * (limit // 65536 + 1)  # its end never comes
    status, said = send(path, "Transfer-Encoding: chunked", body=body)
    assert status == 413 and json.loads(said)[name] == code
    if path != "/misbehave":
        call = cloud.calls()[-1]
        assert limit < call["received"] < limit + 2 * MB and call["status"] == 413


def test_bodies_up_to_the_limit_are_read(cloud, session):
    padded = json.dumps({"status": 200}) + " " * (MB - 15)
    assert session.post(cloud.url + "/misbehave", data=padded, timeout=10).status_code == 200
    cloud.add_coze_token("pat_sound")
    sound = {"file": bytes(10 * MB)}
    bearer = {"Authorization": "Bearer pat_sound"}
    answer = session.post(cloud.url + TRANSCRIPTIONS, files=sound, headers=bearer, timeout=10)
    assert answer.json()["code"] == 0


def test_what_is_logged_is_one_line_that_a_terminal_does_not_obey(cloud, session):
    nasty = "A\n\x1b[2J\x9b\u202e玩"
    cloud.add_device(product_id="7", product_key="k", device_no_type="SN", device_no=nasty)
    session.get(cloud.url + "/v3/%0A%1B%5B2J%C2%9B%E2%80%AE%E7%8E%A9", timeout=10)
    known = {"deviceNoType": "SN", "deviceNo": nasty, "productId": "7", "productKey": "k"}
    assert session.post(cloud.url + SECRET, json=known, timeout=10).json()["success"]
    path, device = cloud.calls()[-2:]
    shown = "\\n\\x1b[2J\\x9b\\u202e玩"
    assert path["path"] == "/v3/" + shown and shown in path["reason"]
    assert device["device"] == "A" + shown
