"""The builder of CA roots and of certificates for servers on this computer, with the dates of real ones."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from . import files

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Dates = tuple[datetime.datetime, datetime.datetime]  # notBefore and notAfter
Extensions = Iterable[tuple[x509.ExtensionType, bool]]  # each with whether it is critical

DAY = datetime.timedelta(days=1)
SERVER_LIFE = 90 * DAY
# A root is years older than any device: one that thinks it is 2000 must cope with the root's
# own notBefore as well.
ROOT_AGE = 3 * 365 * DAY
ROOT_LIFE = 10 * 365 * DAY
USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass(frozen=True)
class Certificate:
    """A certificate with its private key.

    chain: the certificate, the one of its signer, and so on up to the root.
    """

    chain: tuple[x509.Certificate, ...]
    key: Key

    @property
    def pem(self) -> bytes:
        return self.chain[0].public_bytes(Encoding.PEM)

    @property
    def der(self) -> bytes:
        return self.chain[0].public_bytes(Encoding.DER)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def context(self, weak: bool = False) -> ssl.SSLContext:
        """The context of a server that shows this certificate and its chain, but not the root.

        weak: shows what OpenSSL itself calls too weak.
        """
        above = [certificate for certificate in self.chain[1:] if certificate.issuer != certificate.subject]
        shown = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in above)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if weak:
            context.set_ciphers("ALL:@SECLEVEL=0")
        with tempfile.TemporaryDirectory(prefix="muster-tls-") as folder:
            path = Path(folder, "server.pem")
            path.write_bytes(self.key_pem + self.pem + shown)
            context.load_cert_chain(path)
        return context


def make_ca(
    name: str | x509.Name,
    signer: Certificate | None = None,
    dates: Dates | None = None,
    key: Key | None = None,
    path_length: int | None = 0,
    extensions: Extensions = (),
) -> Certificate:
    """A CA: a root, or with a signer an authority below it.

    Args:
        name: its common name, or all of its name.
        path_length: how many authorities may stand below it; None sets no limit.
        extensions: more of them, or others of the same kind.
    """
    now = utc_now()
    usual: Extensions = (
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (usage("key_cert_sign", "crl_sign"), True),
    )
    return _make(name, signer, dates or (now - ROOT_AGE, now + ROOT_LIFE), key, [*usual, *extensions])


def make_server(
    *names: str,
    signer: Certificate | None = None,
    dates: Dates | None = None,
    key: Key | None = None,
    extensions: Extensions = (),
    signing_key: Key | None = None,
    rsa_padding: padding.PSS | None = None,
) -> Certificate:
    """A certificate for a server of these host names and addresses; signed by itself without a signer.

    Args:
        dates: 90 days from yesterday, if not given.
        extensions: more of them, or others of the same kind.
        signing_key: signs in place of the signer's key, for a certificate that must be refused.
    """
    start = utc_now() - DAY
    usual: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (usage("digital_signature", "key_encipherment"), True),
        (x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), False),
    ]
    if names:
        usual.append((x509.SubjectAlternativeName([_general_name(name) for name in names]), False))
    return _make(
        names[0] if names else "nobody",
        signer,
        dates or (start, start + SERVER_LIFE),
        key,
        [*usual, *extensions],
        signing_key,
        rsa_padding,
    )


def keep_root(folder: Path, name: str) -> Certificate:
    """The root that a folder keeps as ca.pem, ca.der and ca.key; a new one if there is none.

    Raises:
        ValueError: the files are damaged.
    """
    path, key_path = folder / "ca.pem", folder / "ca.key"
    if not (path.exists() and key_path.exists()):
        made = make_ca(name)
        files.write(key_path, made.key_pem)
        path.write_bytes(made.pem)
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        key = load_pem_private_key(key_path.read_bytes(), None)
    except ValueError:
        raise ValueError(f"{path} or {key_path} is damaged: delete both for a new CA.") from None
    assert isinstance(key, Key)
    root = Certificate((certificate,), key)
    (folder / "ca.der").write_bytes(root.der)
    return root


def usage(*usages: str) -> x509.KeyUsage:
    """The extension that allows these of USAGES."""
    return x509.KeyUsage(**{name: name in usages for name in USAGES})


def full_name(name: str) -> x509.Name:
    """The name of a subject, from its common name."""
    return x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "muster"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, name),
        ]
    )


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def _make(
    name: str | x509.Name,
    signer: Certificate | None,
    dates: Dates,
    key: Key | None,
    extensions: Extensions,
    signing_key: Key | None = None,
    rsa_padding: padding.PSS | None = None,
) -> Certificate:
    own = key or ec.generate_private_key(ec.SECP256R1())
    signing = signing_key or (signer.key if signer else own)
    above = signer.chain if signer else ()
    subject = name if isinstance(name, x509.Name) else full_name(name)
    builder = x509.CertificateBuilder(
        issuer_name=above[0].subject if above else subject,
        subject_name=subject,
        public_key=own.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=dates[0],
        not_valid_after=dates[1],
    )
    issuer = (signer.key if signer else own).public_key()
    usual: Extensions = (
        (x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), False),
    )
    chosen = {type(extension): (extension, critical) for extension, critical in [*usual, *extensions]}
    for extension, critical in chosen.values():
        builder = builder.add_extension(extension, critical)
    digest = None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Certificate((builder.sign(signing, digest, rsa_padding=rsa_padding), *above), own)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
