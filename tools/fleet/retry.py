"""One call: over a connection of its thread's own, at the permitted rate, with patience."""

import math
import os
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import requests
import tenacity
from muster import CloudError, TransportError
from pyrate_limiter import Limiter, Rate
from requests.exceptions import InvalidSchema, InvalidURL, ProxyError
from requests.utils import get_environ_proxies, select_proxy

TIMEOUT_S = (10, 60)  # to connect, and between two bytes of an answer

ATTEMPTS = 8
FIRST_ATTEMPTS = 3  # as long as nothing has answered yet: more likely the address is wrong
BACKOFF_S, BACKOFF_MAX_S = 0.5, 20
DEAF_S = 0.5
_DATES = (9, 10)  # OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and _HAS_EXPIRED
_VARIABLES = ("https_proxy", "all_proxy")

TROUBLE = (CloudError, TransportError, requests.RequestException)


class Session:
    """requests' sessions, one for each thread, since they are not to be shared.

    ahead   seconds by which this computer's clock is ahead of the server's that answered last
    """

    ahead = 0

    def __init__(self, ca: str | None = None) -> None:
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
        Session.ahead = _ahead(response.headers.get("Date", ""))
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
        *_, cause = _pile(error)
        words = getattr(cause, "strerror", None) or str(cause).removeprefix("Tunnel connection failed: ")
        reason = "".join(c for c in words if c.isprintable())
        super().__init__(f"the proxy {address}, named by {variable}, let nothing through: {reason}")
        first = f"Correct {variable}, or ask those who run the proxy."
        if reason.startswith("407"):
            first = f"Put the name and the password that it wants into {variable}: http://name:password@host:port."
        self.remedy = f"{first} A server that NO_PROXY names is reached without it."


class Stopped(Exception):
    """The run is ending, and no new attempt is made."""


class Failed(Exception):
    """A call that came to nothing.

    error   the last attempt's: one of TROUBLE, or Stopped
    doubt   an attempt may have had its effect all the same
    """

    def __init__(self, error: Exception, doubt: bool) -> None:
        super().__init__(error)
        self.error = error
        self.doubt = doubt
        self.code = getattr(error, "code", None)


class Caller:
    """Makes calls, from any thread.

    rate   calls a second at most, None for no limit
    stop   ends all waiting, and with it the call
    told   is handed a sentence when a call has to be repeated
    """

    def __init__(
        self, rate: float | None, stop: threading.Event, told: Callable[[str], None] = lambda text: None
    ) -> None:
        # Evenly: ten at once and then none for a second would sit on the edge of the limit.
        self._limiter = Limiter(Rate(1, math.ceil(1000 / rate)), buffer_ms=0) if rate else None
        self._stop, self._told = stop, told
        self._held_until = 0.0
        self._answered = False
        self._jitter = tenacity.wait_random_exponential(BACKOFF_S, BACKOFF_MAX_S)
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_passing),
            wait=self._pause,
            stop=self._enough,
            before_sleep=self._tell,
            sleep=tenacity.sleep_using_event(stop),
            reraise=True,
        )

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        doubt = False

        def attempt() -> Any:
            nonlocal doubt
            self._await_turn()
            try:
                result = function(*arguments)
            except TROUBLE as e:
                self._answered = self._answered or isinstance(e, CloudError)
                doubt = doubt or uncertain(e)
                raise
            self._answered = True
            return result

        try:
            return self._retrying(attempt)
        except (Stopped, *TROUBLE) as e:
            raise Failed(e, doubt) from e

    def _await_turn(self) -> None:
        # What the cloud asks of one call, it asks of all.
        self._stop.wait(max(0.0, self._held_until - time.monotonic()))
        # The limiter is deaf to the event while it waits.
        while self._limiter and not self._stop.is_set():
            if self._limiter.try_acquire("call", timeout=DEAF_S):
                break
        if self._stop.is_set():
            raise Stopped

    def _pause(self, state: tenacity.RetryCallState) -> float:
        assert state.outcome is not None
        e = state.outcome.exception()
        asked = getattr(e, "retry_after", None) or 0
        self._held_until = max(self._held_until, time.monotonic() + asked)
        return asked + self._jitter(state)

    def _tell(self, state: tenacity.RetryCallState) -> None:
        assert state.outcome is not None
        self._told(f"again in {state.upcoming_sleep:.1f} s: {words(state.outcome.exception())}")

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        return state.attempt_number >= (ATTEMPTS if self._answered else FIRST_ATTEMPTS)


def words(error: BaseException | None) -> str:
    """What went wrong, without the libraries' own names for it."""
    if not isinstance(error, requests.RequestException) or isinstance(error, ValueError):
        return str(error)
    server = urlsplit(str(error.request.url)).netloc if error.request else "the server"
    if isinstance(error, requests.Timeout):
        return f"{server} does not answer in time"
    # The system's own words are at the bottom of a pile of exceptions.
    reasons = [e.strerror for e in _pile(error) if isinstance(e, OSError) and e.strerror]
    return f"{server}: {reasons[-1] if reasons else 'the connection broke off'}"


def untrusted(error: BaseException | None) -> bool:
    """True if the server's certificate was refused."""
    return any(isinstance(e, ssl.SSLCertVerificationError) for e in _pile(error))


def misdated(error: BaseException | None) -> bool:
    """True if the server's certificate has expired, or is not valid yet, by this computer's clock."""
    codes = [e.verify_code for e in _pile(error) if isinstance(e, ssl.SSLCertVerificationError)]
    return any(code in _DATES for code in codes)


def _passing(error: BaseException) -> bool:
    if isinstance(error, CloudError):
        return error.retryable
    # A ValueError is an address or a header that cannot be sent at all.
    return isinstance(error, TROUBLE) and not isinstance(error, ValueError) and not untrusted(error)


def uncertain(error: BaseException) -> bool:
    """True if the request may have been obeyed."""
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
    tracebacks = (traceback.walk_tb(e.__traceback__) for e in _pile(error))
    return any(frame.f_code.co_name == function for pairs in tracebacks for frame, _ in pairs)


def _pile(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, the one that it was made from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
