"""The fixtures of tests/endure/servers.py, whose servers do exactly what a test tells them, byte by byte.

tests/lib/scripts.py writes the URLs that tell them, on both machines. What a server saw is read from a port
of its own, so that reading it changes nothing.
"""

import contextlib
import datetime
import functools
import http.server
import json
import socket
import struct
import threading

import pytest
from address import here, only_here
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from endure.authorities import Authorities, ManyRoots, element
from endure.servers import DrippingProxy, RudeServer, ScriptedServer, full_port

from tools.common.certificates import make_ca, make_server
from tools.common.paths import ROOT

NTP_EPOCH = 2208988800  # Unix time 0 in seconds since 1900


class Quiet(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass


class SeenHandler(Quiet):
    def do_GET(self):
        _, port, *told = self.path.split("/")
        scripted = self.server.scripted["/" + port]
        if told:
            getattr(scripted, told[0])(*told[1:])  # go, or show and what
        body = json.dumps(scripted.seen()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class FilesHandler(Quiet, http.server.SimpleHTTPRequestHandler):
    pass


class SeenServer(http.server.ThreadingHTTPServer):
    """Tells what each of the scripted servers saw, by path, and lets it go on."""

    daemon_threads = True

    def __init__(self):
        super().__init__((here(), 0), SeenHandler)
        self.scripted = {}


@contextlib.contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with server:
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def seen_server():
    with serving(SeenServer()) as server:
        yield server


@pytest.fixture
def repository():
    """The address at which the repository's files are served."""
    handler = functools.partial(FilesHandler, directory=ROOT)
    with serving(http.server.ThreadingHTTPServer((here(), 0), handler)) as server:
        yield f"http://{here()}:{server.server_port}"


@contextlib.contextmanager
def running(seen_server, context=None, family=socket.AF_INET, contexts=(), **more):
    """Where a scripted server is, and where it tells what it saw."""
    scheme = "https" if context else "http"
    host = "[::1]" if family == socket.AF_INET6 else here()
    with ScriptedServer(context, family, contexts) as server:
        path = f"/{server.port}"
        seen_server.scripted[path] = server
        yield {
            "url": f"{scheme}://{host}:{server.port}",
            "seen": f"http://{here()}:{seen_server.server_port}{path}",
            **more,
        }
        del seen_server.scripted[path]


@pytest.fixture
def server(seen_server):
    """A plain HTTP server: its url, and where it tells what it saw."""
    with running(seen_server) as address:
        yield address


@pytest.fixture
def other_server(seen_server):
    """A second origin."""
    with running(seen_server) as address:
        yield address


@pytest.fixture
def ipv6_server(seen_server):
    only_here()
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with running(seen_server, family=socket.AF_INET6) as address:
        yield address


@pytest.fixture
def dead_url():
    """The URL of a port on which nobody listens."""
    with socket.create_server((here(), 0)) as s:
        port = s.getsockname()[1]
    return f"http://{here()}:{port}"


@pytest.fixture
def deaf_url():
    """The URL of a port on which connections are made, and nothing is ever read."""
    with socket.create_server((here(), 0)) as s:
        yield f"http://{here()}:{s.getsockname()[1]}"


@pytest.fixture
def full_url():
    """The URL of a port that answers no more attempts to connect: its queue is full."""
    with full_port() as port:
        yield f"http://{here()}:{port}"


@pytest.fixture(scope="session")
def authorities(tmp_path_factory):
    return Authorities(tmp_path_factory.mktemp("authorities"))


def running_tls(seen_server, authorities, kind):
    return running(
        seen_server,
        authorities.contexts[kind],
        ca=str(authorities.folder / "ca.pem"),
        starts=authorities.starts,
        ends=authorities.ends,
    )


@pytest.fixture
def tls(seen_server, authorities):
    """An HTTPS server with a good certificate for its address, and the path of its root."""
    with running_tls(seen_server, authorities, "good") as address:
        yield address


@pytest.fixture
def named_tls(seen_server, authorities):
    """An HTTPS server whose certificate is for localhost, called by that name."""
    only_here()
    with running_tls(seen_server, authorities, "named") as address:
        yield dict(address, url=address["url"].replace(here(), "localhost"))


@pytest.fixture
def bad_tls(seen_server, authorities):
    """{kind: HTTPS server} for every certificate that must be refused."""
    with contextlib.ExitStack() as stack:
        yield {
            kind: stack.enter_context(running_tls(seen_server, authorities, kind))
            for kind in authorities.contexts
            if kind not in ("good", "named")
        }


@pytest.fixture
def odd_tls(seen_server, authorities):
    """{kind: HTTPS server} that MicroPython's TLS cannot speak to, and one, "good", that it can."""
    with contextlib.ExitStack() as stack:
        yield {
            kind: stack.enter_context(running(seen_server, context, ca=str(authorities.folder / "odd.pem")))
            for kind, context in authorities.odd().items()
        }


@pytest.fixture
def dripping_tls(tls):
    """A good HTTPS server behind a line of ten bytes a second."""
    port = int(tls["url"].rpartition(":")[2])
    with DrippingProxy(port, 0.1) as proxy:
        yield dict(tls, url=f"https://{here()}:{proxy.port}")


@pytest.fixture
def warning_url():
    """The URL of a server that answers a ClientHello with warnings of TLS, one after another."""
    with RudeServer() as server:
        yield server.then(["hello"], ["endless", "\x15\x03\x03\x00\x02\x01\x5a"])


@pytest.fixture
def roots(authorities):
    """Paths of CA certificates in every form: pem, der, both in one, a directory, another's alone."""
    folder = authorities.folder
    return {
        "pem": str(folder / "ca.pem"),
        "der": str(folder / "ca.der"),
        "both": str(folder / "both.pem"),
        "directory": str(folder / "roots"),
        "other": str(folder / "other.pem"),
    }


@pytest.fixture(scope="session")
def many_roots(tmp_path_factory):
    return ManyRoots(tmp_path_factory.mktemp("roots"))


def running_many(seen_server, many_roots):
    contexts = many_roots.contexts
    folder, starts = str(many_roots.folder), many_roots.starts
    return running(seen_server, contexts["00"], contexts=contexts, folder=folder, starts=starts)


@pytest.fixture
def moving_tls(seen_server, many_roots):
    """An HTTPS server that ends in 00.der of a folder, and can be told to change to others of ManyRoots."""
    with running_many(seen_server, many_roots) as address:
        yield address


@pytest.fixture
def other_moving_tls(seen_server, many_roots):
    with running_many(seen_server, many_roots) as address:
        yield address


@pytest.fixture(scope="session")
def unusable_roots(tmp_path_factory):
    """{kind: path} of roots, each good in itself, that mbedTLS does not take."""
    folder = tmp_path_factory.mktemp("unusable")
    only = x509.NameConstraints([x509.DNSName("example")], None)
    paths = {}
    for kind, root in (
        ("constrained", make_ca("a root", path_length=None, extensions=[(only, True)])),
        ("ed25519", make_ca("a root", path_length=None, key=ed25519.Ed25519PrivateKey.generate())),
    ):
        path = folder / f"{kind}.der"
        path.write_bytes(root.der)
        paths[kind] = str(path)
    return paths


@pytest.fixture(scope="session")
def dated():
    """[[DER in hex, notBefore, notAfter]], the dates read by other people's code."""
    found = []
    for dates in (
        ((2026, 11, 12, 1, 2, 3), (2027, 11, 12, 23, 59, 59)),
        ((1970, 1, 1, 0, 0, 0), (2049, 12, 31, 23, 59, 59)),  # UTCTime's last
        ((2000, 2, 29, 12, 0, 0), (2050, 1, 1, 0, 0, 0)),  # GeneralizedTime's first
        ((2051, 3, 1, 0, 0, 0), (2106, 2, 7, 6, 28, 16)),  # past 32 bits
    ):
        first, last = (datetime.datetime(*date) for date in dates)
        certificate = make_server("n" * 60, dates=(first, last)).chain[0]
        found += [certificate, _version_1(certificate)]
    return [
        [
            certificate.public_bytes(Encoding.DER).hex(),
            int(certificate.not_valid_before_utc.timestamp()),
            int(certificate.not_valid_after_utc.timestamp()),
        ]
        for certificate in found
    ]


def _version_1(certificate):
    """The certificate as it was before there were versions and extensions; its signature no longer fits."""
    version = bytes.fromhex("a003020102")
    tbs = certificate.tbs_certificate_bytes
    body = tbs[4:]  # after 30 82 and two octets of length
    assert tbs[1] == 0x82 and body.startswith(version)
    extensions = body.rindex(b"\xa3", 0, body.index(bytes.fromhex("0603551d")))
    body = body[len(version) : extensions]
    whole = certificate.public_bytes(Encoding.DER)
    tail = whole[4 + len(tbs) :]
    return x509.load_der_x509_certificate(element(0x30, element(0x30, body) + tail))


@pytest.fixture
def ntp():
    """{what it does: "host:port"} of SNTP servers, and under "time" the Unix time that they tell."""
    time_told = 1893456000  # 2030-01-01
    answers = {
        "good": {},
        "other nonce": {"nonce": b"\0" * 8},
        "no stratum": {"stratum": 0},
        "stratum 16": {"stratum": 16},
        "unsynchronised": {"first": 0xE4},
        "a client": {"first": 0x23},
        "short": {"size": 47},
        "past": {"time": 1600000000},
        "nothing": {"time": -NTP_EPOCH},
        "2036": {"time": 2090000000},
        "silent": None,
    }
    stop = threading.Event()
    sockets = {}
    threads = []
    for name, answer in answers.items():
        s = sockets[name] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind((here(), 0))
        s.settimeout(0.05)
        if answer is not None:
            threads.append(threading.Thread(target=_tell_time, args=(s, stop, {"time": time_told, **answer})))
            threads[-1].start()
    yield {
        "time": time_told,
        **{name: f"{here()}:{s.getsockname()[1]}" for name, s in sockets.items()},
    }
    stop.set()
    for thread in threads:
        thread.join()
    for s in sockets.values():
        s.close()


def _tell_time(s, stop, answer):
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            request, address = s.recvfrom(64)
            stamp = struct.pack("!II", (answer["time"] + NTP_EPOCH) % (1 << 32), 0)
            nonce = answer.get("nonce", request[40:48])
            head = bytes([answer.get("first", 0x24), answer.get("stratum", 2), 6, 0xEC])
            told = head + bytes(20) + nonce + stamp + stamp
            s.sendto(told[: answer.get("size", 48)], address)
