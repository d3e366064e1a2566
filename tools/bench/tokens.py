"""JSON Web Tokens: HS256 with a prepared key, RS256 of 2048 bits, and what the latter needs of the heap."""

from __future__ import annotations

import hmac
import re
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tools.common.extras import fetch
from tools.common.progress import Tell

from .figure import Figure, Turns, times
from .programs import compiled, least_heap, library, run

# What Coze's document signs, in the length that its identifiers have.
CLAIMS = {
    "iss": "1110000000001",
    "aud": "api.coze.cn",
    "iat": 1795305600,
    "exp": 1795309200,
    "jti": "fb4ad9d0c5a14ee6a3f3f9c4f0a0b5f1",
}
SECRET = "0123456789abcdef0123456789abcdef"
MESSAGE = "header.claims"
AT_ANY_TIME: Any = {"verify_exp": False, "verify_iat": False, "verify_aud": False}
BITS = 2048
PUBLIC_EXPONENT = 65537
TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
# A sliding window of four bits: a multiplication for every five bits, eight for the odd powers.
HALVES = 2 * (BITS // 2 + BITS // 2 // 5 + 8)
# 17 to check the signature, one to blind, one to unblind, two for the next pair, and two halves put together.
WHOLES = 22

KB = 1024
HEAPS = 5


@dataclass(frozen=True)
class Peer:
    """What PyPI has for boards: package and needs as pip takes them, call an expression over the module
    and what is given, before the modules that it is imported with."""

    job: str
    package: str
    module: str
    call: str
    needs: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    note: str = ""


HASHLIB = "adafruit-circuitpython-hashlib==1.4.22"
BINASCII = "adafruit-circuitpython-binascii==2.0.10"
PEERS = (
    Peer(
        "HS256 token", "microjwt==0.1.0", "microjwt", "module.microjwt.create_token('user', 'role', secret)"
    ),
    Peer(
        "HMAC-SHA256",
        "circuitpython-hmac==0.2.1",
        "circuitpython_hmac",
        "module.new(secret.encode(), message.encode(), digestmod=adafruit_hashlib.sha256).digest()",
        (HASHLIB,),
        ("adafruit_hashlib",),
        "it cannot take MicroPython's own SHA-256, which has no digest_size, and has one in Python; "
        "ours has the key prepared.",
    ),
    Peer(
        "HMAC-SHA256",
        "micropython-hmac==3.4.2.post3",
        "hmac",
        "module.new(secret.encode(), message.encode(), hashlib.sha256).digest()",
        before=("hashlib",),
        note="pip finds neither setup.py nor pyproject.toml in it.",
    ),
    Peer(
        "RS256 signature",
        "adafruit-circuitpython-rsa==1.2.30",
        "adafruit_rsa",
        "module.sign(message.encode(), module.PrivateKey(*numbers), 'SHA-256')",
        (HASHLIB, BINASCII, "adafruit-circuitpython-logging==5.6.4"),
    ),
    Peer(
        "RS256 token",
        "adafruit-circuitpython-jwt==1.2.25",
        "adafruit_jwt",
        "module.JWT.generate(claims, numbers, 'RS256')",
        (BINASCII,),
        ("adafruit_rsa",),
    ),
)
# For the same jobs: module, what is prepared once, and the call.
OURS = {
    "HS256 token": ("muster.jwt", "secret.encode()", "module.encode(claims, ready)"),
    "HMAC-SHA256": ("muster.hmac", "module.Key(secret.encode())", "ready.digest(message.encode())"),
    "RS256 signature": ("muster.rsa", "module.PrivateKey.from_pem(pem)", "ready.sign(message.encode())"),
    "RS256 token": ("muster.jwt", "pem", "module.encode(claims, ready, 'RS256')"),
}


def measure(tell: Tell) -> list[Figure]:
    """The rows on tokens."""
    key = rsa.generate_private_key(PUBLIC_EXPONENT, BITS)
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        folder = Path(name)
        ours = library(folder / "lib")
        tell("tokens: HS256 and RS256 in turns")
        figures = in_turns(key, ours)
        tell("tokens: the heap that RS256 needs")
        figures += in_the_heap(key, ours, folder)
        tell("tokens: what PyPI has for boards")
        figures += beside_peers(key, ours, folder)
    return figures


def in_turns(key: rsa.RSAPrivateKey, ours: Path) -> list[Figure]:
    signature = key.sign(MESSAGE.encode(), padding.PKCS1v15(), hashes.SHA256())
    private = key.private_numbers()
    n = private.public_numbers.n
    request = {
        "claims": CLAIMS,
        "secret": SECRET,
        "message": MESSAGE,
        "signature": signature.hex(),
        "pem": pem(key),
        "encoded": pow(int.from_bytes(signature, "big"), PUBLIC_EXPONENT, n),
        "n": n,
        "d": private.d,
        "p": private.p,
        "halves": HALVES,
        "wholes": WHOLES,
    }
    told = run("tokens", request, [ours])
    for token in (told["ours"], told["generic"]):
        held = jwt.decode(token, SECRET, ["HS256"], options=AT_ANY_TIME)
        if held != CLAIMS:
            raise ValueError(f"a token holds {held}, not what was signed")
    token = Turns((token, generic) for token, generic, _ in told["hs256"])
    overhead = Turns((bare, token) for token, _, bare in told["hs256"])
    calls = Turns((bare, generic) for _, generic, bare in told["hs256"])
    sign = Turns((sign, plain) for sign, plain, _ in told["rs256"])
    work = Turns((unavoidable, sign) for sign, _, unavoidable in told["rs256"])
    less, more = told["allocated"]
    hs256, rs256 = "HS256 token, prepared key", "RS256 signature, 2048 bits"
    return [
        Figure(
            hs256,
            "a generic HMAC class, base64 by a chain of replace",
            "",
            f"{times(token.ratio)} as fast: {token.ours:.1f} us, {token.theirs:.1f} us",
            None,
            "written after micropython-lib's hmac and pyjwt, which are on no index. No target: 3 times is "
            f"out of reach, as the bare calls come to {times(calls.ratio)}.",
        ),
        Figure(
            hs256,
            "the same",
            "0.55 of the allocation",
            f"{less / more:.2f}: {less:,} of {more:,} bytes",
            less / more <= 0.55,
        ),
        Figure(
            hs256,
            "the bare calls: dumps, two SHA-256, base64",
            "within 1.5 times",
            f"{overhead.ratio:.2f} times: {overhead.theirs:.1f} us, {overhead.ours:.1f} us",
            overhead.ratio <= 1.5,
            "the calls alone, one after the other, that give the same token from padded keys.",
        ),
        Figure(
            rs256,
            "pow(m, d, n)",
            "4.2 times as fast",
            f"{sign.ratio:.2f} times: {sign.ours / 1000:.1f} ms, {sign.theirs / 1000:.1f} ms",
            sign.ratio >= 4.2,
            "blinded and checked before it leaves; pow() is neither.",
        ),
        Figure(
            rs256,
            "the multiplications it cannot avoid",
            "within 1.3 times",
            f"{work.ratio:.2f} times: {work.theirs / 1000:.1f} ms, {work.ours / 1000:.1f} ms",
            work.ratio <= 1.3,
        ),
    ]


def in_the_heap(key: rsa.RSAPrivateKey, ours: Path, folder: Path) -> list[Figure]:
    file = folder / "key.pem"
    file.write_text(pem(key))
    size = imported(ours, "muster.rsa")
    alone = least_heap("tokens_sign", "", [ours])
    # Its random numbers leave other holes each time.
    extra = int(statistics.median(least_heap("tokens_sign", str(file), [ours]) for _ in range(HEAPS))) - alone
    return [
        Figure(
            "RS256: import of muster.rsa",
            "",
            "",
            kb(size),
            None,
            "no target: DER, blinding, windows and the check of a signature take more than 3 KB.",
        ),
        Figure(
            "RS256: least further heap for a signature",
            "",
            "10 KB",
            kb(extra),
            extra <= 10 * KB,
            "from PEM text in a file; in the 64-bit VM.",
        ),
    ]


def beside_peers(key: rsa.RSAPrivateKey, ours: Path, folder: Path) -> list[Figure]:
    private = key.private_numbers()
    given = {
        "secret": SECRET,
        "message": MESSAGE,
        "claims": CLAIMS,
        "pem": pem(key),
        "numbers": [private.public_numbers.n, PUBLIC_EXPONENT, private.d, private.p, private.q],
    }
    digest = hmac.digest(SECRET.encode(), MESSAGE.encode(), "sha256").hex()
    signature = key.sign(MESSAGE.encode(), padding.PKCS1v15(), hashes.SHA256()).hex()
    checks = {
        "HS256 token": lambda found: unlike_a_token(found, SECRET, "HS256"),
        "HMAC-SHA256": lambda found: "" if found == digest else found[:40],
        "RS256 signature": lambda found: "" if found == signature else found[:40],
        "RS256 token": lambda found: unlike_a_token(found, key.public_key(), "RS256"),
    }
    return [beside(peer, given, checks[peer.job], ours, folder) for peer in PEERS]


def beside(peer: Peer, given: dict, wrong: Callable[[str], str], ours: Path, folder: Path) -> Figure:
    """Our time and size beside a peer's, once its result has been found right."""

    def figure(found: str) -> Figure:
        return Figure(peer.job, peer.package, "", found, None, peer.note)

    if not fetch([peer.package, *peer.needs], folder / "pip"):
        return figure("could not be installed")
    for path in (folder / "pip").rglob("*.py"):
        name = path.relative_to(folder / "pip")
        try:
            compiled(path, folder / "peers", name)
        except ValueError:
            # As it is: the VM says what is wrong with it.
            (folder / "peers" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "peers" / name).write_bytes(path.read_bytes())
    paths = [ours, folder / "peers"]
    work = {"given": given, "count": 20}
    try:
        theirs = run(
            "tokens_peer", {"module": peer.module, "before": peer.before, "call": peer.call, **work}, paths
        )
    except RuntimeError as e:
        return figure(f"wrong: {str(e).splitlines()[-1]}")
    if complaint := wrong(theirs["found"]):
        return figure(f"wrong: {complaint}")
    module, ready, call = OURS[peer.job]
    here = run("tokens_peer", {"module": module, "ready": ready, "call": call, **work}, paths)
    if complaint := wrong(here["found"]):
        raise ValueError(f"our {peer.job} is wrong: {complaint}")
    ratio = statistics.median(theirs["times"]) / statistics.median(here["times"])
    return figure(f"{times(ratio)} as fast; its import {kb(theirs['size'])}, ours {kb(here['size'])}")


def unlike_a_token(found: str, key: Any, alg: str) -> str:
    """What RFC 7515 or PyJWT has against it; "" if nothing."""
    if not TOKEN.fullmatch(found):
        return "not base64url as RFC 7515 has it, without padding"
    try:
        jwt.decode(found, key, [alg], options=AT_ANY_TIME)
    except jwt.PyJWTError as e:
        return str(e)
    return ""


def imported(path: Path, module: str) -> int:
    """The bytes of heap that importing a module of the library takes."""
    return run("tokens_peer", {"module": module, "before": ["muster.errors"]}, [path])["size"]


def pem(key: rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def kb(count: int) -> str:
    return f"{count / KB:.1f} KB"
