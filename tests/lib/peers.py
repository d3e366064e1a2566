"""The library beside other people's code: tests on the laptop's side hand in what that code has made."""

import binascii
import json

from helpers import raises
from muster.clouds import baidu
from muster.hmac import Key
from muster.jwt import JWTError, decode, encode
from muster.portal import dns
from muster.rsa import PrivateKey, PublicKey

NOW = 1800000000


def hmacs(cases):
    """Key, message and digest of each case as other people's code has them, in hexadecimal."""
    for key, message, digest in cases:
        key = Key(binascii.unhexlify(key))
        assert key.hexdigest(binascii.unhexlify(message)) == digest


def rsa_signatures(pems, public, message, signature, times):
    """One key in several PEM formats, and another library's signature of a message (hexadecimal)."""
    message, signature = binascii.unhexlify(message), binascii.unhexlify(signature)
    for text in pems:
        key = PrivateKey.from_pem(text)
    for _ in range(times):
        assert key.sign(message) == signature
    for text in public:
        assert PublicKey.from_pem(text).verify(message, signature)
        assert not PublicKey.from_pem(text).verify(message + b"!", signature)


def rsa_keys_refused(cases):
    """PEM texts that hold no RSA private key in the clear, each with a word of the error."""
    for text, word in cases:
        e = raises(ValueError, PrivateKey.from_pem, text)
        assert type(e) is ValueError and word in str(e), e


def jwt_exchange(given, key, verifier, alg, made):
    """Decodes others' tokens, each with its claims, and writes those made of the same claims to a file."""
    tokens = []
    if alg == "RS256":
        key = PrivateKey.from_pem(key)
        verifier = PublicKey.from_pem(verifier)
    for token, claims in given:
        assert decode(token, verifier, alg, NOW) == claims
        spoiled = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
        raises(JWTError, decode, spoiled, verifier, alg, NOW)
        tokens.append(encode(claims, key, alg, {"kid": "\u5bc6\u94a5-1"}))
        assert decode(tokens[-1], verifier, alg, NOW) == claims
    with open(made, "w") as f:
        json.dump(tokens, f)


def jwt_times(cases, key):
    """Tokens with a leeway each, and whether another library finds them valid."""
    for token, leeway, valid in cases:
        try:
            decode(token, key, now=NOW, leeway=leeway)
            assert valid, (token, leeway)
        except JWTError:
            assert not valid, (token, leeway)


def bce_signatures(cases):
    """Arguments of authorization(), and what comes out."""
    for arguments, expected in cases:
        found = baidu.authorization(*arguments)
        assert found == expected, (arguments, found, expected)


def baidu_calls(base_url, session, aks):
    """Every call of Baidu's, over a real connection."""
    if session == "muster":
        from muster import http

        session = http.Session()
    else:
        import requests

        session = requests.Session() if hasattr(requests, "Session") else requests
    cloud = baidu.Baidu("AKID", "SECRET", "厂商 /1", "p?k", session, base_url)
    for ak in aks:
        cloud.import_devices([(ak, "钥")])
        cloud.get(ak)
        cloud.disable(ak)
        cloud.enable(ak)
        cloud.delete(ak)
    cloud.list("BAN", "DESC", 3, 50)
    cloud.list()


def dns_answers(queries, address, made):
    """Answers others' DNS queries (hexadecimal), and writes the answers to a file."""
    answers = [dns.answer(binascii.unhexlify(query), address) for query in queries]
    with open(made, "w") as f:
        json.dump([answer and binascii.hexlify(answer).decode() for answer in answers], f)
