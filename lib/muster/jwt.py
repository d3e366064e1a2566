"""JSON Web Tokens (RFC 7519), signed with HS256 or RS256 (RFC 7518).

Who calls names the algorithm and the key; what a token says of itself decides
nothing. aud, iss, jti and the rest of the claims are the caller's to check.
"""

import binascii
import re

from . import const
from .errors import Error
from .jsontext import dumps, loads
from .memory import call

_LONGEST = const(16384)
_PIECE = const(512)
_TIMES = ("exp", "nbf", "iat")

# {"alg":"HS256","typ":"JWT"} and {"alg":"RS256","typ":"JWT"}, encoded
_HEADERS = {
    "HS256": b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.",
    "RS256": b"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.",
}


class JWTError(Error):
    """The token is malformed, signed otherwise, or not valid now. The message holds nothing of it."""


def encode(claims, key, alg="HS256", headers=None):
    """Returns the signed token, a str.

    claims    a dict of what JSON can hold; times in it (exp, nbf, iat) are Unix seconds, ints
    key       for HS256 the secret (bytes or str) or an hmac.Key of it;
              for RS256 an rsa.PrivateKey or its PEM text
    headers   more for the token's header: {"kid": "..."}

    A key that is prepared once saves time with every token. Raises ValueError or
    TypeError for what cannot be signed, Error as rsa.PrivateKey.sign does.
    """
    if not isinstance(claims, dict):
        raise TypeError("the claims of a JWT are a dict")
    message = _header(alg, headers) + _base64(dumps(claims))
    signature = _signer(key, alg)(message)
    return b".".join((message, _base64(signature))).decode()


def decode(token, key, alg="HS256", now=None, leeway=0):
    """Returns the claims of a token, a dict, once its signature and its times have been checked.

    token    a str of at most 16384 characters
    key      for HS256 as for encode(); for RS256 an rsa.PublicKey or PrivateKey, or a public key's PEM text
    now      Unix seconds; the clock's by default. Of a float, a board has lost up to two minutes
    leeway   seconds by which the two clocks may differ

    Raises JWTError for a token that is not to be trusted. exp, nbf and iat may be
    missing; where they are there, their whole seconds count. Raises ValueError or
    TypeError for a wrong alg, key or now.
    """
    if not isinstance(token, str) or len(token) > _LONGEST:
        raise JWTError("expected a JWT in a str of at most %d characters" % _LONGEST)
    text = opened(bytearray(token.encode()), key, alg)
    claims = _object(text)
    if now is None:
        from . import clock

        now = clock.now()
    elif not isinstance(now, (int, float)):
        raise TypeError("now is Unix seconds, not %s" % type(now).__name__)
    now, leeway = int(now), int(leeway)
    times = claims
    if any(isinstance(claims.get(name), float) for name in _TIMES):
        # A board's 32-bit floats would move them by minutes: of their text, the whole seconds are read.
        times = _object(_without_fractions(text))
    if _time(times, "exp", now + 1) + leeway <= now:
        raise JWTError("the JWT has expired (exp)")
    for name in _TIMES[1:]:
        if _time(times, name, now) > now + leeway:
            raise JWTError("the JWT is not valid yet (%s): is the clock right?" % name)
    return claims


def opened(token, key, alg):
    """decode() as far as the signature: returns the claims, JSON text still. Their times are not checked.

    token   a bytearray, which is overwritten if the signature fits: a board has no room for copies
    """
    verify = _verifier(key, alg)
    dots = token.count(b".")
    if dots != 2:
        raise JWTError("expected a JWT of three parts with dots between them, got %d" % (dots + 1))
    first, last = token.find(b"."), token.rfind(b".")
    token = memoryview(token)
    header, signature = _unbase64(token[:first]), _unbase64(token[last + 1 :])
    claims = token[first + 1 : last]
    if not verify(token[:last], signature):
        _unbase64(claims)  # which says more, if that is what is wrong
        raise JWTError("the JWT's signature does not fit: it has another key or algorithm, or was changed")
    header = _object(header)
    if header.get("alg") != alg:
        raise JWTError("the JWT's header does not say %s" % alg)
    if "crit" in header:
        raise JWTError("the JWT demands extensions (crit) that are not known here")
    return _unbase64(claims, claims)


def _header(alg, headers):
    """The header with its dot, ready to be followed by the claims."""
    if not headers and alg in _HEADERS:
        return _HEADERS[alg]
    header = {"alg": alg, "typ": "JWT"}
    if headers:
        if "alg" in headers:
            raise ValueError("headers must not name alg: give it as alg=")
        header.update(headers)
    return _base64(dumps(header)) + b"."


def _without_fractions(text):
    try:
        return re.sub(rb"(\d)\.\d+(\s*[,}])", rb"\1\2", text)
    except RuntimeError:  # of a fraction of some thousand digits
        return text


def _time(claims, name, default):
    value = claims.get(name, default)
    if type(value) is not int:  # isinstance would take a bool
        raise JWTError("the JWT's %s is not a number of Unix seconds in digits" % name)
    return value


def _signer(key, alg):
    """The function that signs a message."""
    if alg == "HS256":
        return _secret(key).digest
    if alg != "RS256":
        raise ValueError('alg is "HS256" or "RS256", not %r' % (alg,))
    if isinstance(key, (str, bytes)):
        from .rsa import PrivateKey

        key = PrivateKey.from_pem(key)
    if not hasattr(key, "sign"):
        raise TypeError("RS256 signs with an rsa.PrivateKey or its PEM text")
    return key.sign


def _verifier(key, alg):
    """The function that tells whether a signature is that of a message."""
    if alg == "HS256":
        from .hmac import compare

        digest = _secret(key).digest
        return lambda message, signature: compare(digest(message), signature)
    if alg != "RS256":
        raise ValueError('alg is "HS256" or "RS256", not %r' % (alg,))
    if isinstance(key, (str, bytes)):
        return lambda message, signature: call(_fits, key, message, signature)
    if hasattr(key, "public_key"):
        key = key.public_key()
    if not hasattr(key, "verify"):
        raise TypeError("RS256 verifies with an rsa.PublicKey, an rsa.PrivateKey or a public key's PEM text")
    return key.verify


def _fits(pem, message, signature):
    """Whether it is that of a public key, whose code leaves the memory again."""
    from .rsa import PublicKey

    return PublicKey.from_pem(pem).verify(message, signature)


def _secret(key):
    """The hmac.Key of a secret, or the one that is given."""
    if hasattr(key, "digest"):
        return key
    if isinstance(key, str):
        key = key.encode()
    if not isinstance(key, (bytes, bytearray)) or not key:
        raise TypeError("HS256 takes a secret (bytes or str, and not empty) or an hmac.Key")
    # Whoever knows a public key could sign with it, were it taken for a secret.
    if b"-----BEGIN" in key:
        raise ValueError("a PEM key is no secret for HS256: is RS256 meant?")
    from .hmac import Key

    return Key(key)


def _base64(data):
    return binascii.b2a_base64(data).rstrip(b"=\n").replace(b"+", b"-").replace(b"/", b"_")


def _unbase64(text, into=None):
    """The bytes in a view of base64url: piece by piece, for all at once would take five times its memory."""
    into = into or memoryview(bytearray(len(text)))
    n = 0
    for i in range(0, len(text), _PIECE):
        piece = bytes(text[i : i + _PIECE])
        try:
            data = binascii.a2b_base64(
                piece.replace(b"-", b"+").replace(b"_", b"/") + b"=" * (-len(piece) % 4)
            )
        except ValueError:
            data = None
        # a2b_base64 skips what it does not know, and takes ends that no encoder makes.
        if data is None or _base64(data) != piece:
            raise JWTError("a part of the JWT is not base64url without padding")
        into[n : n + len(data)] = data
        n += len(data)
    return bytes(into[:n])


def _object(text):
    try:
        value = loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise JWTError("a part of the JWT is not a JSON object")
    return value
