"""Makes tokens in turns with what a person would otherwise take, and prints the times in microseconds."""

import binascii
import gc
import hashlib
import json
import sys
from time import ticks_diff, ticks_us

from muster import hmac, jwt, rsa

request = json.loads(sys.stdin.readline())
claims, secret = request["claims"], request["secret"].encode()


class HMAC:
    """As generic as the standard library's: any hash, by its name too, and any number of updates."""

    def __init__(self, key, message=None, digest="md5"):
        if not isinstance(key, (bytes, bytearray)):
            raise TypeError("bytes are expected")
        make = digest if callable(digest) else lambda *a: getattr(hashlib, digest)(*a)
        self.outer = make()
        self.inner = make()
        self.digest_size = getattr(self.inner, "digest_size", None)
        self.block_size = getattr(self.inner, "block_size", 64)
        if len(key) > self.block_size:
            key = make(key).digest()
        key += bytes(self.block_size - len(key))
        self.outer.update(bytes(x ^ 0x5C for x in key))
        self.inner.update(bytes(x ^ 0x36 for x in key))
        if message is not None:
            self.update(message)

    def update(self, message):
        self.inner.update(message)

    def digest(self):
        outer = self.outer.copy() if hasattr(self.outer, "copy") else self.outer
        outer.update(self.inner.digest())
        return outer.digest()


def new(key, message=None, digest="md5"):
    return HMAC(key, message, digest)


def chained(data):
    return binascii.b2a_base64(data).rstrip(b"\n").rstrip(b"=").replace(b"+", b"-").replace(b"/", b"_")


def generic():
    header = chained(json.dumps({"typ": "JWT", "alg": "HS256"}).encode())
    payload = chained(json.dumps(claims).encode())
    signature = chained(new(secret, header + b"." + payload, hashlib.sha256).digest())
    return (header + b"." + payload + b"." + signature).decode()


prepared = hmac.Key(secret)
header = binascii.b2a_base64(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=\n") + b"."
inner = bytes([x ^ 0x36 for x in secret + bytes(64 - len(secret))])
outer = bytes([x ^ 0x5C for x in secret + bytes(64 - len(secret))])


def bare():
    payload = binascii.b2a_base64(json.dumps(claims, separators=(",", ":")).encode())
    message = header + payload.rstrip(b"=\n").replace(b"+", b"-").replace(b"/", b"_")
    h = hashlib.sha256(inner)
    h.update(message)
    digest = h.digest()
    h = hashlib.sha256(outer)
    h.update(digest)
    signature = binascii.b2a_base64(h.digest()).rstrip(b"=\n").replace(b"+", b"-").replace(b"/", b"_")
    return b".".join((message, signature)).decode()


def ours():
    return jwt.encode(claims, prepared)


key = rsa.PrivateKey.from_pem(request["pem"])
n, d, p, encoded = (request[name] for name in ("n", "d", "p", "encoded"))


def sign():
    return key.sign(request["message"].encode())


def plain():
    return pow(encoded, d, n).to_bytes(256, "big")


def unavoidable():
    """Two halves of 1024 bits, squared as often as they have bits and multiplied for every window of them,
    and the check of the whole."""
    x = encoded % p
    for _ in range(request["halves"]):
        x = x * x % p
    y = encoded
    for _ in range(request["wholes"]):
        y = y * y % n


def timed(function, count):
    gc.collect()
    start = ticks_us()
    for _ in range(count):
        function()
    return ticks_diff(ticks_us(), start) / count


def allocated(function):
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    function()
    after = gc.mem_alloc()
    gc.enable()
    return after - before


def turns(functions, rounds, count):
    """A list a round, of each function's time."""
    for function in functions:
        function()
    return [[timed(function, count) for function in functions] for _ in range(rounds)]


assert bare() == ours()
assert sign() == plain() == bytes.fromhex(request["signature"])
print(
    json.dumps(
        {
            "ours": ours(),
            "generic": generic(),
            "hs256": turns((ours, generic, bare), 31, 50),
            "allocated": [allocated(function) for function in (ours, generic)],
            "rs256": turns((sign, plain, unavoidable), 25, 1),
        }
    )
)
