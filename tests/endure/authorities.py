"""A root of our own, and servers' certificates under it: good ones, and every kind that must be refused."""

import datetime
import ipaddress
import ssl
import warnings
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tools.cloud.certificates import DAY, make_root

HOST = "127.0.0.1"
_USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


class Authorities:
    """The root, in a folder as ca.pem and in every other form; and the contexts of servers by kind."""

    def __init__(self, folder: Path) -> None:
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
        self._root = root
        self.past, self.good = (now - 100 * DAY, now - DAY), (now - 10 * DAY, now + 355 * DAY)
        self.later = (now + 30 * DAY, now + 395 * DAY)
        self.contexts = {
            kind: _context(root_of_it.issue_cert(name, not_before=first, not_after=last))
            for kind, root_of_it, name, (first, last) in (
                ("good", root, HOST, self.good),
                ("named", root, "localhost", self.good),
                ("expired", root, HOST, self.past),
                ("future", root, HOST, self.later),
                ("foreign", foreign, HOST, self.good),
                ("misnamed", root, "other.example", self.good),
                ("foreign future", foreign, HOST, self.later),
                ("misnamed future", root, "other.example", self.later),
            )
        }
        client = x509.ExtendedKeyUsageOID.CLIENT_AUTH
        self.contexts["self-signed"] = self._served(Made(HOST, self.good))
        self.contexts["client's future"] = self._served(Made(HOST, self.later, self._signer(), use=client))

    def wrong(self) -> dict[str, ssl.SSLContext]:
        """More certificates that must be refused: weak, for another use, or of a chain that is none."""
        root, good = self._signer(), self.good
        client = x509.ExtendedKeyUsageOID.CLIENT_AUTH
        mail = x509.ExtendedKeyUsageOID.EMAIL_PROTECTION
        between = Made("an authority", good, root, authority=True)
        # The root's path length is 0: an authority under it is one too many.
        leafs = {
            "a client's": Made(HOST, good, root, use=client),
            "for mail": Made(HOST, good, root, use=mail),
            "for signing certificates only": Made(HOST, good, root, usages=("key_cert_sign",)),
            "RSA of 1024 bits": Made(HOST, good, root, key=rsa.generate_private_key(65537, 1024)),
            "SHA-1": Made(HOST, good, root, sha1=True),
            "a curve of 192 bits": Made(HOST, good, root, key=ec.generate_private_key(ec.SECP192R1())),
            "under a leaf": Made(HOST, good, Made("a leaf", good, root)),
            "under an authority too many": Made(HOST, good, between),
            "with an unknown critical extension": Made(HOST, good, root, unknown=True),
            "for the name as a prefix": Made("127.0.0.1.example", good, root),
            "for every name": Made("*", good, root),
            "for the name before a NUL": Made("127.0.0.1\0.example", good, root),
            "without a name": Made("", good, root),
            "with another's signature": Made(HOST, good, root, forged=True),
        }
        contexts = {kind: self._served(leaf) for kind, leaf in leafs.items()}
        contexts["good, but with TLS 1.1"] = old = self.made_by_hand()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        return contexts

    def made_by_hand(self) -> ssl.SSLContext:
        """A good certificate, made as the wrong ones are, but for what is wrong with them."""
        return self._served(Made(HOST, self.good, self._signer()))

    def odd(self) -> dict[str, ssl.SSLContext]:
        """What other clients may take, and mbedTLS does not; the root is in odd.pem."""
        root = Made("an odd root", self.good, key=rsa.generate_private_key(65537, 2048), authority=True)
        (self.folder / "odd.pem").write_bytes(root.chain[0].public_bytes(Encoding.PEM))
        one = Made("one", self.good, root, authority=True)
        shuffled = Made(HOST, self.good, Made("two", self.good, one, authority=True))
        shuffled.chain[1:3] = shuffled.chain[2:0:-1]
        client = x509.ExtendedKeyUsageOID.CLIENT_AUTH
        contexts = {
            "good": self._served(Made(HOST, self.good, one)),
            "a client's": self._served(Made(HOST, self.good, root, use=client)),
            "RSA-PSS": self._served(Made(HOST, self.good, root, pss=True)),
            "out of order": self._served(shuffled),
            "TLS 1.3 only": self._served(Made(HOST, self.good, root)),
            "TLS 1.1 only": self._served(Made(HOST, self.good, root)),
            "asks": self._served(Made(HOST, self.good, root)),
            "asks in TLS 1.2": self._served(Made(HOST, self.good, root)),
        }
        contexts["TLS 1.3 only"].minimum_version = ssl.TLSVersion.TLSv1_3
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            contexts["TLS 1.1 only"].minimum_version = ssl.TLSVersion.TLSv1
            contexts["TLS 1.1 only"].maximum_version = ssl.TLSVersion.TLSv1_1
        contexts["asks"].verify_mode = contexts["asks in TLS 1.2"].verify_mode = ssl.CERT_REQUIRED
        contexts["asks in TLS 1.2"].maximum_version = ssl.TLSVersion.TLSv1_2
        return contexts

    def _signer(self) -> "Made":
        made = Made.__new__(Made)
        made.chain = [x509.load_pem_x509_certificate(self._root.cert_pem.bytes())]
        made.key = load_pem_private_key(self._root.private_key_pem.bytes(), None)
        return made

    def _served(self, leaf: "Made") -> ssl.SSLContext:
        pem = self.folder / "served.pem"
        pem.write_bytes(leaf.pem())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")  # else our own OpenSSL would not show the weak ones
        context.load_cert_chain(pem)
        return context


class Made:
    """A certificate that trustme would not make, its chain and its key; signed by itself if by nobody."""

    def __init__(
        self, host, dates, signer=None, key=None, sha1=False, use=None, usages=(), authority=False,
        unknown=False, forged=False, pss=False,
    ):  # fmt: skip
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host or "nobody")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(signer.chain[0].subject if signer else name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(dates[0])
            .not_valid_after(dates[1])
        )
        if host:
            try:
                named = x509.IPAddress(ipaddress.ip_address(host))
            except ValueError:
                named = x509.DNSName(host)
            builder = builder.add_extension(x509.SubjectAlternativeName([named]), critical=False)
        if authority:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        if use:
            builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=True)
        if usages:
            flags = {usage: usage in usages for usage in _USAGES}
            builder = builder.add_extension(x509.KeyUsage(**flags), critical=True)
        if unknown:
            oid = x509.ObjectIdentifier("1.2.3.4.5")
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, b"\x05\x00"), critical=True)
        signing = signer.key if signer and not forged else self.key
        pads = padding.PSS(padding.MGF1(hashes.SHA256()), 32) if pss else None
        made = builder.sign(signing, hashes.SHA256(), rsa_padding=pads)
        if sha1:
            made = _signed_with_sha1(made, signing)
        self.chain = [made, *(signer.chain if signer else ())]

    def pem(self) -> bytes:
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        # A server keeps its root to itself.
        shown = self.chain[:1] + [c for c in self.chain[1:] if c.issuer != c.subject]
        return key + b"".join(c.public_bytes(Encoding.PEM) for c in shown)


def _signed_with_sha1(certificate, key):
    """What cryptography itself refuses to make."""
    with_sha256, with_sha1 = (
        bytes.fromhex("300a06082a8648ce3d040302"),
        bytes.fromhex("300906072a8648ce3d0401"),
    )
    body = certificate.tbs_certificate_bytes
    body = body[2 + (body[1] & 3) * (body[1] >> 7) :]  # after its tag and its length
    body = _element(0x30, body.replace(with_sha256, with_sha1))
    signature = _element(0x03, b"\0" + key.sign(body, ec.ECDSA(hashes.SHA1())))
    return x509.load_der_x509_certificate(_element(0x30, body + with_sha1 + signature))


def _element(tag: int, content: bytes) -> bytes:
    size = len(content)
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, size] if size < 128 else [tag, 0x80 | len(octets), *octets]) + content


def _context(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context
