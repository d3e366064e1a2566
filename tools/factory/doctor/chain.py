"""The platform's server as this computer sees it, by the roots that a board has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.serialization import Encoding
from muster.net import refusals
from muster.pem import certificates
from OpenSSL import crypto

from tools.factory.roots import NO_ISSUER, ca_name, ends_soon, name_of
from tools.factory.tls_server import TlsServer, Unproved, split

WAIT_S = 10


@dataclass(frozen=True)
class Chain:
    """unreached: why there is no TLS with the server.

    root: the name of the board's root in which its chain ends. lacking: who signed it instead.
    gap: whose certificate the server should send, and does not. refused: what else is wrong with it.
    warning: of a root that ends soon.
    """

    unreached: str = ""
    root: str = ""
    lacking: str = ""
    gap: str = ""
    refused: str = ""
    warning: str = ""


def look(url: str, roots: Sequence[bytes]) -> Chain:
    """Asks the server at a base URL. roots: the DER of each that the board has."""
    try:
        server = TlsServer(*split(url), WAIT_S)
        sent, chain = server.chains(roots)
        last = chain[-1].public_bytes(Encoding.DER)
        known = last in roots
        # Without the root, the rest can still be said of a certificate that is taken as it is.
        wrong = server.verdict(last if known else sent[0].public_bytes(Encoding.DER))
    except (Unproved, OSError) as e:
        return Chain(unreached=str(e).rstrip("."))
    gap = name_of(sent[-1].issuer) if known and wrong and wrong.verify_code in NO_ISSUER else ""
    return Chain(
        root=ca_name(chain[-1]) if known else "",
        lacking="" if known else name_of(chain[-1].issuer),
        gap=gap,
        refused=refusals.verdict(wrong.verify_message, wrong.verify_code) if wrong and not gap else "",
        warning=ends_soon(chain[-1]) if known else "",
    )


def ders(content: bytes) -> list[bytes]:
    """The DER of each certificate in a file of the board's, [] where that holds none."""
    try:
        found = certificates(content)
        for der in found:
            crypto.load_certificate(crypto.FILETYPE_ASN1, der)
        return found
    except (ValueError, crypto.Error):
        return []
