"""The CA roots that go onto a board: which one a server's certificate ends in, and those that are common.

OpenSSL builds the chain, here through pyOpenSSL, which shows it. What it finds is then proved by others who
are told of nothing but that root: CPython's ssl, which checks name and dates, and the board's own mbedTLS.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import json
import os
import queue
import re
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import certifi
import click
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from muster.asn1 import certificates
from muster.net import refusals
from OpenSSL import SSL, crypto

from tools.common.paths import ROOT

FOLDER = ROOT / "firmware" / "roots"
LONGEST_S = 3600

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

# OpenSSL's X509_V_ERR_…: an issuer that is not there, and a name that is another.
NO_ISSUER = (2, 20, 21)
OTHER_NAME = (62, 64)

# Not through muster.http, which would follow a redirect to a server of another CA's.
ON_THE_BOARD = """
import json, sys
from muster.net import wait
from muster.net.connection import Connection
from muster.net.tls import Trust
from muster.errors import Error

host, port, ca, seconds = json.loads(sys.stdin.readline())
head = "HEAD / HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n" % host
try:
    connection = Connection(("https", host, port), Trust(ca), wait.Deadline(seconds))
    wait.run(connection.open())
    wait.run(connection.write(head.encode()))
except Error as e:
    print(e)
    sys.exit(1)
"""


class Unproved(ValueError):
    """A server for which no root can be given, and why."""


class Server:
    """A server to be asked within timeout seconds, however often."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self.host = host
        self.port = port
        self._timeout = timeout
        self._ends = time.monotonic() + timeout
        self._addresses = self._lookup()

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def left(self) -> float:
        """Seconds; raises Unproved when there are none."""
        seconds = self._ends - time.monotonic()
        if seconds <= 0:
            raise self.silent()
        return seconds

    def silent(self) -> Unproved:
        return Unproved(f"{self} did not answer within {self._timeout:g} s: is it a TLS server?")

    def connect(self) -> socket.socket:
        failure: OSError | None = None
        for *_, address in self._addresses:
            try:
                return socket.create_connection(address[:2], self.left())
            except OSError as e:
                failure = e
        raise Unproved(f"{self} cannot be reached ({failure}).")

    def _lookup(self) -> list[tuple]:
        # Nothing bounds a look-up but leaving it behind: the thread is not waited for.
        found: queue.SimpleQueue = queue.SimpleQueue()

        def look() -> None:
            try:
                found.put(socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError) as e:
                found.put(e)

        threading.Thread(target=look, daemon=True).start()
        try:
            answer = found.get(timeout=self.left())
        except queue.Empty:
            raise Unproved(f"the name {self.host} was not found within {self._timeout:g} s.") from None
        if isinstance(answer, Exception):
            raise Unproved(f"the name {self.host} cannot be looked up ({answer}).")
        return answer


def split(text: str) -> tuple[str, int]:
    """HOST[:PORT], or a base URL, as (host, port); raises ValueError."""
    expected = f"expected HOST, HOST:PORT or [IPv6]:PORT, got {text!r}"
    try:
        place = text.removeprefix("https://").rstrip("/")
        parts = urllib.parse.urlsplit("//" + place)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"{expected}.") from None
    if not host or port == 0 or parts.netloc != place or re.search(r"[@\s]", place):
        raise ValueError(f"{expected}.")
    try:
        # What TLS and the certificate call it.
        return (host if _is_address(host) else host.encode("idna").decode()), port or 443
    except UnicodeError:
        raise ValueError(f"{expected}: that is no host name.") from None


def chains(server: Server, trusted: Sequence[bytes]) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
    """The certificates that the server sends, and the chain that OpenSSL makes of them and of those trusted.

    Raises Unproved where there is no TLS.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    # Nothing is refused here, so that all is seen; nothing is sent either.
    context.set_verify(SSL.VERIFY_NONE)
    store = context.get_cert_store()
    for der in trusted:
        store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, der))
    with server.connect() as raw:
        connection = SSL.Connection(context, raw)
        connection.set_connect_state()
        if not _is_address(server.host):
            connection.set_tlsext_host_name(server.host.encode())
        try:
            _shake_hands(connection, raw, server)
        except SSL.Error as e:
            raise Unproved(f"TLS with {server} fails: {_reason(e)}.") from None
        with _odd_serials():
            sent = connection.get_peer_cert_chain(as_cryptography=True)
            return sent, connection.get_verified_chain(as_cryptography=True) or sent


def verdict(server: Server, anchor: bytes) -> ssl.SSLCertVerificationError | None:
    """What CPython's ssl finds wrong when it trusts this certificate alone, which need not be a root."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=anchor)
    with server.connect() as raw:
        raw.settimeout(server.left())
        try:
            with context.wrap_socket(raw, server_hostname=server.host):
                return None
        except ssl.SSLCertVerificationError as e:
            return e
        except TimeoutError:
            raise server.silent() from None
        except OSError as e:
            why = refusals.failure(e.errno, getattr(e, "reason", None) or "") or e
            raise Unproved(f"TLS with {server} fails: {why}.") from None


def prove_on_the_board(server: Server, ca: Path, micropython: Sequence[str]) -> None:
    """Connects with the library in the MicroPython VM, on its mbedTLS, trusting this file alone.

    Raises Unproved.
    """
    seconds = server.left()
    try:
        done = subprocess.run(
            [*micropython, "-c", ON_THE_BOARD],
            input=json.dumps([server.host, server.port, str(ca), seconds]) + "\n",
            env=os.environ | {"MICROPYPATH": f"{ROOT / 'lib'}:.frozen"},
            capture_output=True,
            text=True,
            timeout=seconds + 1,
        )
    except subprocess.TimeoutExpired:
        raise server.silent() from None
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines() or ["it ended without a word"]
        raise Unproved(
            f"OpenSSL accepts {server}, MicroPython does not: {said[-1].rstrip('.')}. "
            "No root is written for it."
        )


def name(certificate: x509.Certificate) -> str:
    """What people call a CA: its common name, or its unit where the common name is but the company's."""

    def part(oid: x509.ObjectIdentifier) -> str:
        found = certificate.subject.get_attributes_for_oid(oid)
        return str(found[0].value) if found else ""

    company, called = part(x509.NameOID.ORGANIZATION_NAME), part(x509.NameOID.COMMON_NAME)
    if called in ("", company):
        called = part(x509.NameOID.ORGANIZATIONAL_UNIT_NAME) or company
    return _printable(called)


def file_name(certificate: x509.Certificate) -> str:
    return (re.sub(r"[^A-Za-z0-9.-]+", "_", name(certificate)).strip("_.")[:64] or "root") + ".der"


def keep(certificate: x509.Certificate, folder: Path) -> tuple[Path, bool]:
    """Writes a root into folder, as DER. Returns its path, and whether it was new.

    Of two that go by one name, the second has its fingerprint in its file's name.
    """
    der = certificate.public_bytes(Encoding.DER)
    for path in sorted(folder.glob("*.der")):
        if path.read_bytes() == der:
            return path, False
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(certificate)
    if path.exists():
        path = path.with_name(f"{path.stem}_{hashlib.sha256(der).hexdigest()[:8]}.der")
    path.write_bytes(der)
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
    with _odd_serials():
        found = {name(root): root for root in map(x509.load_der_x509_certificate, trusted)}
    missing = [each for each in COMMON if each not in found]
    if missing:
        raise ValueError(
            f"the store has no {', '.join(missing)}: if Mozilla trusts it no longer, take it out of COMMON "
            "in tools/factory/roots.py, and its file out of firmware/roots."
        )
    return [found[each] for each in COMMON]


def _seconds(context: click.Context, parameter: click.Parameter, value: float) -> float:
    # Nothing is more or less than "nan", which click's own range lets through.
    if not 0 < value <= LONGEST_S:
        raise click.BadParameter(f"{value:g} is no time to wait; expected seconds, up to {LONGEST_S:,}")
    return value


@click.command()
@click.argument("hosts", nargs=-1, metavar="HOST[:PORT]...")
@click.option(
    "--store",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file of the roots to choose from, as a company's CA. [default: Mozilla's]",
)
@click.option(
    "-o",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=FOLDER,
    help="Where the root is written. [default: firmware/roots]",
)
@click.option("--show", is_flag=True, help="Writes nothing.")
@click.option("--common", "with_common", is_flag=True, help="Writes the roots that many servers end in.")
@click.option(
    "--timeout",
    type=float,
    callback=_seconds,
    default=10,
    show_default=True,
    help="Seconds for each host.",
)
def roots(
    hosts: tuple[str, ...], store: Path | None, folder: Path, show: bool, with_common: bool, timeout: float
) -> None:
    """Finds the CA root that a server's certificate ends in, for the board to trust.

    Shows the certificates that each HOST sends (port 443 unless told), writes the root, and connects
    once more trusting nothing else: in MicroPython where there is one, so with the TLS of the board.
    """
    if not (hosts or with_common):
        raise click.UsageError("name a HOST, or give --common.")
    trusted = load(store or Path(certifi.where()))
    whose = str(store) if store else f"Mozilla's store (certifi {certifi.__version__})"
    if with_common:
        for root in common(trusted):
            click.echo(_summary(root) if show else _kept(*keep(root, folder)))
    status = 0
    for text in hosts:
        try:
            host, port = split(text)
        except ValueError as e:
            click.echo(f"Error: {e}", err=True)
            status = 2
            continue
        try:
            _examine(Server(host, port, timeout), trusted, whose, None if show else folder)
        except (OSError, ValueError) as e:
            click.echo(f"Error: {e}", err=True)
            status = status or 1
    sys.exit(status)


def _examine(server: Server, trusted: Sequence[bytes], whose: str, folder: Path | None) -> None:
    """Shows a server's chain, and keeps its root in folder if the server proves good."""
    from tools.common.vm import find_micropython

    sent, chain = chains(server, trusted)
    last = chain[-1].public_bytes(Encoding.DER)
    known = last in trusted
    # Without a root, the rest can still be said of a certificate that is taken as it is.
    wrong = verdict(server, last if known else sent[0].public_bytes(Encoding.DER))
    misnamed = wrong is not None and wrong.verify_code in OTHER_NAME
    click.echo(f"{server} sends")
    for i, certificate in enumerate(sent):
        _show(
            certificate,
            f"it is for {_names(certificate)}, not for {server.host}" if misnamed and not i else "",
        )
    if not known:
        raise Unproved(f"{server}: {_missing(chain, whose)}")
    click.echo(f"which ends in a root of {whose}:")
    _show(chain[-1])
    if wrong is not None and wrong.verify_code in NO_ISSUER:
        raise Unproved(
            f"{server} does not send the certificate of {_subject(sent[-1].issuer)}, which a board needs: "
            "have its operator send the whole chain. No root is written for it."
        )
    if wrong is not None:
        why = refusals.verdict(wrong.verify_message, wrong.verify_code).rstrip(".")
        raise Unproved(f"{server}: its certificate was refused: {why}. No root is written for it.")
    if folder is None:
        click.echo("OpenSSL accepts the server with that root alone.")
        return
    path, new = keep(chain[-1], folder)
    micropython = find_micropython()
    try:
        if micropython:
            prove_on_the_board(server, path, micropython.command)
    except BaseException:
        # What has not proved good must not reach a board.
        if new:
            path.unlink()
        raise
    click.echo(_kept(path, new))
    judges = f"OpenSSL and {micropython.what} (mbedTLS) accept" if micropython else "OpenSSL accepts"
    click.echo(f"{judges} the server with that root alone.")


def _shake_hands(connection: SSL.Connection, raw: socket.socket, server: Server) -> None:
    while True:
        try:
            return connection.do_handshake()
        except SSL.WantReadError:
            ready = select.select([raw], [], [], server.left())
        except SSL.WantWriteError:
            ready = select.select([], [raw], [], server.left())
        if not any(ready):
            raise server.silent()


def _missing(chain: Sequence[x509.Certificate], whose: str) -> str:
    """Why a chain ends in no root of the store, and what to do."""
    last = chain[-1]
    issuer = _subject(last.issuer)
    own = "If that is a CA of your own, give its certificate with --store"
    if last.subject != last.issuer:
        return (
            f"the certificate of {issuer} is missing, which signed {_subject(last.subject)}: the server does "
            f"not send it, and it is not in {whose}. {own}; else the server's operator must send the whole "
            "chain, of a CA that is trusted."
        )
    if len(chain) == 1:
        return (
            f"its certificate is signed by itself, and not in {whose}. If it is yours, give it with --store."
        )
    return f"its chain ends in {issuer}, which is not in {whose}. {own}, as you have it from the CA."


def _show(certificate: x509.Certificate, wrong: str = "") -> None:
    now = datetime.datetime.now(datetime.timezone.utc)
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    click.echo(f"  {_subject(certificate.subject)}")
    click.echo(f"    signed by {_subject(certificate.issuer)}, {_signature(certificate)}")
    click.echo(f"    {_key(certificate)}, valid from {first:%Y-%m-%d} to {last:%Y-%m-%d}")
    if last < now:
        click.echo(f"    WRONG: it expired on {last:%Y-%m-%d %H:%M} UTC")
    if first > now:
        click.echo(f"    WRONG: it is not valid before {first:%Y-%m-%d %H:%M} UTC, by this computer's clock")
    if wrong:
        click.echo(f"    WRONG: {wrong}")


def _summary(certificate: x509.Certificate) -> str:
    return f"{name(certificate)}: {_key(certificate)}, valid to {certificate.not_valid_after_utc:%Y-%m-%d}"


def _kept(path: Path, new: bool) -> str:
    with contextlib.suppress(ValueError):
        path = path.resolve().relative_to(Path.cwd())
    return f"{path}: {'written' if new else 'was there already'}"


def _key(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "a key of a kind unknown here"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return type(key).__name__.removesuffix("PublicKey")


def _signature(certificate: x509.Certificate) -> str:
    return crypto.X509.from_cryptography(certificate).get_signature_algorithm().decode()


def _names(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return "no host"
    names = [str(each) for kind in (x509.DNSName, x509.IPAddress) for each in found.get_values_for_type(kind)]
    return _printable(", ".join(names[:5]) + (" …" if len(names) > 5 else "")) or "no host"


def _subject(subject: x509.Name) -> str:
    return _printable(subject.rfc4514_string()) or "somebody without a name"


def _printable(text: str) -> str:
    # A server chooses it, and it goes to a terminal.
    return "".join(c if c.isprintable() else "?" for c in text)


def _reason(error: SSL.Error) -> str:
    if isinstance(error, SSL.SysCallError) or not (error.args and error.args[0]):
        return "it closed the connection; check that it is a TLS server"
    reason = error.args[0][-1][-1]
    return refusals.failure(None, reason.upper().replace(" ", "_")) or reason


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def _odd_serials() -> Iterator[None]:
    """Some old roots have the serial number 0, of which cryptography would warn whoever runs the command."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield
