"""muster.hmac against RFC 4231; tests/cloud/test_jwt_peers.py compares it with CPython's, on random input."""

import binascii

from helpers import raises
from muster.hmac import Key, compare

# key, message, digest; the fifth is truncated in the RFC.
RFC_4231 = (
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (
        bytes(range(1, 26)),
        b"\xcd" * 50,
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
    ),
    (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data. "
        b"The key needs to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
)


def test_rfc_4231():
    for key, message, digest in RFC_4231:
        assert Key(key).hexdigest(message)[: len(digest)] == digest
        assert binascii.hexlify(Key(key).digest(message)).decode()[: len(digest)] == digest


def test_keys_of_a_block_and_around_it():
    # A key longer than a block is hashed; one of 64 bytes is not, and trailing zeros change nothing.
    assert Key(b"k" * 63).digest(b"m") == Key(b"k" * 63 + b"\x00").digest(b"m")
    assert Key(b"k" * 64).digest(b"m") != Key(b"k" * 64 + b"\x00").digest(b"m")


def test_empty_key_and_message():
    assert Key(b"").hexdigest(b"") == "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"


def test_buffers_of_every_kind():
    for key, message, digest in RFC_4231[:2] + RFC_4231[5:]:
        for kind in (bytearray, memoryview):
            assert Key(kind(key)).hexdigest(kind(message)) == digest


def test_a_key_serves_again_and_keeps_no_hold_of_its_buffer():
    buffer = bytearray(b"Jefe")
    key = Key(buffer)
    buffer[0] = 0
    for _ in range(3):
        assert key.hexdigest(RFC_4231[1][1]) == RFC_4231[1][2]
        assert key.hexdigest(b"another") != RFC_4231[1][2]


def test_text_is_refused():
    assert "encode()" in str(raises(TypeError, Key, "Jefe"))
    assert "encode()" in str(raises(TypeError, Key(b"Jefe").digest, "text"))
    assert "encode()" in str(raises(TypeError, Key(b"Jefe").hexdigest, "text"))


def test_nothing_shows_the_key():
    key = Key(b"correct horse battery")
    for text in (repr(key), str(key), "%r" % [key]):
        assert "horse" not in text and len(text) < 80


def test_compare():
    for a, b in (
        (b"", b""),
        (b"abc", b"abc"),
        (b"abc", bytearray(b"abc")),
        (memoryview(b"abc"), b"abc"),
        ("", ""),
        ("abc", "abc"),
        ("\u4e2d\u6587", "\u4e2d\u6587"),
    ):
        assert compare(a, b) is True and compare(b, a) is True
    for a, b in (
        (b"abc", b"abd"),
        (b"abc", b"\xe1bc"),
        (b"abc", b"ab"),
        (b"abc", b""),
        ("abc", "abd"),
        ("abc", "ab"),
        ("\u4e2d", "\u6587"),
        ("abc", b"abc"),
        (b"abc", None),
        (None, None),
        (3, 3),
        ([97], b"a"),
    ):
        assert compare(a, b) is False and compare(b, a) is False


def test_compare_sees_every_bit():
    a = bytes(range(32))
    for at in range(32):
        for bit in range(8):
            b = bytearray(a)
            b[at] ^= 1 << bit
            assert not compare(a, b)
