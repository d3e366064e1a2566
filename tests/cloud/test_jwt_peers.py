"""Tokens and signatures, with other people's code as the judge: PyJWT, cryptography, and CPython's hmac.

The library's part runs on both machines, as in tests/lib.
"""

import functools
import hmac
import json
import random
import time

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

NOW = 1800000000  # as in tests/lib/test_jwt.py
SECRET = "a secret of forty characters, and of more"
MESSAGE = "AI 玩具 0001".encode()
LINES = {"iss": "joe", "text": "line\r\nbreak \t \x00 \x1f \x7f \u2028", "quote": '"\\/'}


@functools.cache
def key_of(bits):
    """The same for all tests of a process: the longest take a second to find."""
    return rsa.generate_private_key(65537, bits)


def pem(key, format=serialization.PrivateFormat.PKCS8, encryption=None):
    encryption = encryption or serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, format, encryption).decode()


def public_pem(key, format=serialization.PublicFormat.SubjectPublicKeyInfo):
    return key.public_key().public_bytes(serialization.Encoding.PEM, format).decode()


def test_hmac_of_random_keys_and_messages(beside_peers):
    cases = []
    for length in [*range(0, 140, 3), 63, 64, 65, 1000]:
        key, message = random.randbytes(length), random.randbytes(random.randrange(300))
        cases.append([key.hex(), message.hex(), hmac.digest(key, message, "sha256").hex()])
    beside_peers("hmacs", cases=cases)


@pytest.mark.parametrize("bits", [1024, 2048, 3072, 4096])
def test_signatures_are_those_of_cryptography(beside_peers, bits):
    key = key_of(bits)
    signature = key.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    traditional = pem(key, serialization.PrivateFormat.TraditionalOpenSSL)
    beside_peers(
        "rsa_signatures",
        pems=[traditional, pem(key).replace("\n", "\r\n"), pem(key).strip()],
        public=[public_pem(key), public_pem(key, serialization.PublicFormat.PKCS1)],
        message=MESSAGE.hex(),
        signature=signature.hex(),
        times=1 if bits > 2048 else 3,
    )


@pytest.mark.parametrize("bits", [1025, 1031, 2041, 2047])
def test_signatures_of_odd_sizes_and_exponent_three(beside_peers, bits):
    key = rsa.generate_private_key(3, bits)
    signature = key.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    beside_peers(
        "rsa_signatures",
        pems=[pem(key)],
        public=[public_pem(key)],
        message=MESSAGE.hex(),
        signature=signature.hex(),
        times=2,
    )


def test_keys_of_other_kinds_are_refused_by_name(beside_peers):
    key = key_of(2048)
    password = serialization.BestAvailableEncryption(b"password")
    curve = ec.generate_private_key(ec.SECP256R1())
    traditional = serialization.PrivateFormat.TraditionalOpenSSL
    beside_peers(
        "rsa_keys_refused",
        cases=[
            [pem(key, encryption=password), "encrypted"],
            [pem(key, traditional, password), "encrypted"],
            [pem(curve), "another algorithm"],
            [pem(curve, traditional), '"EC PRIVATE KEY"'],
            [pem(key, serialization.PrivateFormat.OpenSSH), '"OPENSSH PRIVATE KEY"'],
            [public_pem(key), '"PUBLIC KEY"'],
            [public_pem(key, serialization.PublicFormat.PKCS1), '"RSA PUBLIC KEY"'],
            [public_pem(curve), '"PUBLIC KEY"'],
        ],
    )


def some(depth):
    """A random JSON value: no floats, whose text is the machine's own, and nothing beyond U+FFFF.

    MicroPython's json leaves an escaped surrogate pair as two characters.
    """
    kinds = ["text", "number", "constant"] + ["list", "object"] * (depth > 0)
    match random.choice(kinds):
        case "text":
            return "".join(random.choices('abc ?>~"\\\n中文设备é', k=random.randrange(12)))
        case "number":
            return random.choice(
                [0, -1, random.getrandbits(31), random.getrandbits(64), -random.getrandbits(100)]
            )
        case "constant":
            return random.choice([True, False, None])
        case "list":
            return [some(depth - 1) for _ in range(random.randrange(4))]
        case "object":
            return {some_name(): some(depth - 1) for _ in range(random.randrange(4))}


def some_name():
    return "x" + "".join(random.choices("abcdefgh中文", k=6))


def some_claims():
    claims = {some_name(): some(3) for _ in range(random.randrange(6))}
    for name, value in (
        ("exp", NOW + 60),
        ("iat", NOW - 5),
        ("nbf", NOW),
        ("iss", "设备"),
        ("jti", some_name()),
    ):
        if random.random() < 0.5:
            claims[name] = value
    return claims


@pytest.mark.parametrize("alg", ["HS256", "RS256"])
def test_tokens_are_exchanged_with_pyjwt(beside_peers, tmp_path, alg):
    many = [{}, LINES, *(some_claims() for _ in range(60 if alg == "HS256" else 12))]
    key, verifier = (SECRET, SECRET) if alg == "HS256" else (pem(key_of(2048)), public_pem(key_of(2048)))
    made = tmp_path / "tokens.json"
    beside_peers(
        "jwt_exchange",
        given=[[jwt.encode(claims, key, alg), claims] for claims in many],
        key=key,
        verifier=verifier,
        alg=alg,
        made=str(made),
    )
    # Their dates are checked on the other side, which knows no other clock than the real one.
    options = {f"verify_{name}": False for name in ("exp", "nbf", "iat")}
    tokens = json.loads(made.read_text())
    assert len(tokens) == len(many)
    for token, claims in zip(tokens, many, strict=True):
        assert jwt.decode(token, verifier, algorithms=[alg], options=options) == claims
        assert jwt.get_unverified_header(token) == {"alg": alg, "typ": "JWT", "kid": "密钥-1"}
        tampered = token[:-10] + ("A" if token[-10] != "A" else "B") + token[-9:]
        with pytest.raises(jwt.InvalidSignatureError):
            jwt.decode(tampered, verifier, algorithms=[alg], options=options)


def test_both_refuse_and_accept_at_the_same_second(beside_peers):
    """PyJWT is asked about times around the real now; the library, about the same distances from another."""
    cases = []
    for name in ("exp", "nbf", "iat"):
        for distance in (-400, -30, -11, 11, 30, 400):
            for leeway in (0, 20):
                token = jwt.encode({name: int(time.time()) + distance}, SECRET, "HS256")
                try:
                    jwt.decode(token, SECRET, algorithms=["HS256"], leeway=leeway)
                    valid = True
                except jwt.InvalidTokenError:
                    valid = False
                cases.append([jwt.encode({name: NOW + distance}, SECRET, "HS256"), leeway, valid])
    assert {valid for _, _, valid in cases} == {True, False}
    beside_peers("jwt_times", cases=cases, key=SECRET)
