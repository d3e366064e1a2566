"""bce-auth-v1, with Baidu's own SDK as the judge of what the library signs and sends.

The library's part runs on both machines, as in tests/lib.
"""

import http.server
import json
import random
import threading
import time
from urllib.parse import parse_qsl

import pytest
from baidubce.auth.bce_credentials import BceCredentials
from baidubce.auth.bce_v1_signer import sign

AKS = ["100000691930", "0c572aef-3f38-4194", "音箱 1/甲", "a%2Fb", "~!*'()", ";/?:@&=+$#|"]
SIGNED = (b"host", b"x-bce-date")
# Nothing beyond U+FFFF: MicroPython's json leaves an escaped surrogate pair as two characters.
ODD = "aZ09-._~ !\"#$%&'()*+,/:;<=>?@[\\]^`{|}中文设备é\t\x7f"


def peer(access_key_id, secret, method, path, params, headers, timestamp, expires=1800):
    """What the SDK makes of the arguments of authorization().

    Two differences are theirs: they would sign a parameter named authorization, and x-bce-* headers
    that are not in the list. Nor do they sort that list, or take from it what the request does not have.
    """
    headers = {name.encode(): value for name, value in headers.items()}
    signed = sorted({name.lower() for name in headers if name.lower() in SIGNED and headers[name].strip()})
    headers = {name: value for name, value in headers.items() if name.lower() in SIGNED}
    params = {name: value for name, value in params.items() if name.lower() != "authorization"}
    credentials = BceCredentials(access_key_id, secret)
    return sign(
        credentials, method.encode(), path.encode(), headers, params, timestamp, expires, signed
    ).decode()


def some(shortest=0, longest=12, letters=ODD):
    return "".join(random.choices(letters, k=random.randint(shortest, longest)))


def some_name(name):
    return random.choice([name, name.lower(), name.upper(), name.title()])


def some_request():
    params = {
        some(1): random.choice([some(), random.getrandbits(40), None]) for _ in range(random.randrange(6))
    }
    if random.random() < 0.2:
        params[some_name("authorization")] = some()
    headers = {some_name("Host"): random.choice(["127.0.0.1:8443", "h" + some(), f" {some()}a\t"])}
    if random.random() < 0.9:
        headers[some_name("x-bce-date")] = random.choice(["2027-01-15T08:00:00Z", "d" + some()])
    for name in ("Content-Type", "Content-Length", "X-Bce-Request-Id", "x-bce-meta"):
        if random.random() < 0.3:
            headers[some_name(name)] = some(1)
    return [
        some(1, 40, "0123456789abcdef"),
        some(1, 80, ODD),  # the HMAC's key: short, long, not ASCII
        random.choice(["GET", "PUT", "POST", "DELETE", "HEAD"]),
        "/" + some(letters="abc/%2F%E4-._~;:@"),
        params,
        headers,
        random.randrange(946684800, 4102444800),
        random.choice([1, 1800, 86400]),
    ]


def test_the_sdk_signs_the_same(beside_peers):
    for _ in range(6):  # the VM's heap is small
        requests = [some_request() for _ in range(50)]
        beside_peers("bce_signatures", cases=[[request, peer(*request)] for request in requests])


def test_signatures_at_the_ends_of_days_months_and_years(beside_peers):
    stamps = [951782399, 951782400, 1709164799, 1709251200, 1735689599, 1735689600, 2147483647, 2147483648]
    requests = [["id", "key", "GET", "/", {}, {"host": "h"}, stamp] for stamp in stamps]
    beside_peers("bce_signatures", cases=[[request, peer(*request)] for request in requests])


class SigningJudge(http.server.BaseHTTPRequestHandler):
    """Signs what has come over the wire with the SDK, and answers as the document does."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do(self):
        path, _, query = self.path.partition("?")
        params = dict(parse_qsl(query, keep_blank_values=True))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: self.headers[name] for name in ("Host", "x-bce-date")}
        stamp = self.headers["Authorization"].split("/")[2]
        seconds = int(time.mktime(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))) - time.timezone
        expected = peer("AKID", "SECRET", self.command, path, params, headers, seconds)
        answer = {"code": "SignatureDoesNotMatch", "message": expected}
        if (
            self.headers["Authorization"] == expected
            and self.headers["Content-Type"] == "application/json; charset=utf-8"
            and abs(seconds - time.time()) < 60
            and stamp == self.headers["x-bce-date"]
            and self.headers["Host"] == f"127.0.0.1:{self.server.server_port}"
        ):
            self.server.calls.append((self.command, path, params, body.decode()))
            answer = {"code": 0, "message": "", "result": []}
        answer = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PUT = do_POST = do_DELETE = do

    def log_message(self, *_):
        pass


@pytest.fixture
def judge():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SigningJudge) as server:
        server.daemon_threads = True
        server.block_on_close = False
        server.calls = []
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("session", ["muster", "requests"])
def test_the_sdk_agrees_with_what_each_session_sends(beside_peers, judge, session):
    beside_peers(
        "baidu_calls",
        base_url=f"http://127.0.0.1:{judge.server_port}",
        session=session,
        aks=AKS,
    )
    from baidubce.utils import normalize_string

    def quoted(text):
        return normalize_string(text).decode()

    vendor = {"fc": "厂商 /1", "pk": "p?k"}
    base = "/v2/manage/device"
    expected = []
    for ak in AKS:
        device = "/".join([base, quoted(vendor["fc"]), quoted(vendor["pk"]), quoted(ak)])
        body = {**vendor, "devices": [f"{ak},钥"]}
        expected += [
            ("POST", base, {}, body),
            ("GET", device, {}, None),
            ("PUT", f"{device}/disable", {}, None),
            ("PUT", f"{device}/enable", {}, None),
            ("DELETE", device, {}, None),
        ]
    expected.append(
        ("GET", base, {**vendor, "state": "BAN", "order": "desc", "pageNo": "3", "pageSize": "50"}, None)
    )
    expected.append(("GET", base, {**vendor, "pageNo": "1", "pageSize": "10"}, None))
    found = [(*call[:3], json.loads(call[3]) if call[3] else None) for call in judge.calls]
    assert found == expected
