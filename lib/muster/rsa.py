"""RSA signatures: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2), from a PEM key of 1024 to 4096 bits.

Python's integers do not take constant time. Every signature is blinded with
random numbers, so that its timing says nothing of the key to someone who knows
the message; someone who measures the chip itself may still learn it.
"""

import hashlib
import os
from binascii import a2b_base64

from . import const
from .asn1 import DAMAGED, element
from .errors import Error
from .pem import blocks

# DigestInfo of SHA-256 (RFC 8017, 9.2, note 1): the digest follows.
_DIGEST_INFO = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
# OBJECT IDENTIFIER rsaEncryption, as it stands in an AlgorithmIdentifier.
_RSA_ENCRYPTION = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"

_INTEGER = const(0x02)
_BIT_STRING = const(0x03)
_OCTET_STRING = const(0x04)
_SEQUENCE = const(0x30)


class PublicKey:
    """Verifies signatures.

    n   the modulus, 1024 to 4096 bits
    e   the public exponent: odd, 3 to 2^32
    Raises ValueError for numbers that are no RSA key.
    """

    def __init__(self, n, e):
        if n >> 4096 or not n >> 1023:
            size = "large" if n >> 4096 else "small"
            raise ValueError("the RSA key is too %s: expected 1024 to 4096 bits" % size)
        if not n & e & 1 or not 3 <= e < 1 << 32:
            raise ValueError("these numbers are no RSA key: n must be odd, and e odd and from 3 to 2^32")
        self.n = n
        self.e = e
        self.size = 128  # bytes
        while n >> 8 * self.size:
            self.size += 1

    @classmethod
    def from_pem(cls, pem):
        """The key in PEM text (str or bytes), a "PUBLIC KEY" or an "RSA PUBLIC KEY".

        Raises ValueError, which says what is wrong.
        """
        return cls(*_numbers(pem, b"PUBLIC KEY", 2))

    def verify(self, message, signature):
        """True if signature (bytes) is this key's for message (bytes)."""
        if len(signature) != self.size:
            return False
        s = int.from_bytes(signature, "big")
        # The whole of it is compared: reading the padding instead is how forged signatures have passed.
        return s < self.n and pow(s, self.e, self.n) == self._encoded(message)

    def _encoded(self, message):
        """EMSA-PKCS1-v1_5 (RFC 8017, 9.2) as an integer."""
        if isinstance(message, str):
            raise TypeError("an RSA message is bytes, not str: encode() it")
        tail = b"\x00" + _DIGEST_INFO + hashlib.sha256(message).digest()
        return int.from_bytes(b"\x00\x01" + b"\xff" * (self.size - 2 - len(tail)) + tail, "big")


class PrivateKey:
    """Signs. Keep it: the first signature of each is slower, and so is reading the PEM text.

    n, e          as PublicKey takes them
    p, q          the primes
    dp, dq        the private exponent modulo p - 1 and modulo q - 1
    coefficient   the inverse of q modulo p
    Raises ValueError for numbers that do not belong together.
    """

    def __init__(self, n, e, p, q, dp, dq, coefficient):
        self._public = PublicKey(n, e)
        if not (
            p * q == n
            and 0 < dp < p
            and 0 < dq < q
            and 0 < coefficient < p
            and dp * e % (p - 1) == 1
            and dq * e % (q - 1) == 1
            and coefficient * q % p == 1
        ):
            raise ValueError("the RSA key is damaged: its numbers do not belong together")
        self._p = p
        self._q = q
        self._dp = dp
        self._dq = dq
        self._coefficient = coefficient
        self._blinding = None

    @classmethod
    def from_pem(cls, pem):
        """The key in PEM text (str or bytes), a "PRIVATE KEY" (PKCS#8) or an "RSA PRIVATE KEY" (PKCS#1).

        It must not be encrypted. Raises ValueError, which says what is wrong and
        nothing of the key.
        """
        # dp and dq say all that d says.
        version, n, e, _, p, q, dp, dq, coefficient = _numbers(pem, b"PRIVATE KEY", 9)
        if version:
            raise ValueError(DAMAGED)
        return cls(n, e, p, q, dp, dq, coefficient)

    def public_key(self):
        return self._public

    def sign(self, message):
        """Returns the signature of message (bytes): bytes, as many as the modulus has.

        Nothing else runs meanwhile. Raises Error if the result is wrong: computed
        wrongly in one half, it would give the key away.
        """
        n = self._public.n
        e = self._public.e
        encoded = self._public._encoded(message)
        blind, unblind = self._blinding or _blinding(n, e, self._public.size)
        self._blinding = None  # until this signature has come out right
        blinded = encoded * blind % n
        s = _power(blinded % self._q, self._dq, self._q)
        s += (_power(blinded % self._p, self._dp, self._p) - s) * self._coefficient % self._p * self._q
        s = s * unblind % n
        if pow(s, e, n) != encoded:
            raise Error("the RSA signature came out wrong, from a faulty chip or key: nothing is signed")
        # A pair squared is a pair again, and cheaper than a new one.
        self._blinding = blind * blind % n, unblind * unblind % n
        return s.to_bytes(self._public.size, "big")

    def __repr__(self):
        return "<PrivateKey of %d bits>" % (8 * self._public.size)


def _power(base, exponent, modulus):
    """pow(base, exponent, modulus), by fewer multiplications and shorter divisions.

    A sliding window of four bits saves a fifth of the multiplications. To divide takes
    nearly twice as long as to multiply, so the top quarter of each product is multiplied
    by 2^fold modulo the modulus, and added to the rest: half is left to divide.
    """
    square = base * base % modulus
    odd = [base]
    for _ in range(7):
        odd.append(odd[-1] * square % modulus)
    i = 0
    while exponent >> i:
        i += 32
    fold = i + i // 2
    low = (1 << fold) - 1
    folded = (1 << fold) % modulus
    result = 1
    while i:
        width = min(4, i)
        window = (exponent >> (i - width)) & ((1 << width) - 1)
        if window >> (width - 1):
            while not window & 1:
                window >>= 1
                width -= 1
        else:
            window = 0
            width = 1
        # It is squared for each bit, then multiplied for the window.
        for left in range(width, -1 if window else 0, -1):
            product = result * (result if left else odd[window >> 1])
            result = ((product >> fold) * folded + (product & low)) % modulus
        i -= width
    return result


def _blinding(n, e, size):
    """A pair (r^e, r^-1) modulo n of a random r."""
    r = int.from_bytes(os.urandom(size), "big") % n
    blind = pow(r, e, n)
    # Euclid's algorithm, for MicroPython's pow() knows no negative exponent.
    m = n
    unblind, y = 1, 0
    while m:
        quotient = r // m
        r, m = m, r - quotient * m
        unblind, y = y, unblind - quotient * y
    return blind, unblind % n


def _numbers(pem, kind, count):
    """The integers in a PEM key, of PKCS#1 or wrapped with the name of its algorithm (PKCS#8, X.509)."""
    label, der = _decode(pem, kind)
    at, end = element(der, 0, len(der), _SEQUENCE)
    if end != len(der):
        raise ValueError(DAMAGED)
    if label == kind:
        if kind == b"PRIVATE KEY":
            at = element(der, at, end, _INTEGER)[1]  # version
        algorithm, at = element(der, at, end, _SEQUENCE)
        if not der[algorithm:at].startswith(_RSA_ENCRYPTION):
            raise ValueError("the key is not one of RSA but of another algorithm, EC for one")
        # What follows a private key here, attributes, is of no use.
        at, end = element(der, at, end, _OCTET_STRING if kind == b"PRIVATE KEY" else _BIT_STRING)
        if kind == b"PUBLIC KEY":
            at += 1  # the count of unused bits
        at, inner = element(der, at, end, _SEQUENCE)
        if inner != end:
            raise ValueError(DAMAGED)
    numbers = []
    while at < end:
        # RSAPrivateKey (RFC 8017, A.1.2): version 1 is of more than two primes.
        if count == 9 and numbers == [1]:
            raise ValueError("the RSA key has more than two primes: make one of two (openssl genrsa 2048)")
        start, at = element(der, at, end, _INTEGER)
        if start == at or der[start] & 0x80:  # none, or negative
            raise ValueError(DAMAGED)
        numbers.append(int.from_bytes(der[start:at], "big"))
    if len(numbers) != count:
        raise ValueError(DAMAGED)
    return numbers


def _decode(pem, kind):
    """The label and the DER of the first block in PEM text: of that kind, or of "RSA " and that kind."""
    if isinstance(pem, str):
        pem = pem.encode()
    # From an environment variable its lines may come as text.
    label, body = next(blocks(pem.replace(b"\\r", b"").replace(b"\\n", b"\n")))
    if b"ENCRYPTED" in label or b"ENCRYPTED" in body:
        raise ValueError("the key is encrypted: decrypt it first (openssl pkey -in key.pem -out plain.pem)")
    if label not in (kind, b"RSA " + kind):
        raise ValueError(
            'this PEM is of "%s": expected "%s" or "RSA %s"' % (label.decode(), kind.decode(), kind.decode())
        )
    try:
        return label, a2b_base64(body)
    except ValueError:
        raise ValueError(DAMAGED)
