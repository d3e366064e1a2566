"""The connections to the clouds, and what goes wrong on them."""

import os
import ssl
import threading
import time
import traceback
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from muster import CloudError, TransportError
from requests.exceptions import InvalidSchema, InvalidURL, ProxyError
from requests.utils import get_environ_proxies, select_proxy

TIMEOUT_S = (10, 60)  # to connect, and between two bytes of an answer
FAULTS = (CloudError, TransportError, requests.RequestException)

_DATES = (9, 10)  # OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and _HAS_EXPIRED
_VARIABLES = ("https_proxy", "all_proxy")


class ThreadedSession:
    """A requests.Session for each thread, since threads must not share one.

    ahead   seconds by which this computer's clock is ahead of the server that answered last
    """

    def __init__(self, ca: str | None = None) -> None:
        self.ahead = 0
        self._ca = ca
        self._local = threading.local()

    def request(self, method: str, url: str, **more: Any) -> requests.Response:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            # Without one, requests would take a .netrc's, in place of our Authorization.
            self._local.session.auth = lambda request: request
        try:
            response = self._local.session.request(
                method, url, timeout=TIMEOUT_S, verify=self._ca or True, allow_redirects=False, **more
            )
        except requests.RequestException as e:
            proxy = select_proxy(url, get_environ_proxies(url))
            unfit = isinstance(e, (ProxyError, InvalidURL, InvalidSchema))
            if proxy and (unfit or _raised_in("_tunnel", e)):
                raise ProxyFailed(proxy, e) from None
            raise
        self.ahead = _ahead(response.headers.get("Date", ""))
        return response


class ProxyFailed(TransportError):
    """The proxy let nothing through, so nothing was sent.

    remedy   what to do about it, a sentence
    """

    def __init__(self, proxy: str, error: Exception) -> None:
        named = (name for name, value in os.environ.items() if value == proxy and name.lower() in _VARIABLES)
        variable = min(
            named, key=lambda name: _VARIABLES.index(name.lower()), default="the system's settings"
        )
        # Before an @ stand a name and a password.
        address = proxy.rpartition("@")[2].rpartition("://")[2].rstrip("/")
        *_, cause = _causes(error)
        words = getattr(cause, "strerror", None) or str(cause).removeprefix("Tunnel connection failed: ")
        reason = "".join(c for c in words if c.isprintable())
        super().__init__(f"the proxy {address}, named by {variable}, let nothing through: {reason}")
        first = f"Correct {variable}, or ask those who run the proxy."
        if reason.startswith("407"):
            first = f"Put the name and the password that it wants into {variable}: http://name:password@host:port."
        self.remedy = f"{first} A server that NO_PROXY names is reached without it."


def words(error: BaseException) -> str:
    """What went wrong, without the libraries' own names for it."""
    if not isinstance(error, requests.RequestException) or isinstance(error, ValueError):
        return str(error)
    server = urlsplit(str(error.request.url)).netloc if error.request else "the server"
    if isinstance(error, requests.Timeout):
        return f"{server} does not answer in time"
    # The system's own words belong to the first exception, which the others were made from.
    reasons = [e.strerror for e in _causes(error) if isinstance(e, OSError) and e.strerror]
    return f"{server}: {reasons[-1] if reasons else 'the connection broke off'}"


def untrusted(error: BaseException) -> bool:
    """True if the server's certificate was refused."""
    return any(isinstance(e, ssl.SSLCertVerificationError) for e in _causes(error))


def misdated(error: BaseException) -> bool:
    """True if the server's certificate has expired, or is not valid yet, by this computer's clock."""
    codes = [e.verify_code for e in _causes(error) if isinstance(e, ssl.SSLCertVerificationError)]
    return any(code in _DATES for code in codes)


def passing(error: BaseException) -> bool:
    """True if the same request may succeed later."""
    if isinstance(error, CloudError):
        return error.retryable
    # A ValueError is an address or a header that cannot be sent at all.
    return isinstance(error, FAULTS) and not isinstance(error, ValueError) and not untrusted(error)


def uncertain(error: BaseException) -> bool:
    """True if the cloud may have done what was asked."""
    if isinstance(error, CloudError):
        # A gateway's 429 is no answer of the cloud's, but it has let nothing through.
        return error.status != 429 and (error.code is None or (error.status or 0) >= 500)
    return not isinstance(error, ProxyFailed) and not _raised_in("connect", error)


def _ahead(date: str) -> int:
    try:
        return int(time.time() - parsedate_to_datetime(date).timestamp())
    except (ValueError, TypeError, OverflowError):
        return 0


def _raised_in(function: str, error: BaseException) -> bool:
    """True if it came up in this function of http.client or urllib3; the exceptions do not say so."""
    tracebacks = (traceback.walk_tb(e.__traceback__) for e in _causes(error))
    return any(frame.f_code.co_name == function for pairs in tracebacks for frame, _ in pairs)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, the one that it was made from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
