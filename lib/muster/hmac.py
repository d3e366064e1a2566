"""HMAC with SHA-256 (RFC 2104, RFC 4231), from a key that is prepared once.

MicroPython's hash objects cannot be copied, so what a Key keeps is its two
padded blocks, not two hashes that have taken them in.
"""

import binascii
from hashlib import sha256

from . import const

_BLOCK = const(64)
_BYTES = (bytes, bytearray, memoryview)


class Key:
    """A secret, ready to authenticate any number of messages.

    key   bytes, bytearray or memoryview of any length
    Raises TypeError for a str: encode() it.
    """

    def __init__(self, key):
        if isinstance(key, str):
            raise TypeError("an HMAC key is bytes, not str: encode() it")
        key = sha256(key).digest() if len(key) > _BLOCK else bytes(key)
        key += bytes(_BLOCK - len(key))
        self._inner = bytes([b ^ 0x36 for b in key])
        self._outer = bytes([b ^ 0x5C for b in key])

    def digest(self, message):
        """Returns the 32 bytes that authenticate message (bytes, bytearray or memoryview)."""
        # MicroPython would hash a str, CPython refuses it.
        if isinstance(message, str):
            raise TypeError("an HMAC message is bytes, not str: encode() it")
        h = sha256(self._inner)
        h.update(message)
        inner = h.digest()
        h = sha256(self._outer)
        h.update(inner)
        return h.digest()

    def hexdigest(self, message):
        """digest() as a str of 64 lower-case hexadecimal digits."""
        return binascii.hexlify(self.digest(message)).decode()


def compare(a, b):
    """True if a and b are equal; the time it takes tells their length, not where they differ.

    a, b   two strs, or two of bytes, bytearray and memoryview; False for any other pair
    """
    if isinstance(a, str) and isinstance(b, str):
        a = a.encode()
        b = b.encode()
    elif not isinstance(a, _BYTES) or not isinstance(b, _BYTES):
        return False
    if len(a) != len(b):
        return False
    difference = 0
    for i in range(len(a)):
        difference |= a[i] ^ b[i]
    return difference == 0
