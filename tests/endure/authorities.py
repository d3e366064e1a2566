"""Roots of our own, and servers' certificates under them: good ones, and every kind that must be refused."""

import dataclasses
import ssl
import warnings
from pathlib import Path

from address import here
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tools.common.certificates import DAY, Certificate, make_ca, make_server, usage, utc_now

CLIENT = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH])
MAIL = x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION])
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)


class Authorities:
    """The root, in a folder as ca.pem and in every other form; and the contexts of servers by kind."""

    def __init__(self, folder: Path) -> None:
        now = utc_now().replace(microsecond=0)
        root, other, foreign = make_ca("tests"), make_ca("more tests"), make_ca("strangers")
        (folder / "roots").mkdir()
        for name, data in (
            ("ca.pem", root.pem),
            ("other.pem", other.pem),
            (
                "both.pem",
                b"the second one\n" + other.pem + b"\nand ours\r\n" + root.pem.replace(b"\n", b"\r\n"),
            ),
            ("ca.der", root.der),
            ("roots/a.der", other.der),
            ("roots/b.pem", root.pem),
        ):
            (folder / name).write_bytes(data)
        self.folder = folder
        self._root = root
        self._dates = dates = now - 10 * DAY, now + 355 * DAY
        past, future = (now - 100 * DAY, now - DAY), (now + 30 * DAY, now + 395 * DAY)
        self.starts, self.ends = (int(date.timestamp()) for date in dates)
        leaves = {
            "good": self.issue(here()),
            "named": self.issue("localhost"),
            "expired": self.issue(here(), dates=past),
            "future": self.issue(here(), dates=future),
            "foreign": self.issue(here(), signer=foreign),
            "misnamed": self.issue("other.example"),
            "foreign future": self.issue(here(), signer=foreign, dates=future),
            "misnamed future": self.issue("other.example", dates=future),
            "self-signed": make_server(here(), dates=dates),
            "client's future": self.issue(here(), dates=future, extensions=[(CLIENT, True)]),
        }
        self.contexts = {kind: leaf.context() for kind, leaf in leaves.items()}

    def issue(self, *names: str, **more) -> Certificate:
        """A server's, by the root and for these days, if nothing else is asked for."""
        return make_server(*names, **{"signer": self._root, "dates": self._dates, **more})

    def wrong(self) -> dict[str, ssl.SSLContext]:
        """More certificates that must be refused: weak, for another use, or of a chain that is none."""
        leaves = {
            "a client's": self.issue(here(), extensions=[(CLIENT, True)]),
            "for mail": self.issue(here(), extensions=[(MAIL, True)]),
            "for signing certificates only": self.issue(here(), extensions=[(usage("key_cert_sign"), True)]),
            "RSA of 1024 bits": self.issue(here(), key=rsa.generate_private_key(65537, 1024)),
            "SHA-1": _signed_with_sha1(self.issue(here()), self._root.key),
            "a curve of 192 bits": self.issue(here(), key=ec.generate_private_key(ec.SECP192R1())),
            "under a leaf": self.issue(here(), signer=self.issue("a leaf")),
            # The root's path length is 0: an authority under it is one too many.
            "under an authority too many": self.issue(here(), signer=self._authority("one", self._root)),
            "with an unknown critical extension": self.issue(here(), extensions=[(UNKNOWN, True)]),
            "for the name as a prefix": self.issue("127.0.0.1.example"),
            "for every name": self.issue("*"),
            "for the name before a NUL": self.issue("127.0.0.1\0.example"),
            "without a name": self.issue(),
            "with another's signature": self.issue(
                here(), signing_key=ec.generate_private_key(ec.SECP256R1())
            ),
        }
        contexts = {kind: leaf.context(weak=True) for kind, leaf in leaves.items()}
        return {**contexts, "good, but with TLS 1.1": _of_tls_1_1(self.issue(here()))}

    def odd(self) -> dict[str, ssl.SSLContext]:
        """What other clients may take, and mbedTLS does not; the root is in odd.pem."""
        root = self._authority("an odd root", None, key=rsa.generate_private_key(65537, 2048))
        (self.folder / "odd.pem").write_bytes(root.pem)
        one = self._authority("one", root)
        whole = self.issue(here(), signer=self._authority("two", one))
        leaf, two, *above = whole.chain
        leaves = {
            "good": self.issue(here(), signer=one),
            "a client's": self.issue(here(), signer=root, extensions=[(CLIENT, True)]),
            "RSA-PSS": self.issue(here(), signer=root, rsa_padding=PSS),
            "out of order": dataclasses.replace(whole, chain=(leaf, above[0], two, *above[1:])),
            "TLS 1.3 only": self.issue(here(), signer=root),
            "asks": self.issue(here(), signer=root),
            "asks in TLS 1.2": self.issue(here(), signer=root),
        }
        contexts = {kind: leaf.context(weak=True) for kind, leaf in leaves.items()}
        contexts["TLS 1.3 only"].minimum_version = ssl.TLSVersion.TLSv1_3
        contexts["asks"].verify_mode = contexts["asks in TLS 1.2"].verify_mode = ssl.CERT_REQUIRED
        contexts["asks in TLS 1.2"].maximum_version = ssl.TLSVersion.TLSv1_2
        return {**contexts, "TLS 1.1 only": _of_tls_1_1(self.issue(here(), signer=root))}

    def _authority(self, name: str, signer: Certificate | None, **more) -> Certificate:
        return make_ca(name, signer, self._dates, path_length=None, **more)


class ManyRoots:
    """A folder of 13 root files, 00.der to 12.der, and contexts of servers whose chains end in one of them.

    contexts["03"] ends in 03.der, and so on, over an authority which the server shows. Of the files
        04.der and 05.der are twins: two roots of one name
        06.der has expired
        07.der has a name of UTF8Strings
        08.der is an authority under 09.der, and no root
    starts: when the certificates of the future begin
    """

    def __init__(self, folder: Path) -> None:
        now = utc_now().replace(microsecond=0)
        self.folder = folder
        self.starts = int((now + 30 * DAY).timestamp())
        self._dates = now - 10 * DAY, now + 355 * DAY
        future = now + 30 * DAY, now + 395 * DAY
        roots = [self._authority(f"root {n}") for n in range(13)]
        roots[5] = self._authority("root 4")
        roots[6] = make_ca("root 6", None, (now - 4000 * DAY, now - DAY), path_length=None)
        roots[8] = self._authority("under 9", roots[9])
        for n, root in enumerate(roots):
            (folder / f"{n:02}.der").write_bytes(root.der)
        stranger = self._authority("a stranger")
        # As if another had signed it before it was known; the newer root is in the folder, or the older.
        newer = self._authority("root 10", stranger, key=roots[10].key)
        older = self._authority("not in the folder", roots[11])
        # What is shown ends in an expired root, and in a good one.
        both = self._authority("root 12", roots[6], key=roots[12].key)
        leaves = {f"{n:02}": self._under(root) for n, root in enumerate(roots)}
        leaves |= {
            "by-the-root-itself": self._leaf(roots[3]),
            "without-its-authority": dataclasses.replace(leaves["03"], chain=leaves["03"].chain[:1]),
            "cross-signed-newer": self._under(newer),
            "cross-signed-older": self._under(older),
            "cross-signed-both": self._under(both),
            "other-strings": self._under(_renamed(roots[7])),
            "under-08": self._leaf(roots[8]),
            "stranger": self._under(stranger),
            "imitator": self._under(self._authority("root 3")),
            "authority-for-a-root": self._leaf(self._authority("under a stranger", stranger)),
            "future": self._under(roots[3], future),
            "imitator-in-future": self._under(self._authority("root 3"), future),
        }
        self.contexts = {kind: leaf.context() for kind, leaf in leaves.items()}

    def _authority(self, name: str, signer: Certificate | None = None, **more) -> Certificate:
        return make_ca(name, signer, path_length=None, **more)

    def _leaf(self, signer: Certificate, dates=None) -> Certificate:
        return make_server(here(), signer=signer, dates=dates or self._dates)

    def _under(self, root: Certificate, dates=None) -> Certificate:
        return self._leaf(self._authority("an authority", root), dates)


def _renamed(root: Certificate) -> Certificate:
    """The same with its name in PrintableStrings and capitals."""
    parts = [
        x509.NameAttribute(part.oid, part.value.upper(), x509.name._ASN1Type.PrintableString)
        for part in root.chain[0].subject
    ]
    return make_ca(x509.Name(parts), path_length=None, key=root.key)


def _of_tls_1_1(leaf: Certificate) -> ssl.SSLContext:
    context = leaf.context(weak=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    return context


def _signed_with_sha1(leaf: Certificate, key: ec.EllipticCurvePrivateKey) -> Certificate:
    """What cryptography itself refuses to make."""
    with_sha256, with_sha1 = (
        bytes.fromhex("300a06082a8648ce3d040302"),
        bytes.fromhex("300906072a8648ce3d0401"),
    )
    made, *above = leaf.chain
    body = made.tbs_certificate_bytes
    body = body[2 + (body[1] & 3) * (body[1] >> 7) :]  # after its tag and its length
    body = element(0x30, body.replace(with_sha256, with_sha1))
    signature = element(0x03, b"\0" + key.sign(body, ec.ECDSA(hashes.SHA1())))
    spoiled = x509.load_der_x509_certificate(element(0x30, body + with_sha1 + signature))
    return dataclasses.replace(leaf, chain=(spoiled, *above))


def element(tag: int, content: bytes) -> bytes:
    """As DER has it."""
    size = len(content)
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, size] if size < 128 else [tag, 0x80 | len(octets), *octets]) + content
