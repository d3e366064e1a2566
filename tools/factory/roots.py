"""The CA roots that go onto a board: which one a server's certificate ends in, and those that are common."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from muster.net import refusals
from muster.pem import certificates
from OpenSSL import crypto

from tools.common import files, vm
from tools.common.paths import ROOT
from tools.common.printable import printable
from tools.factory.tls_server import TlsServer, Unproved, odd_serials, split

FOLDER = ROOT / "firmware" / "roots"

# What the four clouds' servers are likely to end in: the large CAs with their newer roots, and CAs in China.
# A server's next certificate may end in another: only `roots HOST` knows.
COMMON = (
    "CFCA EV ROOT",
    "DigiCert Global Root G2",
    "DigiCert Global Root G3",
    "GDCA TrustAUTH R5 ROOT",
    "GlobalSign Root CA - R3",
    "GlobalSign Root CA - R6",
    "GlobalSign Root R46",
    "ISRG Root X1",
    "Sectigo Public Server Authentication Root R46",
    "TrustAsia Global Root CA G3",
    "UCA Global G2 Root",
    "USERTrust RSA Certification Authority",
    "vTrus Root CA",
)

# A device in the field needs the next root before the one it has ends, and an update takes its time.
SOON = datetime.timedelta(days=2 * 365)

# OpenSSL's X509_V_ERR_…: an issuer that is not there, and a name that is another.
NO_ISSUER = (2, 20, 21)
OTHER_NAME = (62, 64)


@dataclass
class Finding:
    """What a server was found to send, and the root that was kept for it; error says why there is none.

    wrong_call: the host was written wrongly. misnamed: its certificate is for another name.
    judges: who accepts the server with that root alone.
    """

    host: str
    sent: list[x509.Certificate] = field(default_factory=list)
    root: x509.Certificate | None = None
    misnamed: bool = False
    file: Path | None = None
    new: bool = False
    judges: str = ""
    error: str = ""
    wrong_call: bool = False


def examine(text: str, timeout: float, trusted: Sequence[bytes], whose: str, folder: Path | None) -> Finding:
    """Looks for the root of HOST[:PORT] among those trusted; keeps it in folder if the server proves good.

    timeout: seconds. whose: the trusted roots are, for people. folder: None to write nothing.
    """
    found = Finding(text)
    try:
        host, port = split(text)
    except ValueError as e:
        found.error, found.wrong_call = str(e), True
        return found
    try:
        server = TlsServer(host, port, timeout)
        found.host = str(server)
        _prove(server, trusted, whose, folder, found)
    except (OSError, ValueError) as e:
        found.error = str(e)
    return found


def _prove(
    server: TlsServer, trusted: Sequence[bytes], whose: str, folder: Path | None, found: Finding
) -> None:
    found.sent, chain = server.chains(trusted)
    last = chain[-1].public_bytes(Encoding.DER)
    known = last in trusted
    # Without a root, the rest can still be said of a certificate that is taken as it is.
    wrong = server.verdict(last if known else found.sent[0].public_bytes(Encoding.DER))
    found.misnamed = wrong is not None and wrong.verify_code in OTHER_NAME
    if not known:
        raise Unproved(f"{server}: {_missing(chain, whose)}")
    found.root = chain[-1]
    if wrong is not None and wrong.verify_code in NO_ISSUER:
        raise Unproved(
            f"{server} does not send the certificate of {name_of(found.sent[-1].issuer)}, which a board "
            "needs: have its operator send the whole chain. No root is written for it."
        )
    if wrong is not None:
        why = refusals.verdict(wrong.verify_message, wrong.verify_code).rstrip(".")
        raise Unproved(f"{server}: its certificate was refused: {why}. No root is written for it.")
    if folder is not None:
        found.file, found.new = keep(chain[-1], folder)
        micropython = vm.find_micropython()
        if micropython:
            try:
                server.prove_on_the_board(found.file)
            except BaseException:
                # What has not proved good must not reach a board.
                if found.new:
                    found.file.unlink()
                found.file = None
                raise
            found.judges = f"OpenSSL and {micropython.what} (mbedTLS) accept"
    found.judges = found.judges or "OpenSSL accepts"


def _missing(chain: Sequence[x509.Certificate], whose: str) -> str:
    """Why a chain ends in no root of the store, and what to do."""
    last = chain[-1]
    issuer = name_of(last.issuer)
    own = "If that is a CA of your own, give its certificate with --store, and a folder with -o"
    if last.subject != last.issuer:
        return (
            f"the certificate of {issuer} is missing, which signed {name_of(last.subject)}: the server does "
            f"not send it, and it is not in {whose}. {own}; else the server's operator must send the whole "
            "chain, of a CA that is trusted."
        )
    if len(chain) == 1:
        return (
            f"its certificate is signed by itself, and not in {whose}. If it is yours, give it with --store, "
            "and a folder with -o."
        )
    return f"its chain ends in {issuer}, which is not in {whose}. {own}, as you have it from the CA."


def name_of(subject: x509.Name) -> str:
    """A whole name, as a terminal may be shown it: a server chooses it."""
    return printable(subject.rfc4514_string()).replace("\n", " ") or "somebody without a name"


def ca_name(certificate: x509.Certificate) -> str:
    """What people call a CA: its common name, or its unit where the common name is but the company's."""

    def part(oid: x509.ObjectIdentifier) -> str:
        found = certificate.subject.get_attributes_for_oid(oid)
        return str(found[0].value) if found else ""

    company, called = part(x509.NameOID.ORGANIZATION_NAME), part(x509.NameOID.COMMON_NAME)
    if called in ("", company):
        called = part(x509.NameOID.ORGANIZATIONAL_UNIT_NAME) or company
    return printable(called)


def ends_soon(root: x509.Certificate) -> str:
    """A warning of a root that ends within two years, or has ended; "" of any other."""
    last = root.not_valid_after_utc
    left = last - datetime.datetime.now(datetime.timezone.utc)
    if left >= SOON:
        return ""
    ends = f"ends on {last:%Y-%m-%d}, within two years" if left.days >= 0 else f"ended on {last:%Y-%m-%d}"
    return f"the root {ca_name(root)} {ends}: give your boards the one that follows it as well."


def keep(certificate: x509.Certificate, folder: Path) -> tuple[Path, bool]:
    """Writes a root into folder, as DER. Returns its path, and whether it was new.

    Of two that go by one name, the second has its fingerprint in its file's name.
    """
    der = certificate.public_bytes(Encoding.DER)
    for path in sorted(folder.glob("*.der")):
        if path.read_bytes() == der:
            return path, False
    folder.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^A-Za-z0-9.-]+", "_", ca_name(certificate)).strip("_.")[:64] or "root"
    path = folder / f"{stem}.der"
    if path.exists():
        path = folder / f"{stem}_{hashlib.sha256(der).hexdigest()[:8]}.der"
    files.write(path, der, mode=0o644)
    return path, True


def load(store: Path) -> list[bytes]:
    """The DER of each certificate in a file of PEM text; raises ValueError."""
    try:
        found = certificates(store.read_bytes())
        for der in found:
            crypto.load_certificate(crypto.FILETYPE_ASN1, der)
    except (ValueError, crypto.Error):
        raise ValueError(f"{store} holds no certificates; PEM text is expected.") from None
    return found


def common(trusted: Sequence[bytes]) -> list[x509.Certificate]:
    """The roots of COMMON among those trusted; raises ValueError naming what is missing."""
    with odd_serials():
        found = {ca_name(root): root for root in map(x509.load_der_x509_certificate, trusted)}
    missing = [each for each in COMMON if each not in found]
    if missing:
        raise ValueError(
            f"the store has no {', '.join(missing)}: if Mozilla trusts it no longer, take it out of COMMON "
            "in tools/factory/roots.py, and its file out of firmware/roots."
        )
    return [found[each] for each in COMMON]
