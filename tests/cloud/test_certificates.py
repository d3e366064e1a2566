"""The one builder of certificates, judged by OpenSSL and by cryptography's own verifier."""

import contextlib
import dataclasses
import socket
import ssl
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import verification

from tools.common.certificates import DAY, keep_root, make_ca, make_server, utc_now


@pytest.fixture(scope="module")
def root():
    return make_ca("a root")


def handshake(root, context, name="localhost"):
    """What a client that trusts the root gets to see of a server with the context."""
    ours, theirs = socket.socketpair()

    def serve():
        with theirs, contextlib.suppress(OSError):
            context.wrap_socket(theirs, server_side=True).close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client = ssl.create_default_context(cadata=root.der)
        client.verify_flags |= ssl.VERIFY_X509_STRICT  # a client's default from Python 3.13 on
        with ours, client.wrap_socket(ours, server_hostname=name) as tls:
            return tls.getpeercert()
    finally:
        thread.join()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_a_client_verifies_each_name(root, name):
    seen = handshake(root, make_server("localhost", "127.0.0.1", "::1", signer=root).context(), name)
    assert ("DNS", "localhost") in seen["subjectAltName"]


@pytest.mark.parametrize(
    "make_key",
    [lambda: ec.generate_private_key(ec.SECP384R1()), lambda: rsa.generate_private_key(65537, 2048)],
)
def test_a_client_verifies_other_keys(root, make_key):
    assert handshake(root, make_server("localhost", signer=root, key=make_key()).context())


def test_a_chain_is_shown_without_its_root():
    root = make_ca("a root", path_length=1)
    between = make_ca("between", signer=root)
    server = make_server("localhost", signer=between)
    assert server.chain[1:] == between.chain == (between.chain[0], root.chain[0])
    assert handshake(root, server.context())
    with pytest.raises(ssl.SSLCertVerificationError, match="issuer certificate"):
        handshake(root, dataclasses.replace(server, chain=server.chain[:1]).context())


@pytest.mark.parametrize(
    ("why", "wrong"),
    [
        ("has expired", {"dates": (utc_now() - 9 * DAY, utc_now() - DAY)}),
        ("not yet valid", {"dates": (utc_now() + DAY, utc_now() + 9 * DAY)}),
        ("signature failure", {"signing_key": ec.generate_private_key(ec.SECP256R1())}),
        ("too weak|too small", {"key": rsa.generate_private_key(65537, 1024)}),
        ("purpose", {"extensions": [(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), True)]}),
    ],
)
def test_a_client_refuses_what_was_made_wrong(root, why, wrong):
    with pytest.raises(ssl.SSLError, match=why):
        handshake(root, make_server("localhost", signer=root, **wrong).context(weak=True))


def test_an_authority_too_many_and_one_without_an_end(root):
    def verify(top):
        leaf, *above = make_server("localhost", signer=make_ca("between", signer=top)).chain
        store = verification.Store([top.chain[0]])
        builder = verification.PolicyBuilder().store(store)
        return builder.build_server_verifier(x509.DNSName("localhost")).verify(leaf, above[:1])

    assert len(verify(make_ca("no limit", path_length=None))) == 3
    with pytest.raises(verification.VerificationError):
        verify(root)


def test_a_key_that_needs_no_digest():
    made = make_ca("ed25519", key=ed25519.Ed25519PrivateKey.generate()).chain[0]
    made.verify_directly_issued_by(made)


def test_a_folder_keeps_its_root(tmp_path):
    first = keep_root(tmp_path, "kept")
    assert first == dataclasses.replace(keep_root(tmp_path, "kept"), key=first.key)
    assert (tmp_path / "ca.der").read_bytes() == first.der
    assert (tmp_path / "ca.key").stat().st_mode & 0o077 == 0
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ValueError, match="damaged"):
        keep_root(tmp_path, "kept")
