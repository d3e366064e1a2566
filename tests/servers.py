"""Servers that do exactly what a test tells them, byte by byte, and tell afterwards what they saw.

The path of a URL is the script of its answer: see tests/lib/told.py, which writes such URLs on
both machines and lists the steps. Any other path is answered with the request as it came, in
JSON. What a server saw is read from a port of its own, so that reading it changes nothing.
"""

import contextlib
import datetime
import hashlib
import http.server
import ipaddress
import json
import socket
import ssl
import struct
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tools.cloud.certificates import DAY, make_root

NTP_EPOCH = 2208988800  # Unix time 0 in seconds since 1900


class Server:
    """A server on a port of its own; TLS if it is given a context."""

    def __init__(self, context=None, family=socket.AF_INET):
        self._context = context
        self._seen = []
        self._asked = {}
        self._streams = []
        self._stop = threading.Event()
        self._listener = socket.create_server(
            ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family
        )
        # A small window, so that a client's writes are taken in part, and have to wait.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for s in (self._listener, *self._streams):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def seen(self):
        return self._seen

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self._listener.accept()
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._context:
                    stream = self._context.wrap_socket(
                        stream, server_side=True, do_handshake_on_connect=False
                    )
                seen = {"received": [], "requests": 0, "handshake": "", "client_left": False, "over": False}
                self._seen.append(seen)
                self._streams.append(stream)
                thread = threading.Thread(target=self._serve, args=(stream, seen), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, stream, seen):
        try:
            if self._context:
                stream.do_handshake()
            while True:
                head, body = self._request(stream, seen)
                seen["requests"] += 1
                self._answer(stream, seen, head, body)
        except EOFError:
            pass
        except OSError as e:
            if self._context and not seen["received"]:
                seen["handshake"] = str(e)
                with contextlib.suppress(OSError):
                    while socket.socket.recv(stream, 4096):
                        pass
            seen["client_left"] = True
        finally:
            seen["over"] = True
            stream.close()

    def _receive(self, stream, seen):
        """What one recv() gives: with TLS, one record."""
        data = stream.recv(65536)
        if not data:
            seen["client_left"] = True
            raise EOFError
        if len(seen["received"]) < 20:  # the VM has to read it too
            seen["received"].append(data[:500].decode("latin-1"))
        return data

    def _request(self, stream, seen):
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive(stream, seen)
        head, _, body = data.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            name, _, value = line.partition(b": ")
            if name == b"content-length":
                while len(body) < int(value):
                    body += self._receive(stream, seen)
            elif name == b"transfer-encoding":
                while not body.endswith(b"0\r\n\r\n"):
                    body += self._receive(stream, seen)
        return head.decode("latin-1"), body.decode("latin-1")

    def _answer(self, stream, seen, head, body):
        path = head.split(" ")[1].partition("?")[0]
        try:
            attempts = json.loads(bytes.fromhex(path.rpartition("/")[2]))
        except ValueError:
            sha256 = hashlib.sha256(body.encode("latin-1")).hexdigest()
            echo = json.dumps({"head": head, "body": body[:9999], "sha256": sha256})
            attempts = [
                [
                    f"HTTP/1.1 200 OK\r\nContent-Length: {len(echo)}\r\n\r\n",
                    "" if head.startswith("HEAD ") else echo,
                ]
            ]
        n = self._asked[path] = self._asked.get(path, 0) + 1
        for step in attempts[min(n, len(attempts)) - 1]:
            self._step(stream, seen, step)

    def _step(self, stream, seen, step):
        if isinstance(step, str):
            stream.sendall(step.encode("latin-1"))
            return
        if not isinstance(step, list):
            self._stop.wait(step)
            return
        name, *rest = step
        if name == "repeat":
            text, count = rest
            stream.sendall(text.encode("latin-1") * count)
        elif name == "drip":
            text, pause = rest
            for c in text.encode("latin-1"):
                stream.sendall(bytes([c]))
                self._stop.wait(pause)
        elif name == "count":
            text, count = rest
            stream.sendall("".join(text % n for n in range(count)).encode("latin-1"))
        elif name == "silent":
            while True:
                self._receive(stream, seen)
        elif name in ("close", "cut"):
            if name == "close" and self._context:
                stream.settimeout(0.05)  # the client need not answer the goodbye
                with contextlib.suppress(OSError):
                    stream.unwrap()
                stream.settimeout(None)
            stream.shutdown(socket.SHUT_WR)
            while stream.recv(65536):
                pass
            seen["client_left"] = True
            raise EOFError
        elif name == "reset":
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            seen["client_left"] = True  # it has no choice
            raise EOFError
        else:
            raise AssertionError(step)


class Proxy:
    """Hands on what a server says a byte at a time, and what its client says at once."""

    def __init__(self, port, pause):
        self._port = port
        self._pause = pause
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()

    def _run(self):
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            with client, socket.create_connection(("127.0.0.1", self._port)) as server:
                client.setblocking(False)
                server.setblocking(False)
                while not self._stop.wait(self._pause):
                    for source, sink, size in ((client, server, 65536), (server, client, 1)):
                        with contextlib.suppress(BlockingIOError):
                            data = source.recv(size)
                            if not data:
                                return
                            sink.sendall(data)


class _Tells(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps(self.server.servers[self.path].seen()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def tells():
    """The port that tells what each server saw."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Tells) as told:
        told.servers = {}
        told.daemon_threads = True
        thread = threading.Thread(target=told.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield told
        told.shutdown()
        thread.join()


@contextlib.contextmanager
def _running(tells, context=None, family=socket.AF_INET, **more):
    scheme = "https" if context else "http"
    host = "[::1]" if family == socket.AF_INET6 else "127.0.0.1"
    with Server(context, family) as server:
        path = f"/{server.port}"
        tells.servers[path] = server
        yield {
            "url": f"{scheme}://{host}:{server.port}",
            "seen": f"http://127.0.0.1:{tells.server_port}{path}",
            **more,
        }
        del tells.servers[path]


@pytest.fixture
def server(tells):
    """A plain HTTP server: its url, and where it tells what it saw."""
    with _running(tells) as told:
        yield told


@pytest.fixture
def other_server(tells):
    """A second origin."""
    with _running(tells) as told:
        yield told


@pytest.fixture
def ipv6_server(tells):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with _running(tells, family=socket.AF_INET6) as told:
        yield told


@pytest.fixture
def dead_url():
    """The URL of a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def deaf_url():
    """The URL of a port on which connections are made, and nothing is ever read."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        yield f"http://127.0.0.1:{s.getsockname()[1]}"


@pytest.fixture
def full_url():
    """The URL of a port that answers no more attempts to connect: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        while True:
            s = stack.enter_context(socket.socket())
            s.settimeout(0.2)
            try:
                s.connect(listener.getsockname())
            except TimeoutError:
                break
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


class Authorities:
    """The roots of the tests, and every certificate that a server may show."""

    def __init__(self, folder):
        now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
        root, other, foreign = make_root("tests"), make_root("more tests"), make_root("strangers")
        self.ends = int((now + 355 * DAY).timestamp())
        self.starts = int((now - 10 * DAY).timestamp())
        self.future = int((now + 30 * DAY).timestamp())
        pem, other_pem = root.cert_pem.bytes(), other.cert_pem.bytes()
        (folder / "roots").mkdir()
        for name, data in (
            ("ca.pem", pem),
            ("other.pem", other_pem),
            ("both.pem", b"the second one\n" + other_pem + b"\nand ours\r\n" + pem.replace(b"\n", b"\r\n")),
            ("ca.der", ssl.PEM_cert_to_DER_cert(pem.decode())),
            ("roots/a.der", ssl.PEM_cert_to_DER_cert(other_pem.decode())),
            ("roots/b.pem", pem),
        ):
            (folder / name).write_bytes(data)
        self.folder = folder
        past, good = (now - 100 * DAY, now - DAY), (now - 10 * DAY, now + 355 * DAY)
        future = (now + 30 * DAY, now + 395 * DAY)
        self.contexts = {
            kind: _context(root_of_it.issue_cert(name, not_before=first, not_after=last))
            for kind, root_of_it, name, (first, last) in (
                ("good", root, "127.0.0.1", good),
                ("named", root, "localhost", good),
                ("expired", root, "127.0.0.1", past),
                ("future", root, "127.0.0.1", future),
                ("foreign", foreign, "127.0.0.1", good),
                ("misnamed", root, "other.example", good),
                ("foreign future", foreign, "127.0.0.1", future),
                ("misnamed future", root, "other.example", future),
            )
        }
        self.contexts["self-signed"] = _made_by_hand(folder, "127.0.0.1", *good)
        self.contexts["client's future"] = _made_by_hand(
            folder, "127.0.0.1", *future, root, x509.ExtendedKeyUsageOID.CLIENT_AUTH
        )


def _context(leaf):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


def _made_by_hand(folder, host, first, last, root=None, use=None):
    """The context of a certificate that trustme would not make: signed by itself, or for another use."""
    own = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    issuer, key = name, own
    if root is not None:
        issuer = x509.load_pem_x509_certificate(root.cert_pem.bytes()).subject
        key = load_pem_private_key(root.private_key_pem.bytes(), None)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(last)
        .add_extension(names, critical=False)
    )
    if use is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=True)
    pem = folder / "by-hand.pem"
    pem.write_bytes(
        own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


@pytest.fixture(scope="session")
def authorities(tmp_path_factory):
    return Authorities(tmp_path_factory.mktemp("authorities"))


def _tls(tells, authorities, kind):
    return _running(
        tells,
        authorities.contexts[kind],
        ca=str(authorities.folder / "ca.pem"),
        starts=authorities.starts,
        ends=authorities.ends,
    )


@pytest.fixture
def tls(tells, authorities):
    """An HTTPS server with a good certificate for 127.0.0.1, and the path of its root."""
    with _tls(tells, authorities, "good") as told:
        yield told


@pytest.fixture
def named_tls(tells, authorities):
    """An HTTPS server whose certificate is for localhost, called by that name."""
    with _tls(tells, authorities, "named") as told:
        yield dict(told, url=told["url"].replace("127.0.0.1", "localhost"))


@pytest.fixture
def bad_tls(tells, authorities):
    """{kind: HTTPS server} for every certificate that must be refused."""
    with contextlib.ExitStack() as stack:
        yield {
            kind: stack.enter_context(_tls(tells, authorities, kind))
            for kind in authorities.contexts
            if kind not in ("good", "named")
        }


@pytest.fixture
def dripping_tls(tls):
    """A good HTTPS server behind a line of ten bytes a second."""
    port = int(tls["url"].rpartition(":")[2])
    with Proxy(port, 0.1) as proxy:
        yield dict(tls, url=f"https://127.0.0.1:{proxy.port}")


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


def _seconds(date):
    return int(date.timestamp())


@pytest.fixture(scope="session")
def dated():
    """[[DER in hex, notBefore, notAfter]], the dates read by other people's code."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "n" * 60)])
    found = []
    for first, last in (
        ((2026, 11, 12, 1, 2, 3), (2027, 11, 12, 23, 59, 59)),
        ((1970, 1, 1, 0, 0, 0), (2049, 12, 31, 23, 59, 59)),  # UTCTime's last
        ((2000, 2, 29, 12, 0, 0), (2050, 1, 1, 0, 0, 0)),  # GeneralizedTime's first
        ((2051, 3, 1, 0, 0, 0), (2106, 2, 7, 6, 28, 16)),  # past 32 bits
    ):
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.datetime(*first))
            .not_valid_after(datetime.datetime(*last))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("n" * 60)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        found += [certificate, _version_1(certificate)]
    return [
        [
            certificate.public_bytes(Encoding.DER).hex(),
            _seconds(certificate.not_valid_before_utc),
            _seconds(certificate.not_valid_after_utc),
        ]
        for certificate in found
    ]


def _version_1(certificate):
    """The certificate as it was before there were versions and extensions; its signature no longer fits."""
    version = bytes.fromhex("a003020102")
    tbs = certificate.tbs_certificate_bytes
    body = tbs[4:]  # after 30 82 and two octets of length
    assert tbs[1] == 0x82 and body.startswith(version)
    extensions = body.rindex(b"\xa3", 0, body.index(bytes.fromhex("0603551d11")))
    body = body[len(version) : extensions]
    whole = certificate.public_bytes(Encoding.DER)
    tail = whole[4 + len(tbs) :]
    return x509.load_der_x509_certificate(_sequence(_sequence(body) + tail))


def _sequence(body):
    return b"\x30\x82" + len(body).to_bytes(2, "big") + body


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
        "2036": {"time": 2090000000},
        "silent": None,
    }
    stop = threading.Event()
    sockets = {}
    threads = []
    for name, answer in answers.items():
        s = sockets[name] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.bind(("127.0.0.1", 0))
        s.settimeout(0.05)
        if answer is not None:
            threads.append(threading.Thread(target=_tell_time, args=(s, stop, {"time": time_told, **answer})))
            threads[-1].start()
    yield {
        "time": time_told,
        **{name: f"127.0.0.1:{s.getsockname()[1]}" for name, s in sockets.items()},
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
