"""The box's certificate authority, and the good and bad certificates that it can show."""

import datetime
import ssl
from pathlib import Path
from typing import Literal, get_args

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Kind = Literal["good", "expired", "not-yet-valid", "foreign", "misnamed"]

DAY = datetime.timedelta(days=1)
LEAF_LIFE = 90 * DAY
# A root is years older than any device: one that thinks it is 2000 must cope with the root's
# own notBefore as well.
ROOT_AGE = 3 * 365 * DAY
ROOT_LIFE = 10 * 365 * DAY


class Certificates:
    """A root of our own, kept in a folder as `ca.pem`, `ca.der` and `ca.key`.

    Args:
        folder: where the root is, or will be; the next start finds it there.
        names: the host names and addresses that the server goes by.
        issued_days_ago: the age of the server's certificate, in days.
    """

    def __init__(self, folder: Path, names: list[str], issued_days_ago: float = 1) -> None:
        self.pem, key = folder / "ca.pem", folder / "ca.key"
        if not (self.pem.exists() and key.exists()):
            root = make_root("muster cloud in a box")
            key.touch(mode=0o600)
            key.write_bytes(root.private_key_pem.bytes())
            self.pem.write_bytes(root.cert_pem.bytes())
        try:
            self._root = trustme.CA.from_pem(self.pem.read_bytes(), key.read_bytes())
        except ValueError:
            raise ValueError(f"{self.pem} or {key} is damaged: delete both for a new CA.") from None
        self.der = ssl.PEM_cert_to_DER_cert(self.pem.read_text())
        (folder / "ca.der").write_bytes(self.der)
        self._names = names
        self._issued = _now() - issued_days_ago * DAY
        # Made now, since a handshake must not wait for them.
        self.contexts = {kind: self._context(kind) for kind in get_args(Kind)}

    def _context(self, kind: Kind) -> ssl.SSLContext:
        root, names, start, end = self._root, self._names, self._issued, self._issued + LEAF_LIFE
        if kind == "expired":
            start, end = _now() - LEAF_LIFE, _now() - DAY
        elif kind == "not-yet-valid":
            start, end = _now() + DAY, _now() + LEAF_LIFE
        elif kind == "foreign":
            root = make_root("somebody else")
        elif kind == "misnamed":
            names = ["other.example"]
        leaf = root.issue_cert(
            *names, common_name=names[0], organization_name="muster", not_before=start, not_after=end
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        return context


def make_root(name: str) -> trustme.CA:
    """A certificate authority with the dates of a real one.

    trustme makes its own valid from 2000 to 3000 and has no argument for that, so the root is
    built here and given to trustme, which issues the rest.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "muster"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )
    usage = x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - ROOT_AGE)
        .not_valid_after(_now() + ROOT_LIFE)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return trustme.CA.from_pem(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)
