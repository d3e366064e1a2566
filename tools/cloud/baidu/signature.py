"""Who calls: the account whose key signed the request (bce-auth-v1), as Baidu's own SDK signs it."""

import datetime
import re
import secrets
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, Request

from ..refusals import Refused
from ..state import Remembered

VALID_S = 1800
SIGNED = "host;x-bce-date"  # "本API签名仅使用host和x-bce-date两个header"
AUTHORIZATION = re.compile(r"bce-auth-v1/([^/]+)/([^/]+)/([0-9]{1,9})/([^/]*)/([0-9a-f]{64})", re.ASCII)


async def _signer(request: Request, state: Remembered) -> dict[str, Any]:
    """Refuses who is unknown, and what is signed otherwise."""
    # All of Baidu's SDK is behind it, which few boxes need.
    from baidubce.auth.bce_credentials import BceCredentials
    from baidubce.auth.bce_v1_signer import sign

    found = AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
    if found is None:
        raise _malformed("It must be bce-auth-v1/{accessKeyId}/{timestamp}/{seconds}/{headers}/{signature}.")
    key_id, timestamp, seconds, headers, signature = found.groups()
    if headers != SIGNED:
        raise _malformed(f"The signed headers of this API are {SIGNED}, not {headers!r}.")
    date = request.headers.get("x-bce-date", "")
    signed, dated = _unix("The timestamp", timestamp), _unix("x-bce-date", date)
    account = state.baidu.account(key_id)
    if account is None:
        raise Refused(code="InvalidAccessKeyId")
    now = state.now()
    # A date to come is as far off as one that is gone: the clock of the caller is wrong.
    if now > signed + int(seconds) or max(abs(now - signed), abs(now - dated)) > VALID_S:
        raise Refused(f"{date}.", "RequestExpired")
    expected = sign(
        BceCredentials(key_id, account["secret_access_key"]),
        request.method.encode(),
        request.scope["raw_path"],
        {b"host": request.headers["Host"].encode(), b"x-bce-date": date.encode()},
        parameters(request),
        signed,
        int(seconds),
        [name.encode() for name in SIGNED.split(";")],
    )
    if not secrets.compare_digest(expected.rpartition(b"/")[2], signature.encode()):
        raise Refused(code="SignatureDoesNotMatch")
    return account


Account = Annotated[dict[str, Any], Depends(_signer)]


def parameters(request: Request) -> dict[str, str]:
    """The parameters of the query, each at most once.

    Not Starlette's: it takes a plus sign for a space, which RFC 3986 writes %20.
    """
    known: dict[str, str] = {}
    for part in filter(None, request.scope["query_string"].decode("ascii").split("&")):
        name, _, value = map(unquote, part.partition("="))
        if name in known:
            raise Refused(f"{name} stands there twice.", "InvalidURI")
        known[name] = value
    return known


def _unix(name: str, text: str) -> int:
    try:
        date = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        raise _malformed(f"{name} must be UTC and like 2014-06-01T23:00:10Z, not {text!r}.") from None
    return int(date.replace(tzinfo=datetime.timezone.utc).timestamp())


def _malformed(why: str) -> Refused:
    return Refused(why, "InvalidHTTPAuthHeader")
