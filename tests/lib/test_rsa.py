"""muster.rsa: what RFC 8017 demands, and what no key or fault may do.

Signatures equal to those of cryptography, for keys of every size and format, are
in tests/cloud/test_jwt_peers.py.
"""

import binascii
import os
import random

import muster.rsa as rsa
from helpers import raises, replaced
from muster.errors import Error
from muster.rsa import PrivateKey, PublicKey
from pem_keys import EC_KEY, EC_PUBLIC, KEY, PUBLIC

# openssl's, of b"muster".
SIGNATURE = binascii.unhexlify(
    "63773b3cbe61d6635d34981edebe11477e21bcbdff965da51b66e3adb1e7699ad2dea2b51cbfc2b3cbe362cbf96d656bb9676e67e1ee2f73b4caba399fdcad51"
    "69b92f65a928ce0d215f2686a63f76e6e9226f8fdda268174bff392ecd7335f9a637cac232a06853480044af8eda42961174b3e78cccee191aa38b37513dbddf"
)

# DER, as far as these keys need it.


def element(tag, *contents):
    body = b"".join(contents)
    length = len(body)
    if length < 128:
        return bytes([tag, length]) + body
    octets = length.to_bytes(2, "big")
    return bytes([tag, 0x82]) + octets + body


def integer(n):
    octets = n.to_bytes(1100, "big").lstrip(b"\x00") or b"\x00"
    return element(2, b"\x00" + octets if octets[0] & 0x80 else octets)


RSA_ENCRYPTION = element(0x30, b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", b"\x05\x00")


def private(numbers):
    return element(0x30, *[integer(n) for n in numbers])


def wrapped(der, algorithm=RSA_ENCRYPTION):
    return element(0x30, integer(0), algorithm, element(4, der))


def pem(label, der):
    body = binascii.b2a_base64(der).decode()
    return "-----BEGIN %s-----\n%s-----END %s-----\n" % (label, body, label)


def numbers():
    """version, n, e, d, p, q, dp, dq, coefficient"""
    return rsa._numbers(KEY, b"PRIVATE KEY", 9)


def der():
    lines = KEY.split("\n")
    return binascii.a2b_base64("".join(lines[1:-2]))


def refused(text, kind=PrivateKey):
    e = raises(ValueError, kind.from_pem, text)
    assert type(e) is ValueError, e
    return str(e)


def test_sign_and_verify():
    key = PrivateKey.from_pem(KEY)
    assert key.sign(b"muster") == SIGNATURE
    assert key.sign(memoryview(bytearray(b"muster"))) == SIGNATURE, "a second signature, blinded otherwise"
    for public in (key.public_key(), PublicKey.from_pem(PUBLIC), PublicKey(numbers()[1], 65537)):
        assert public.verify(b"muster", SIGNATURE) is True
        assert public.verify(bytearray(b"muster"), bytearray(SIGNATURE)) is True
        assert public.verify(b"Muster", SIGNATURE) is False
        assert public.verify(b"", SIGNATURE) is False
    assert key.public_key().verify(b"", key.sign(b""))


def test_text_is_no_message():
    key = PrivateKey.from_pem(KEY)
    assert "encode()" in str(raises(TypeError, key.sign, "muster"))
    assert "encode()" in str(raises(TypeError, key.public_key().verify, "muster", SIGNATURE))


def test_verify_refuses_a_changed_signature():
    public = PublicKey.from_pem(PUBLIC)
    for at in range(0, 128, 3):
        changed = bytearray(SIGNATURE)
        changed[at] ^= 1 << at % 8
        assert not public.verify(b"muster", changed)


def test_verify_refuses_another_length_and_numbers_beyond_the_modulus():
    n = numbers()[1]
    public = PublicKey.from_pem(PUBLIC)
    for signature in (
        b"",
        SIGNATURE[:-1],
        SIGNATURE + b"\x00",
        b"\x00" + SIGNATURE,
        bytes(128),
        (1).to_bytes(128, "big"),
        (n - 1).to_bytes(128, "big"),
        n.to_bytes(128, "big"),
        b"\xff" * 128,
    ):
        assert public.verify(b"muster", signature) is False


def test_verify_refuses_a_signature_with_the_modulus_added():
    n = numbers()[1]
    key = PrivateKey.from_pem(KEY)
    message = b"muster"
    while int.from_bytes(key.sign(message), "big") + n >> 1024:  # until it still fits
        message += b"!"
    signature = key.sign(message)
    assert key.public_key().verify(message, signature)
    same = int.from_bytes(signature, "big") + n
    assert not key.public_key().verify(message, same.to_bytes(128, "big"))


def test_verify_compares_the_whole_encoded_message():
    _, n, e, d, *_ = numbers()
    public = PublicKey(n, e)
    right = pow(int.from_bytes(SIGNATURE, "big"), e, n).to_bytes(128, "big")
    digest = right[-32:]
    info = right[-51:-32]
    assert right == b"\x00\x01" + b"\xff" * 74 + b"\x00" + info + digest

    def passes(encoded):
        assert len(encoded) == 128
        signature = pow(int.from_bytes(encoded, "big"), d, n).to_bytes(128, "big")
        return public.verify(b"muster", signature)

    assert passes(right)
    # Bleichenbacher's forgery of 2006 and its relatives: each has the right digest somewhere.
    short = b"\x00\x01" + b"\xff" * 8 + b"\x00" + info + digest
    assert not passes(short + bytes(128 - len(short)))
    assert not passes(b"\x00\x01" + b"\xff" * 73 + b"\x00\x00" + info + digest)
    assert not passes(b"\x00\x02" + right[2:])
    assert not passes(b"\x00\x01" + b"\xfe" + right[3:])
    assert not passes(b"\x00\x01" + b"\xff" * 93 + b"\x00" + digest), "no DigestInfo"
    no_null = info.replace(b"\x30\x31\x30\x0d", b"\x30\x2f\x30\x0b").replace(b"\x05\x00", b"")
    assert not passes(b"\x00\x01" + b"\xff" * 76 + b"\x00" + no_null + digest)
    sha512 = info[:14] + b"\x03" + info[15:]
    assert not passes(right[:77] + sha512 + digest)


def test_a_fault_in_either_half_gives_no_signature():
    key = PrivateKey.from_pem(KEY)
    key.sign(b"muster")
    power = rsa._power

    def faulty_in(half):
        return lambda base, exponent, modulus: power(base, exponent, modulus) ^ (modulus == half) << 77

    for half in numbers()[4:6]:
        with replaced(rsa, _power=faulty_in(half)):
            e = raises(Error, key.sign, b"muster")
        assert "nothing is signed" in str(e) and not any(c.isdigit() for c in str(e).replace("RSA", ""))
        assert len(e.args) == 1
        assert key.sign(b"muster") == SIGNATURE


def test_a_key_whose_halves_change_later_gives_no_signature():
    key = PrivateKey.from_pem(KEY)
    for name in ("_dp", "_dq", "_coefficient", "_p", "_q"):
        value = getattr(key, name)
        setattr(key, name, value ^ 8)
        raises(Error, key.sign, b"muster")
        setattr(key, name, value)
    assert key.sign(b"muster") == SIGNATURE


def test_what_is_raised_to_the_private_exponent_is_blinded_afresh_each_time():
    key = PrivateKey.from_pem(KEY)
    _, n, e, _, p, q, *_ = numbers()
    seen = [pow(int.from_bytes(SIGNATURE, "big"), e, n) % modulus for modulus in (p, q)]
    power = rsa._power

    def watched(base, exponent, modulus):
        seen.append(base)
        return power(base, exponent, modulus)

    with replaced(rsa, _power=watched):
        for _ in range(5):
            assert key.sign(b"muster") == SIGNATURE
    assert len(seen) == 12 and len(set(seen)) == 12
    # Two keys of one PEM do not blind alike.
    other = PrivateKey.from_pem(KEY)
    other.sign(b"muster")
    assert other._blinding != key._blinding


def test_one_pair_of_random_numbers_serves_every_signature_until_a_fault():
    drawn = []

    class Counted:
        def urandom(self, count):
            drawn.append(count)
            return os.urandom(count)

    key = PrivateKey.from_pem(KEY)
    with replaced(rsa, os=Counted()):
        for _ in range(4):
            key.sign(b"muster")
        assert drawn == [128]
        key._dp ^= 2
        raises(Error, key.sign, b"muster")
        key._dp ^= 2
        key.sign(b"muster")
        assert drawn == [128, 128]


def test_power():
    modulus = numbers()[4]
    for exponent in (0, 1, 2, 3, 15, 16, 17, 0x8000, 0xFFFF, 1 << 31, 1 << 32, (1 << 64) - 1):
        assert rsa._power(12345, exponent, modulus) == pow(12345, exponent, modulus)
    for _ in range(50):
        base, exponent = [random.getrandbits(31) ** 5 for _ in range(2)]
        assert rsa._power(base, exponent, modulus) == pow(base, exponent, modulus)
    # An exponent as long as the modulus, longer and shorter; bases at either end.
    for modulus in numbers()[4:6] + [3, 65537, (1 << 127) - 1, 1 << 512, numbers()[1]]:
        for exponent in numbers()[6:8] + [modulus - 1]:
            for base in (0, 1, 2, modulus // 2, modulus - 1):
                assert rsa._power(base, exponent, modulus) == pow(base, exponent, modulus)


def test_pem_as_it_arrives():
    for text in (
        KEY.encode(),
        KEY.strip(),
        KEY.replace("\n", "\r\n"),
        KEY.replace("\n", "\r\n").strip(),
        "subject=\u8bbe\u5907\nBag Attributes\n" + KEY + "and after",
        KEY.replace("\n", "\n    "),
        pem("PRIVATE KEY", wrapped(der())),
        pem("PRIVATE KEY", wrapped(der())).replace("\n", "\r\n").strip(),
        # attributes of PKCS#8
        pem("PRIVATE KEY", element(0x30, wrapped(der())[4:], b"\xa0\x00")),
        KEY + EC_KEY,
        # from an environment variable or a line of JSON
        KEY.replace("\n", "\\n"),
        KEY.replace("\n", "\\r\\n").encode(),
        '"' + KEY.strip().replace("\n", "\\n") + '"',
        KEY.replace("\n", " "),
        "  \n\t" + KEY,
    ):
        assert PrivateKey.from_pem(text).sign(b"muster") == SIGNATURE
    n, e = numbers()[1:3]
    body = element(0x30, integer(n), integer(e))
    for text in (
        PUBLIC.encode(),
        PUBLIC.strip(),
        PUBLIC.replace("\n", "\r\n"),
        pem("RSA PUBLIC KEY", body),
        pem("PUBLIC KEY", element(0x30, RSA_ENCRYPTION, element(3, b"\x00", body))),
    ):
        assert PublicKey.from_pem(text).verify(b"muster", SIGNATURE)


def test_the_wrong_kind_of_pem_is_named():
    encrypted = pem("RSA PRIVATE KEY", bytes(48)).replace(
        "KEY-----\nA", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00112233\n\nA"
    )
    for text in (encrypted, pem("ENCRYPTED PRIVATE KEY", bytes(48))):
        assert "encrypted: decrypt it" in refused(text)
    for label in ("EC PRIVATE KEY", "EC PARAMETERS", "CERTIFICATE", "OPENSSH PRIVATE KEY", "PUBLIC KEY"):
        message = refused(pem(label, bytes(48)))
        assert '"%s"' % label in message and 'expected "PRIVATE KEY" or "RSA PRIVATE KEY"' in message
    assert 'expected "PUBLIC KEY" or "RSA PUBLIC KEY"' in refused(KEY, PublicKey)
    assert '"RSA PUBLIC KEY"' in refused(pem("CERTIFICATE", bytes(48)), PublicKey)
    assert "EC" in refused(EC_KEY)
    assert "EC" in refused(EC_PUBLIC, PublicKey)
    # rsassaPss, 1.2.840.113549.1.1.10: such a key must not be used otherwise.
    pss = element(0x30, RSA_ENCRYPTION[2:-3] + b"\x0a")
    assert "another algorithm" in refused(pem("PRIVATE KEY", wrapped(der(), pss)))


def test_a_key_of_three_primes_is_told_so():
    other = element(0x30, element(0x30, integer(7), integer(5), integer(3)))
    three = element(0x30, integer(1), *[integer(n) for n in numbers()[1:]], other)
    for text in (pem("RSA PRIVATE KEY", three), pem("PRIVATE KEY", wrapped(three))):
        assert "more than two primes" in refused(text)


def test_pem_cut_short():
    for text in (
        "",
        "key",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY",
        "-----BEGIN PRIVATE KEY-----",
        "-----",
        b"",
    ):
        assert "cut short" in refused(text)
    for end in range(0, len(KEY) - 2, 7):
        assert "cut short" in refused(KEY[:end])
    for end in range(0, len(KEY) - 40, 13):
        assert "cut short" in refused(KEY[:end] + "\n-----END RSA PRIVATE KEY-----\n")
    assert "cut short" in refused("-----END RSA PRIVATE KEY-----\n-----BEGIN RSA PRIVATE KEY-----\n")


def test_garbage_in_pem():
    for body in ("", "!!!!", "A", "AAA", "MIIC", "hello, world", "\u94a5\u5319", "=" * 100, "MA==", "MIA="):
        text = "-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n" % body
        assert "damaged" in refused(text)
        assert "damaged" in refused(text.replace("PRIVATE", "RSA PRIVATE"))
        assert "damaged" in refused(text.replace("PRIVATE", "PUBLIC"), PublicKey)


def test_key_sizes():
    def numbered(bits):
        n = (1 << (bits - 1)) + 1
        return element(0x30, integer(n), integer(65537)), [0, n, 65537] + [3] * 6

    for bits in (8, 512, 1016, 1023):
        public, nine = numbered(bits)
        assert "too small" in refused(pem("RSA PUBLIC KEY", public), PublicKey)
        assert "too small" in refused(pem("RSA PRIVATE KEY", private(nine)))
    for bits in (4097, 4104, 8192):
        public, nine = numbered(bits)
        assert "too large" in refused(pem("RSA PUBLIC KEY", public), PublicKey)
        assert "too large" in refused(pem("RSA PRIVATE KEY", private(nine)))
    for bits, size in ((1024, 128), (1025, 129), (2047, 256), (2048, 256), (4096, 512)):
        assert PublicKey.from_pem(pem("RSA PUBLIC KEY", numbered(bits)[0])).size == size


def test_numbers_that_are_no_key():
    nine = numbers()
    assert PrivateKey.from_pem(pem("RSA PRIVATE KEY", private(nine))).sign(b"muster") == SIGNATURE
    _, n, e, d, p, q, dp, dq, coefficient = nine
    for at, values in (
        (0, (1, 2)),
        (1, (n - 1, n + 2, n + p)),
        (2, (0, 1, 2, 4, 3, 65536, 65539, (1 << 32) + 1, n)),
        (4, (0, 1, p - 1, p + 2, n, q)),
        (5, (0, 1, q - 1, q + 2, n, p)),
        (6, (0, dp - 1, dp + 1, dp + p - 1, d)),
        (7, (0, dq - 1, dq + 1, dq + q - 1, d)),
        (8, (0, coefficient + 1, coefficient + p)),
    ):
        for value in values:
            wrong = list(nine)
            wrong[at] = value
            refused(pem("RSA PRIVATE KEY", private(wrong)))
    # n = 1 * n, and q twice
    for p, q in ((1, n), (n, 1)):
        refused(pem("RSA PRIVATE KEY", private([0, n, e, d, p, q, dp, dq, coefficient])))
    q = nine[5]
    refused(pem("RSA PRIVATE KEY", private([0, q * q, e, d, q, q, dq, dq, coefficient])))
    raises(ValueError, PrivateKey, n, e, nine[4], q, dp - nine[4] + 1, dq, coefficient)
    for pair in ((-n, e), (n - 1, e), (n, 1), (n, 65536), (n, (1 << 32) + 1), (n, -3), (n, n - 2)):
        raises(ValueError, PublicKey, *pair)


def test_der_that_is_not_der():
    good = der()
    nine = numbers()
    rest = [integer(n) for n in nine[2:]]
    for wrong in (
        good + b"\x00",
        private(nine + [1]),
        private(nine[:8]),
        private(nine[:1]),
        element(0x30, good[4:], element(4, b"")),
        element(0x31, good[4:]),
        b"\x30\x80" + good[4:] + b"\x00\x00",  # of indefinite length
        element(0x30, integer(0), element(2, b""), *rest),
        element(0x30, integer(0), element(2, nine[1].to_bytes(128, "big")), *rest),  # negative
    ):
        assert wrong != good
        assert "damaged" in refused(pem("RSA PRIVATE KEY", wrong))
        assert "damaged" in refused(pem("PRIVATE KEY", wrapped(wrong)))
    assert "damaged" in refused(pem("PRIVATE KEY", wrapped(good) + b"\x00"))
    last = element(4, element(0x30, integer(0), integer(nine[1]), *rest[:-1]), rest[-1])
    assert "damaged" in refused(pem("PRIVATE KEY", element(0x30, integer(0), RSA_ENCRYPTION, last)))
    public = element(0x30, integer(nine[1]), integer(nine[2]))
    for body in (b"\x00" + public + b"\x05\x00", b"\x00" + public[:-1], public, b""):
        wrong = element(0x30, RSA_ENCRYPTION, element(3, body))
        assert "damaged" in refused(pem("PUBLIC KEY", wrong), PublicKey)
    assert "damaged" in refused(
        pem("PRIVATE KEY", element(0x30, integer(0), RSA_ENCRYPTION, element(3, good)))
    )
    assert "damaged" in refused(pem("PRIVATE KEY", good)), "PKCS#1 under the label of PKCS#8"
    assert "damaged" in refused(pem("RSA PRIVATE KEY", wrapped(good)))


def test_der_changed_at_any_byte_is_a_key_or_a_value_error():
    for label, good in (("RSA PRIVATE KEY", der()), ("PRIVATE KEY", wrapped(der()))):
        keys = 0
        for at in range(len(good)):
            for change in (0x01, 0x02, 0x20, 0x7F, 0x80, 0xFF):
                changed = bytearray(good)
                changed[at] ^= change
                try:
                    PrivateKey.from_pem(pem(label, changed))
                    keys += 1
                except ValueError:
                    pass
        # Nothing but d, which is not used, and the parameters of the algorithm may change.
        assert keys <= 6 * 132
    good = binascii.a2b_base64("".join(PUBLIC.split("\n")[1:-2]))
    for at in range(len(good)):
        for change in range(1, 256, 5):
            changed = bytearray(good)
            changed[at] ^= change
            try:
                PublicKey.from_pem(pem("PUBLIC KEY", changed))
            except ValueError:
                pass


def test_der_cut_anywhere_is_refused():
    for label, good in (("RSA PRIVATE KEY", der()), ("PRIVATE KEY", wrapped(der()))):
        for end in range(len(good)):
            refused(pem(label, good[:end]))


def test_a_length_that_lies_takes_no_memory():
    nine = [integer(n) for n in numbers()]
    for lie in (
        b"\x83\xff\xff\xff",
        b"\x84\x7f\xff\xff\xff",
        b"\x84\xff\xff\xff\xff",
        b"\x88" + b"\xff" * 8,
        b"\xff" + b"\xff" * 127,
        b"\xff",
        b"\x80",
    ):
        assert "damaged" in refused(pem("RSA PRIVATE KEY", b"\x30" + lie + der()[4:]))
        assert "damaged" in refused(pem("RSA PRIVATE KEY", b"\x30" + lie))
        for at in range(9):
            lying = nine[:at] + [b"\x02" + lie + nine[at][2:]] + nine[at + 1 :]
            assert "damaged" in refused(pem("RSA PRIVATE KEY", element(0x30, *lying)))
    refused(pem("RSA PRIVATE KEY", element(0x30, b"\x02\x01\x03" * 5000)))


def test_nothing_shows_the_key():
    key = PrivateKey.from_pem(KEY)
    key.sign(b"muster")
    for text in (repr(key), str(key), "%r" % [key]):
        assert "1024 bits" in text and len(text) < 40
    secret = KEY.split("\n")[5][:12]
    for text in (
        KEY.replace("-----END", "-----AND"),
        KEY.replace("KEY-----\n", "KEY\n"),
        KEY.replace("RSA PRIVATE", "DSA PRIVATE"),
        KEY[:600] + "\n-----END RSA PRIVATE KEY-----\n",
        KEY.replace("M", "N"),
    ):
        assert secret not in refused(text) and "MII" not in refused(text)
    for number in numbers()[3:]:
        wrong = [n + 2 * (n == number) for n in numbers()]
        if number != numbers()[3]:
            message = refused(pem("RSA PRIVATE KEY", private(wrong)))
            assert not any(c.isdigit() for c in message), message
