"""muster.pem and muster.asn1: PEM, DER, and certificates whose dates other people's code has read."""

import binascii
import random

from helpers import raises
from muster.asn1 import element, subject, validity
from muster.pem import blocks, certificates


def ders(dated):
    return [binascii.unhexlify(der) for der, _, _ in dated]


def pem(der):
    text = binascii.b2a_base64(der).strip()
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return b"-----BEGIN CERTIFICATE-----\n" + b"\n".join(lines) + b"\n-----END CERTIFICATE-----\n"


def test_blocks():
    one = b"-----BEGIN A KEY-----\nTUlJ\n-----END A KEY-----\n"
    other = b"-----BEGIN B-----Proc-Type: 4,X\r\n\r\nTU==\r\n-----END B-----"
    a, b = (b"A KEY", b"\nTUlJ\n"), (b"B", b"Proc-Type: 4,X\r\n\r\nTU==\r\n")
    for text, found in (
        (one, [a]),
        (b"before" + other + b"between" + one + b"-----after", [b, a]),
        (b"-----END B-----" + one, [a]),
        (b"-----BEGIN A-----" + other + b"-----END A-----", [(b"A", other)]),
    ):
        assert list(blocks(text)) == found, text
    for end in range(len(one) - 1):
        assert "cut short" in str(raises(ValueError, list, blocks(one[:end])))
    for text in (b"-----BEGIN -----\n-----END -----", b"-----BEGIN A-----\n-----END B-----", one + one[:30]):
        raises(ValueError, list, blocks(text))


def test_a_block_is_found_before_the_next_is_looked_at():
    text = b"-----BEGIN A-----\n-----END A-----\n-----BEGIN B"
    found = blocks(text)
    assert next(found) == (b"A", b"\n")
    raises(ValueError, next, found)


def test_element():
    for length, octets in (
        (0, b"\x00"),
        (127, b"\x7f"),
        (128, b"\x81\x80"),
        (300, b"\x82\x01\x2c"),
        (5, b"\x84\0\0\0\5"),
    ):
        der = b"\x05\x00\x30" + octets + bytes(length)
        start = 3 + len(octets)
        for data in (der, memoryview(der), der + b"more"):
            for tag in (0x30, None):
                assert element(data, 2, len(der), tag) == (start, start + length)
        assert element(der, 0, len(der), 5) == (2, 2)
        raises(ValueError, element, der, 2, len(der), 0x31)
        # It must not reach beyond the element around it, even if there are bytes.
        for end in range(2, len(der)):
            raises(ValueError, element, der, 2, end)
            raises(ValueError, element, der[:end], 2, end)
    for der in (b"\x30\x84\xff\xff\xff\xff", b"\x30\xff" + b"\xff" * 200, b"\x30\x88" + bytes(7)):
        assert "damaged" in str(raises(ValueError, element, der, 0, len(der)))


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
    for date in (
        b"26111201020 Z",
        b"2611120102Z03",
        b"+61112010203Z",
        b"261112010203+",
        b"2611120102030",
        b"\xb261112010203",
    ):
        raises(ValueError, validity, der[: at + 2] + date[:13] + der[at + 15 :])


def test_dates_of_another_length(dated):
    def tagged(tag, contents):
        return bytes([tag, len(contents)]) + contents

    for date, right in (
        (b"261112010203Z", True),
        (b"20261112010203Z", True),
        (b"2611120102Z", False),
        (b"20261112010203", False),
        (b"202611120102030Z", False),
        (b"20261112010203ZZ", False),
        (b"Z", False),
        (b"", False),
    ):
        dates = tagged(0x30, 2 * tagged(0x17, date))
        der = tagged(0x30, tagged(0x30, b"\x02\x01\x01\x30\x00\x30\x00" + dates))
        if right:
            assert validity(der) == (1794445323, 1794445323)
        else:
            raises(ValueError, validity, der)


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


def test_the_subject_of_a_certificate(dated):
    for der in ders(dated):
        # The common name is its last part, in UTF-8.
        assert bytes(subject(der)).endswith(b"\x0c\x3c" + b"n" * 60)
        raises(ValueError, subject, der[: len(der) // 4])
