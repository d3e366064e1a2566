"""The roots command against real TLS servers, each of which shows another chain."""

import contextlib
import datetime
import json
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import certifi
import pytest
import trustme
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from devices import DEVICE
from endure.servers import DrippingProxy, ScriptedServer

from tools.cli.main import main
from tools.common.certificates import DAY, make_ca, make_server, utc_now
from tools.common.vm import find_micropython
from tools.factory.roots import COMMON, FOLDER
from tools.factory.tls_server import split

NAMES = ("localhost", "127.0.0.1", "::1")
NOW = datetime.datetime.now(datetime.timezone.utc)
micropython = find_micropython()
needs_micropython = pytest.mark.skipif(micropython is None, reason="needs MicroPython")


def run(*arguments):
    done = CliRunner().invoke(main, ["roots", *map(str, arguments)])
    # A sentence and a status: what else is raised would be a traceback.
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def der(pem):
    return ssl.PEM_cert_to_DER_cert(pem.bytes().decode())


def context(folder, key, *chain):
    """A server's TLS context, which notes the names that it is asked for."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (folder / "server.pem").write_bytes(b"".join([key, *chain]))
    made.load_cert_chain(folder / "server.pem")
    made.asked = []
    made.sni_callback = lambda stream, name, context: made.asked.append(name)
    return made


def root_of_the_tests():
    """Another one each time, all of one name."""
    return trustme.CA(organization_name="muster", organization_unit_name="Root of the tests")


class Chains:
    """A root, an intermediate CA under it, and contexts by what they show."""

    def __init__(self, folder):
        made = root_of_the_tests()
        self.root, self.stranger = made.cert_pem, make_ca("Root of strangers")
        between = made.create_child_ca()
        self.between = between.cert_pem
        good = (NOW - 10 * DAY, NOW + 80 * DAY)
        self.contexts = {}
        for kind, names, (first, last), rest in (
            ("good", NAMES, good, [self.between]),
            ("expired", NAMES, (NOW - 9 * DAY, NOW - DAY), [self.between]),
            ("not yet valid", NAMES, (NOW + DAY, NOW + 9 * DAY), [self.between]),
            ("misnamed", ["other.example"], good, [self.between]),
            ("misnamed and expired", ["other.example"], (NOW - 9 * DAY, NOW - DAY), [self.between]),
            ("lonely", NAMES, good, []),
        ):
            leaf = between.issue_cert(*names, not_before=first, not_after=last)
            pems = [leaf.private_key_pem, leaf.cert_chain_pems[0], *rest]
            self.contexts[kind] = context(folder, *(pem.bytes() for pem in pems))
        for kind, name in (("foreign with its root", "localhost"), ("foreign and misnamed", "other.example")):
            leaf = make_server(name, signer=self.stranger)
            self.contexts[kind] = context(folder, leaf.key_pem, leaf.pem, self.stranger.pem)
        self.by_itself, key = by_itself("Just \x1b[31mme")
        self.contexts["by itself"] = context(folder, key, self.by_itself)


def by_itself(name):
    """A certificate for localhost with a key of a kind that mbedTLS does not know, and the key."""
    key = ed25519.Ed25519PrivateKey.generate()
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, None)
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM), private


@pytest.fixture(scope="module")
def chains(tmp_path_factory):
    return Chains(tmp_path_factory.mktemp("chains"))


@pytest.fixture
def store(chains, tmp_path):
    path = tmp_path / "store.pem"
    path.write_bytes(make_ca("another").pem + chains.root.bytes())
    return path


@pytest.fixture
def show(chains):
    """show(kind) runs a server with that chain until the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda kind: stack.enter_context(ScriptedServer(chains.contexts[kind]))


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def test_the_root_of_a_good_server_is_written_and_proved(chains, store, show, tmp_path):
    server, folder = show("good"), tmp_path / "a" / "roots"
    asked = chains.contexts["good"].asked
    asked.clear()
    arguments = (f"localhost:{server.port}", "--store", store, "-o", folder)
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert written == {"Root_of_the_tests.der": der(chains.root)}
    assert "Root_of_the_tests.der: written" in done.stdout and "WRONG" not in done.stdout
    root, between = (x509.load_pem_x509_certificate(pem.bytes()) for pem in (chains.root, chains.between))
    assert f"signed by {root.subject.rfc4514_string()}, ecdsa-with-SHA256" in done.stdout
    assert between.subject.rfc4514_string() in done.stdout and "EC secp256r1, valid from" in done.stdout
    received = [line for connection in server.seen() for line in connection["received"]]
    if micropython:
        assert "mbedTLS" in done.stdout
        assert [line.split("\r\n")[0] for line in received] == ["HEAD / HTTP/1.1"]
        assert asked == ["localhost"] * 3
    assert "was there already" in run(*arguments).stdout


def test_a_program_reads_what_was_found(chains, store, show, tmp_path):
    good, lonely = f"localhost:{show('good').port}", f"localhost:{show('lonely').port}"
    done = run(good, lonely, "--store", store, "-o", tmp_path / "roots", "--json")
    found, refused = json.loads(done.stdout)
    root = x509.load_pem_x509_certificate(chains.root.bytes())
    assert done.exit_code == 1 and (found["host"], found["new"], found["error"]) == (good, True, None)
    assert Path(found["file"]).read_bytes() == der(chains.root)
    assert found["root"]["subject"] == root.subject.rfc4514_string() and found["root"]["wrong"] == []
    assert [one["key"] for one in found["sent"]] == ["EC secp256r1"] * 2
    assert refused["root"] is refused["file"] is None and "is missing, which signed" in refused["error"]


def test_two_roots_of_one_name_are_both_kept(chains, store, show, tmp_path):
    earlier = der(root_of_the_tests().cert_pem)
    (tmp_path / "Root_of_the_tests.der").write_bytes(earlier)
    for _ in range(2):
        assert run(f"localhost:{show('good').port}", "--store", store, "-o", tmp_path).exit_code == 0
    assert sorted(path.read_bytes() for path in tmp_path.glob("*.der")) == sorted([earlier, der(chains.root)])


def test_a_ca_of_ones_own_goes_where_all_products_look_only_if_that_is_said(store):
    done = run("localhost:1", "--store", store)
    assert done.exit_code == 2
    assert "give -o FOLDER with --store: every later product trusts what lies in firmware" in done.stderr


def test_a_root_that_is_to_be_shown_is_not_written(store, show, tmp_path):
    done = run("--show", f"localhost:{show('good').port}", "--store", store, "-o", tmp_path / "roots")
    assert done.exit_code == 0 and "Root of the tests" in done.stdout
    assert not (tmp_path / "roots").exists()


def test_an_ipv6_address(store, tmp_path, chains):
    try:
        server = ScriptedServer(chains.contexts["good"], socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with server:
        done = run(f"[::1]:{server.port}", "--store", store, "-o", tmp_path)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "Root_of_the_tests.der").exists()


@pytest.mark.parametrize(
    ("kind", "shown", "told"),
    [
        ("expired", ["WRONG: it expired on", "ends in a root"], "it has expired"),
        ("not yet valid", ["WRONG: it is not valid before"], "not valid yet"),
        ("misnamed", ["WRONG: it is for other.example, not for localhost"], "it is for another name"),
        ("misnamed and expired", ["it is for other.example", "it expired on"], "it is for another name"),
        ("lonely", [], "is missing, which signed"),
        ("foreign with its root", ["Root of strangers"], "Root of strangers,O=muster, which is not in"),
        ("foreign and misnamed", ["it is for other.example"], "which is not in"),
        ("by itself", ["Just  [31mme", "Ed25519"], "signed by itself"),
    ],
)
def test_what_is_wrong_is_shown_and_no_root_written(kind, shown, told, store, show, tmp_path):
    done = run(f"localhost:{show(kind).port}", "--store", store, "-o", tmp_path)
    assert done.exit_code == 1
    assert told in done.stderr and "\x1b" not in done.output
    assert all(words in done.stdout for words in ("sends", "signed by", *shown)), done.stdout
    assert not list(tmp_path.glob("*.der"))


def test_the_missing_issuer_is_named_and_what_to_do(chains, store, show, tmp_path):
    done = run(f"localhost:{show('lonely').port}", "--store", store, "--show")
    between = x509.load_pem_x509_certificate(chains.between.bytes()).subject.rfc4514_string()
    assert f"certificate of {between} is missing" in done.stderr
    assert "--store" in done.stderr and "send the whole chain" in done.stderr


def test_an_intermediate_that_only_the_store_has_does_not_help_a_board(chains, store, show, tmp_path):
    with store.open("ab") as f:
        f.write(chains.between.bytes())
    done = run(f"localhost:{show('lonely').port}", "--store", store, "-o", tmp_path)
    assert done.exit_code == 1 and "does not send the certificate of" in done.stderr
    assert not list(tmp_path.glob("*.der"))


@needs_micropython
def test_what_mbedtls_refuses_is_not_kept(chains, show, tmp_path):
    store = tmp_path / "store.pem"
    store.write_bytes(chains.by_itself)
    done = run(f"localhost:{show('by itself').port}", "--store", store, "-o", tmp_path)
    assert done.exit_code == 1 and "OpenSSL accepts" in done.stderr and "MicroPython does not" in done.stderr
    assert not list(tmp_path.glob("*.der"))


def test_hosts_that_fail_do_not_stop_the_others(store, show, tmp_path):
    done = run(
        f"127.0.0.1:{closed_port()}", "a:b:c", "no-such-host.invalid", f"127.0.0.1:{show('good').port}",
        "--store", store, "-o", tmp_path,
    )  # fmt: skip
    assert done.exit_code == 2  # since one was written wrongly
    errors = done.stderr.splitlines()
    assert [error[:7] for error in errors] == ["Error: "] * 3
    assert "cannot be reached" in errors[0]
    assert "expected HOST, HOST:PORT or [IPv6]:PORT, got 'a:b:c'" in errors[1]
    assert "no-such-host.invalid cannot be looked up" in errors[2]
    assert (tmp_path / "Root_of_the_tests.der").exists()
    assert run(f"127.0.0.1:{closed_port()}").exit_code == 1


def test_a_folder_that_cannot_be_is_told(store, show):
    good = f"localhost:{show('good').port}"
    done = run(good, good, "--store", store, "-o", store / "roots")
    assert done.exit_code == 1 and done.stderr.count("Not a directory") == 2


def test_a_port_that_says_nothing_is_left_in_time():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        start = time.monotonic()
        done = run(f"127.0.0.1:{deaf.getsockname()[1]}", "--timeout", "0.3")
    assert time.monotonic() - start >= 0.3
    assert done.exit_code == 1 and "did not answer within 0.3 s" in done.stderr


def test_a_server_that_drips_is_left_in_time(store, show):
    with DrippingProxy(show("good").port, 0.05) as dripping:
        done = run(f"127.0.0.1:{dripping.port}", "--timeout", "0.5", "--store", store, "--show")
    assert done.exit_code == 1 and "did not answer within 0.5 s" in done.stderr


@pytest.mark.parametrize("wrong", ["inf", "nan", "0", "-1", "1e9"])
def test_a_timeout_that_is_none_is_told(wrong):
    done = run("localhost:1", "--timeout", wrong)
    assert done.exit_code == 2 and "not in the range 0<x<=3600" in done.stderr


def test_a_name_that_is_not_found_is_left_in_time(monkeypatch):
    found = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found.wait())
    done = run("slow.example", "--timeout", "0.2")
    found.set()
    assert done.exit_code == 1 and "the name slow.example was not found within 0.2 s" in done.stderr


@pytest.mark.parametrize("greeting", [b"220 mail.example ESMTP\r\n", b""])
def test_a_server_without_tls(greeting):
    def greet():
        with listener.accept()[0] as stream, contextlib.suppress(ConnectionResetError):
            stream.sendall(greeting)
            stream.shutdown(socket.SHUT_WR)
            while stream.recv(4096):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=greet)
        thread.start()
        done = run(f"127.0.0.1:{listener.getsockname()[1]}")
        thread.join()
    assert done.exit_code == 1 and done.stderr.startswith("Error: TLS with 127.0.0.1:")
    why = "does not speak TLS: check the port" if greeting else "check that it is a TLS server"
    assert why in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("example.com", ("example.com", 443)),
        ("Example.com:8443", ("example.com", 8443)),
        ("https://example.com:11443/", ("example.com", 11443)),
        ("[::1]:8443", ("::1", 8443)),
        ("[::1]", ("::1", 443)),
        ("例子.中国", ("xn--fsqu00a.xn--fiqs8s", 443)),
    ],
)
def test_a_host_as_a_person_writes_it(text, expected):
    assert split(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":443",
        "::1",
        "[::1",
        "a:0",
        "a:65536",
        "a:x",
        "a b",
        "a@b",
        "http://a",
        "a/b",
        "a?b",
        "a..b",
        "x" * 70,
    ],
)
def test_what_is_no_host(text):
    with pytest.raises(ValueError, match=r"expected HOST, HOST:PORT or \[IPv6\]:PORT, got "):
        split(text)


def test_neither_a_host_nor_common():
    done = run()
    assert done.exit_code == 2 and "name a HOST" in done.stderr


def test_a_store_without_certificates(tmp_path):
    for content in (b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        (tmp_path / "store.pem").write_bytes(content)
        done = run("localhost", "--store", tmp_path / "store.pem", "--show")
        assert done.exit_code == 1 and "store.pem holds no certificates" in done.stderr


def labelled():
    """certifi's roots by the labels that Mozilla gave them."""
    parts = Path(certifi.where()).read_text(encoding="utf-8").split('# Label: "')[1:]
    pems = {part.partition('"')[0]: part[part.index("-----BEGIN") :].partition("\n#")[0] for part in parts}
    return {name: ssl.PEM_cert_to_DER_cert(pem) for name, pem in pems.items()}


def test_the_common_roots_are_certifis():
    mozilla = labelled()
    for name in COMMON:
        path = FOLDER / f"{name.replace(' ', '_')}.der"
        assert path.read_bytes() == mozilla[name], name


@pytest.mark.filterwarnings("error")
def test_the_common_roots_are_written(tmp_path):
    done = run("--common", "-o", tmp_path)
    assert done.exit_code == 0 and done.stdout.count("written") == len(COMMON)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in FOLDER.iterdir() if path.stem.replace("_", " ") in COMMON
    }


def test_a_common_root_that_a_store_lacks_is_named(store, tmp_path):
    done = run("--common", "--store", store, "-o", tmp_path / "roots")
    assert done.exit_code == 1 and "the store has no CFCA EV ROOT" in done.stderr
    assert not (tmp_path / "roots").exists()


@needs_micropython
def test_mbedtls_takes_every_common_root():
    program = f"""
import os, tls
for name in os.listdir({str(FOLDER)!r}):
    with open({str(FOLDER)!r} + "/" + name, "rb") as f:
        tls.SSLContext(tls.PROTOCOL_TLS_CLIENT).load_verify_locations(f.read())
    print(name)
"""
    done = subprocess.run([*micropython.command, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {f"{name.replace(' ', '_')}.der" for name in COMMON} <= set(done.stdout.split())


@needs_micropython
@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("RSA-PSS", "OpenSSL accepts {}, MicroPython does not: 127.0.0.1: the TLS handshake broke off"),
        ("TLS 1.3 only", "its operator must allow TLS 1.2"),
        ("out of order", "and the server's chain in order"),
        ("TLS 1.1 only", "fails: the server has no version of TLS that is in use here"),
        ("a client's", "its certificate was refused: it is not meant for a server"),
        ("asks in TLS 1.2", "ask for no certificate of the client"),
    ],
)
def test_refusals_are_told_as_the_library_tells_them(kind, told, authorities, tmp_path):
    with ScriptedServer(authorities.odd()[kind]) as server:
        place = f"127.0.0.1:{server.port}"
        done = run(place, "--store", authorities.folder / "odd.pem", "-o", tmp_path)
    assert done.exit_code == 1 and told.format(place) in done.stderr, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("days", "words"), [(729, "ends on %s, within two years"), (-1, "ended on %s"), (732, "")]
)
def test_a_root_that_ends_within_two_years_is_warned_of_by_name(tmp_path, days, words):
    last = utc_now() + days * DAY
    root = make_ca("Root of the tests", dates=(last - 4000 * DAY, last), path_length=None)
    store, config = tmp_path / "store.pem", tmp_path / "config.json"
    store.write_bytes(root.pem)
    config.write_text(json.dumps(DEVICE.config("https://localhost")))

    def call(*arguments):
        return CliRunner().invoke(main, [*map(str, arguments)])

    with ScriptedServer(make_server("localhost", signer=root).context()) as server:
        find = ("roots", f"localhost:{server.port}", "--store", store, "-o", tmp_path / "roots")
        found, reported = call(*find), call(*find, "--json")
    make = ("image", "--config", config, "--roots", store, "-o", tmp_path / "board.img")
    made, listed = call(*make), call(*make, "--json")
    said = words and f"the root Root of the tests {words % f'{last:%Y-%m-%d}'}: give"
    assert made.exit_code == 0 and bool(words) == ("Warning" in found.stderr) == ("Warning" in made.stderr)
    for text in (
        found.stderr,
        made.stderr,
        json.loads(reported.stdout)[0]["warning"] or "",
        "".join(json.loads(listed.stdout)["warnings"]),
    ):
        assert said in text, text
