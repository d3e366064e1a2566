"""A TLS server asked for its certificates by three implementations, each told of one root only.

OpenSSL builds the chain, here through pyOpenSSL, which shows it. What it finds is then proved by CPython's
ssl, which checks name and dates, and by the board's own mbedTLS.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import queue
import re
import select
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from muster.net import refusals
from OpenSSL import SSL, crypto

from tools.common import vm

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


class TlsServer:
    """A server to be asked within timeout seconds, however often. What fails is raised as Unproved."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self.host = host
        self.port = port
        self._timeout = timeout
        self._ends = time.monotonic() + timeout
        self._addresses = self._lookup()

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def chains(self, trusted: Sequence[bytes]) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
        """The certificates that it sends, and the chain that OpenSSL makes of them and of those trusted."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        # Nothing is refused here, so that all is seen; nothing is sent either.
        context.set_verify(SSL.VERIFY_NONE)
        store = context.get_cert_store()
        assert store is not None
        for der in trusted:
            store.add_cert(crypto.load_certificate(crypto.FILETYPE_ASN1, der))
        with self._connect() as raw:
            connection = SSL.Connection(context, raw)
            connection.set_connect_state()
            if not _is_address(self.host):
                connection.set_tlsext_host_name(self.host.encode())
            try:
                self._shake_hands(connection, raw)
            except SSL.Error as e:
                raise Unproved(f"TLS with {self} fails: {_reason(e)}.") from None
            with odd_serials():
                sent = connection.get_peer_cert_chain(as_cryptography=True) or []
                return sent, connection.get_verified_chain(as_cryptography=True) or sent

    def verdict(self, anchor: bytes) -> ssl.SSLCertVerificationError | None:
        """What CPython's ssl finds wrong when it trusts this certificate alone, which need not be a root."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=anchor)
        with self._connect() as raw:
            raw.settimeout(self._left())
            try:
                with context.wrap_socket(raw, server_hostname=self.host):
                    return None
            except ssl.SSLCertVerificationError as e:
                return e
            except TimeoutError:
                raise self._silent() from None
            except OSError as e:
                why = refusals.failure(e.errno, getattr(e, "reason", None) or "") or e
                raise Unproved(f"TLS with {self} fails: {why}.") from None

    def prove_on_the_board(self, ca: Path) -> None:
        """Connects with the library in the MicroPython VM, on its mbedTLS, trusting this file alone."""
        seconds = self._left()
        request = json.dumps([self.host, self.port, str(ca), seconds]) + "\n"
        try:
            done = vm.run(ON_THE_BOARD, stdin=request, timeout=seconds + 1)
        except subprocess.TimeoutExpired:
            raise self._silent() from None
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip().splitlines() or ["it ended without a word"]
            raise Unproved(
                f"OpenSSL accepts {self}, MicroPython does not: {said[-1].rstrip('.')}. "
                "No root is written for it."
            )

    def _left(self) -> float:
        seconds = self._ends - time.monotonic()
        if seconds <= 0:
            raise self._silent()
        return seconds

    def _silent(self) -> Unproved:
        return Unproved(f"{self} did not answer within {self._timeout:g} s: is it a TLS server?")

    def _connect(self) -> socket.socket:
        failure: OSError | None = None
        for *_, address in self._addresses:
            try:
                return socket.create_connection(address[:2], self._left())
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
            answer = found.get(timeout=self._left())
        except queue.Empty:
            raise Unproved(f"the name {self.host} was not found within {self._timeout:g} s.") from None
        if isinstance(answer, Exception):
            raise Unproved(f"the name {self.host} cannot be looked up ({answer}).")
        return answer

    def _shake_hands(self, connection: SSL.Connection, raw: socket.socket) -> None:
        while True:
            reading: list[socket.socket] = []
            writing: list[socket.socket] = []
            try:
                return connection.do_handshake()
            except SSL.WantReadError:
                reading = [raw]
            except SSL.WantWriteError:
                writing = [raw]
            if not any(select.select(reading, writing, [], self._left())):
                raise self._silent()


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


@contextlib.contextmanager
def odd_serials() -> Iterator[None]:
    """Some old roots have the serial number 0, of which cryptography would warn whoever runs the command."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield


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
