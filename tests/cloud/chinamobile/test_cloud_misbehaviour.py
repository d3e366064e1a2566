"""What the box does wrong when it is told to, judged by requests and ssl."""

import re
import socket
import ssl
import time

import pytest
import requests
from cryptography import x509
from toys import ASK, REPORT, SECRET_INFO, dumps, last, refused, shown
from wire import address, connect, read_all, request, wait_until

from tools.cloud import Cloud

# Misbehaviour


def test_delay(cloud, post):
    cloud.misbehave(delay=0.4)
    start = time.monotonic()
    assert post(SECRET_INFO, ASK).json()["code"] == "200"
    assert time.monotonic() - start >= 0.4


def test_a_caller_that_leaves_within_the_delay_is_logged(cloud, post):
    cloud.misbehave(delay=30)
    with pytest.raises(requests.ReadTimeout):
        requests.post(cloud.url + SECRET_INFO, json=ASK, verify=str(cloud.ca_pem), timeout=(10, 0.3))
    wait_until(lambda: last(cloud)["reason"])
    assert "left" in last(cloud)["reason"]


@pytest.mark.parametrize(
    "how, status, kind, text",
    [
        ({"status": 503}, 503, "application/json", ""),
        ({"status": 500, "body": '{"error": "down"}'}, 500, "application/json", '{"error": "down"}'),
        ({"status": 502, "body": "<html>Bad Gateway</html>"}, 502, "text/html", "<html>Bad Gateway</html>"),
        ({"body": "<html>log in</html>"}, 200, "text/html", "<html>log in</html>"),
        ({"body": '{"code": "200", "da'}, 200, "application/json", '{"code": "200", "da'),
    ],
)
def test_answers_instead(cloud, post, how, status, kind, text):
    count = shown(cloud, "TOY-0001")["secretCount"]
    cloud.misbehave(**how)
    answer = post(SECRET_INFO, ASK)
    assert (answer.status_code, answer.text) == (status, text)
    assert answer.headers["Content-Type"].startswith(kind)
    assert last(cloud)["status"] == status and last(cloud)["reason"] == "misbehaved: answered as told"
    assert shown(cloud, "TOY-0001")["secretCount"] == count, "answered without looking"


def test_a_documented_refusal(cloud, post):
    cloud.misbehave(code="500")
    refused(post(SECRET_INFO, ASK))
    cloud.misbehave(code="404", status=502)
    answer = post(SECRET_INFO, ASK)
    assert (answer.status_code, answer.json()["code"], answer.json()["success"]) == (502, "404", False)


def test_truncated_answer(cloud):
    cloud.misbehave(connection="truncate")
    count = shown(cloud, "TOY-0001")["secretCount"]
    with connect(cloud) as tls:
        tls.sendall(request(SECRET_INFO, dumps(ASK)))
        # A ragged end would raise here: the connection ends properly, only the answer does not.
        answer = read_all(tls)
    head, _, body = answer.partition(b"\r\n\r\n")
    promised = int(re.search(rb"content-length: (\d+)", head)[1])
    assert 0 < len(body) < promised
    assert shown(cloud, "TOY-0001")["secretCount"] == count + 1, "the answer is lost, not the call"
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        requests.post(cloud.url + SECRET_INFO, json=ASK, verify=str(cloud.ca_pem), timeout=10)


@pytest.mark.parametrize("connection, end", [("close", b""), ("reset", ConnectionResetError)])
def test_connection_ends_before_the_first_byte(cloud, connection, end):
    cloud.misbehave(connection=connection)
    raw = socket.create_connection(address(cloud), timeout=10)
    with raw.dup() as wire, connect(cloud, raw) as tls:
        tls.sendall(request(SECRET_INFO, dumps(ASK)))
        # Below TLS, since Python's ssl reports a reset as an end of file. What comes first is
        # the handshake's session tickets.
        got = b""
        try:
            while received := wire.recv(4096):
                got += received
            seen = received
        except ConnectionResetError:
            seen = ConnectionResetError
    assert seen == end
    assert len(got) < 700
    wait_until(lambda: last(cloud)["reason"])
    assert last(cloud)["reason"] == f"misbehaved: {connection} before the answer"
    assert last(cloud)["received"] == len(dumps(ASK)) and last(cloud)["status"] is None


def test_only_the_next_calls_and_only_one_path(cloud, post):
    cloud.misbehave(status=503, times=2, path=SECRET_INFO)
    statuses = [post(path, ASK).status_code for path in (REPORT, *[SECRET_INFO] * 3)]
    assert statuses == [200, 503, 503, 200]
    assert cloud.state()["misbehaviour"] == {}


def test_misbehave_from_another_process(cloud, get, post):
    how = {"status": 503, "body": "<b>no</b>"}
    assert post("/misbehave", how).json() == how
    assert post(SECRET_INFO, ASK).status_code == 503
    assert "&lt;b&gt;no&lt;/b&gt;" in get("/")
    assert post("/misbehave", {"stauts": 503}).status_code == 422
    assert post(SECRET_INFO, ASK).status_code == 503, "a mistake changes nothing"
    for nothing in (b"null", b"{}", b""):
        cloud.misbehave(status=503)
        post("/misbehave", data=nothing, headers={"Content-Type": "application/json"})
        assert post(SECRET_INFO, ASK).status_code == 200


def test_misbehave_takes_what_a_person_types(cloud, post):
    # curl -d calls it a form.
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert post("/misbehave", data='{"status": 500, "times": 1}', headers=form).json()["status"] == 500
    assert [post(SECRET_INFO, ASK).status_code for _ in range(2)] == [500, 200]


@pytest.mark.parametrize(
    "typed, why",
    [
        ("status=500", "the body is not JSON"),
        ("500", "the body must be a JSON object"),
        ('{"delay": 1e309}', "delay must be a finite number"),
        ('{"one_of": [{"pause": NaN}]}', "one_of.0.pause must be a finite number"),
        ('{"stauts": 503}', "stauts is not a field of this call"),
    ],
)
def test_misbehave_says_what_is_wrong_with_it(cloud, post, typed, why):
    answer = post("/misbehave", data=typed)
    assert answer.status_code == 422 and answer.json()["message"] == f"POST /misbehave: {why}"
    assert cloud.state()["misbehaviour"] == {}


def test_misbehave_names_what_it_does_not_know(cloud):
    with pytest.raises(ValueError, match="certifcate"):
        cloud.misbehave(certifcate="expired")
    with pytest.raises(ValueError, match="expired"):
        cloud.misbehave(certificate="old")


# Certificates


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize(
    "kind, why",
    [
        ("expired", "certificate has expired"),
        ("not-yet-valid", "certificate is not yet valid"),
        ("foreign", "unable to get local issuer certificate"),
        ("misnamed", "mismatch"),
    ],
)
def test_a_bad_certificate_receives_nothing(cloud, kind, why, host):
    url = f"https://{host}:{address(cloud)[1]}{SECRET_INFO}"
    requests.post(url, json=ASK, verify=str(cloud.ca_pem), timeout=10).raise_for_status()
    seen = len(cloud.calls())
    cloud.misbehave(certificate=kind)
    with pytest.raises(requests.exceptions.SSLError, match=why):
        requests.post(url, json=ASK, verify=str(cloud.ca_pem), timeout=10)
    assert len(cloud.calls()) == seen
    cloud.behave()
    assert requests.post(url, json=ASK, verify=str(cloud.ca_pem), timeout=10).json()["code"] == "200"


def test_a_bad_certificate_for_the_next_handshakes_only(cloud):
    cloud.misbehave(certificate="expired", times=2)
    for _ in range(2):
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(cloud)
    connect(cloud).close()


def test_certificates_have_realistic_dates():
    with Cloud(issued_days_ago=30) as cloud:
        with connect(cloud) as tls:
            leaf = x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))
        pem, der = cloud.ca_pem.read_bytes(), cloud.ca_der
    root = x509.load_der_x509_certificate(der)
    assert x509.load_pem_x509_certificate(pem) == root
    now = time.time()
    days = [
        (date.timestamp() - now) / 86400 for date in (leaf.not_valid_before_utc, leaf.not_valid_after_utc)
    ]
    assert days == [pytest.approx(-30, abs=0.1), pytest.approx(60, abs=0.1)]
    assert 2000 < root.not_valid_before_utc.year < time.gmtime().tm_year
    assert time.gmtime().tm_year + 5 < root.not_valid_after_utc.year < time.gmtime().tm_year + 20
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["localhost", "127.0.0.1", "::1", "box.localhost"]
