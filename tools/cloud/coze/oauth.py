"""An access token for a JWT that the app's private key signed (OAuth JWT, the channel's kind)."""

import base64
import hashlib
import secrets
from typing import Annotated, Any

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field, ValidationError, model_validator

from ..answers import log_header
from ..notation import number
from ..refusals import Refused, sentence
from ..state import Remembered, State
from ..strict import JSON, Bearer, Strict, Text
from .bodies import Body
from .caller import DeviceInfo

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LONGEST_TOKEN_S = 86399
# Not in the document: how far two clocks may be apart, and what is still a sane `exp`.
LEEWAY_S = 10
LONGEST_JWT_S = 24 * 3600


class Purchase(Body):
    grant_type: Text
    duration_seconds: Annotated[int, Field(ge=1, le=LONGEST_TOKEN_S)] = 900
    scope: dict[str, Any] | None = None


class SessionContext(Strict):
    device_info: DeviceInfo = DeviceInfo()


class Claims(Strict):
    model_config = ConfigDict(extra="ignore")

    iss: Text
    aud: Text
    iat: int
    exp: int
    jti: Text
    session_name: Text | None = None
    session_context: SessionContext = SessionContext()

    @model_validator(mode="after")
    def _check(self) -> "Claims":
        if not self.iat < self.exp <= self.iat + LONGEST_JWT_S:
            raise ValueError(f"needs an exp within {LONGEST_JWT_S} s after iat")
        return self


def new_app() -> dict[str, str]:
    """What Coze's console makes: an app's id, a pair of keys as PEM, and the public one's fingerprint."""
    key = generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key()
    digest = hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return {
        "client_id": number(),
        "key_id": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "public_key": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    }


def check_public_key(pem: str) -> None:
    """Raises ValueError, with a sentence, for what is not an RSA public key."""
    if not isinstance(load_pem_public_key(pem.encode()), RSAPublicKey):
        raise ValueError("Coze's apps have RSA keys, and this public key is another kind")


router = APIRouter(dependencies=[JSON])


@router.post("/api/permission/oauth2/token")
async def token(body: Purchase, request: Request, state: Remembered, bearer: Bearer = None) -> Response:
    if body.grant_type != JWT_BEARER:
        raise Refused(body.grant_type, "unsupported_grant_type")
    if bearer is None:
        raise _invalid("Authorization must be Bearer and a JWT")
    app, claims = _verified(state, bearer, request.headers["Host"])
    device = claims.session_context.device_info
    request.state.device = device.device_id or device.custom_consumer
    reason = state.coze.spent(claims.iss, claims.jti, bearer)
    if reason:
        raise _invalid(reason)
    bought = "czs_" + secrets.token_urlsafe(48)
    expires = int(state.now()) + body.duration_seconds
    state.coze.add_token(bought, expires, bool(app["may_bind"]), device.device_id, device.custom_consumer)
    answer = {"access_token": bought, "expires_in": expires, "token_type": "Bearer"}
    return JSONResponse(answer, headers=log_header())


def _verified(state: State, given: str, host: str) -> tuple[dict[str, Any], Claims]:
    """The app that signed a JWT, and what it claims."""
    try:
        header = jwt.get_unverified_header(given)
    except jwt.InvalidTokenError as error:
        raise _invalid(str(error)) from None
    if header.get("typ") != "JWT":
        raise _invalid("typ must be JWT")
    app = state.coze.app(header["kid"]) if "kid" in header else None
    if app is None:
        raise _invalid("kid is not the fingerprint of a registered public key")
    try:
        claims = jwt.decode(
            given,
            app["public_key"],
            algorithms=["RS256"],
            audience=host,
            issuer=app["client_id"],
            leeway=LEEWAY_S,
            options={"require": ["iss", "aud", "iat", "exp", "jti"], "strict_aud": True},
        )
        return app, Claims.model_validate(claims)
    except jwt.InvalidAudienceError:
        raise _invalid(f"aud must be {host!r}, the host of this URL and its port") from None
    except jwt.InvalidTokenError as error:
        raise _invalid(str(error)) from None
    except ValidationError as error:
        raise _invalid(sentence(error.errors(), 0).replace("the body", "the payload")) from None


def _invalid(why: str) -> Refused:
    return Refused(why, "invalid_client")
