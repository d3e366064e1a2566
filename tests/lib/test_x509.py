"""muster.x509 against certificates whose dates other people's code has read."""

import binascii
import random

from helpers import raises
from muster.x509 import certificates, validity


def ders(dated):
    return [binascii.unhexlify(der) for der, _, _ in dated]


def pem(der):
    text = binascii.b2a_base64(der).strip()
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return b"-----BEGIN CERTIFICATE-----\n" + b"\n".join(lines) + b"\n-----END CERTIFICATE-----\n"


def test_validity(dated):
    assert len(dated) == 8
    for der, first, last in dated:
        der = binascii.unhexlify(der)
        assert validity(der) == validity(memoryview(der)) == (first, last)


def test_validity_of_a_certificate_cut_short(dated):
    for der in ders(dated)[:2]:
        for end in range(len(der)):
            raises(ValueError, validity, der[:end])


def test_validity_of_nonsense(dated):
    der = bytearray(ders(dated)[0])
    for _ in range(2000):
        at = random.randrange(160)  # where the dates and all before them are
        was = der[at]
        der[at] = random.getrandbits(8)
        try:
            first, last = validity(der)
            assert isinstance(first, int) and isinstance(last, int)
        except ValueError:
            pass
        der[at] = was
    for _ in range(500):
        noise = bytes([random.getrandbits(8) for _ in range(60)])
        for data in (noise, b"\x30\x3a\x30\x38" + noise[4:], b"\x30\x82\x00\x38\x30\x82\x00\x34" + noise[8:]):
            raises(ValueError, validity, data)
    for data in (
        b"",
        b"\x30",
        b"\x30\x00",
        b"\x30\x02\x30\x00",
        b"\x30\x80",
        b"\x30\x84\0\0\0\0",
        b"\x30\x03\x30\x01\xa0",
    ):
        raises(ValueError, validity, data)


def test_dates_of_another_form(dated):
    der = ders(dated)[0]
    at = der.index(b"\x17\x0d") if hasattr(der, "index") else der.find(b"\x17\x0d")
    for date in (b"26111201020 Z", b"+61112010203Z", b"261112010203+", b"2611120102030", b"\xb261112010203"):
        raises(ValueError, validity, der[: at + 2] + date[:13] + der[at + 15 :])


def test_certificates(dated):
    a, b = ders(dated)[:2]
    assert certificates(a) == [a]
    for text, found in (
        (pem(a), [a]),
        (pem(a) + pem(b), [a, b]),
        (b"Subject: one\n" + pem(b) + b"\nin between\n\n" + pem(a) + b"after", [b, a]),
        (pem(a).replace(b"\n", b"\r\n"), [a]),
        (pem(a).replace(b"\n", b"\n "), [a]),
        (pem(a).rstrip(), [a]),
    ):
        assert certificates(text) == found, text
    key = pem(a).replace(b"CERTIFICATE", b"PRIVATE KEY")
    assert certificates(key + pem(b)) == [b]
    for nothing in (
        b"",
        b"hello",
        key,
        pem(a)[:-20],
        pem(a)[27:],
        pem(b) + pem(a)[:300],
        pem(a).replace(b"M", b"-", 1),
    ):
        raises(ValueError, certificates, nothing)
