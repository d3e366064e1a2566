"""muster.jwt against RFC 7515, and against tokens that no one should trust.

Tokens are exchanged with PyJWT, both ways, in tests/cloud/test_jwt_peers.py.
"""

import binascii
import json
import sys

import muster.jwt as jwt
from helpers import raises, replaced
from muster import clock
from muster.hmac import Key
from muster.jwt import JWTError, decode, encode
from muster.rsa import PrivateKey, PublicKey
from pem_keys import EC_KEY, KEY, PUBLIC

SECRET = "a secret of the maker's own gateway"
NOW = 1800000000

# RFC 7515, A.1 and A.2: both have these claims, with the line breaks as they are there.
RFC_PAYLOAD = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
RFC_CLAIMS = {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}
A1_MESSAGE = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + RFC_PAYLOAD
A1_KEY = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
A1_SIGNATURE = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
A2_MESSAGE = "eyJhbGciOiJSUzI1NiJ9." + RFC_PAYLOAD
A2_P = (
    "4BzEEOtIpmVdVEZNCqS7baC4crd0pqnRH_5IB3jw3bcxGn6QLvnEtfdUdiYrqBdss1l58BQ3KhooKeQTa9AB0Hw_Py5PJdTJNPY8cQn7"
    "ouZ2KKDcmnPGBY5t7yLc1QlQ5xHdwW1VhvKn-nXqhJTBgIPgtldC-KDV5z-y2XDwGUc"
)
A2_Q = (
    "uQPEfgmVtjL0Uyyx88GZFF1fOunH3-7cepKmtH4pxhtCoHqpWmT8YAmZxaewHgHAjLYsp1ZSe7zFYHj7C6ul7TjeLQeZD_YwD66t62wD"
    "mpe_HlB-TnBA-njbglfIsRLtXlnDzQkv5dTltRJ11BKBBypeeF6689rjcJIDEz9RWdc"
)
A2_DP = (
    "BwKfV3Akq5_MFZDFZCnW-wzl-CCo83WoZvnLQwCTeDv8uzluRSnm71I3QCLdhrqE2e9YkxvuxdBfpT_PI7Yz-FOKnu1R6HsJeDCjn12S"
    "k3vmAktV2zb34MCdy7cpdTh_YVr7tss2u6vneTwrA86rZtu5Mbr1C1XsmvkxHQAdYo0"
)
A2_DQ = (
    "h_96-mK1R_7glhsum81dZxjTnYynPbZpHziZjeeHcXYsXaaMwkOlODsWa7I9xXDoRwbKgB719rrmI2oKr6N3Do9U0ajaHF-NKJnwgjMd"
    "2w9cjz3_-kyNlxAr2v4IKhGNpmM5iIgOS1VZnOZ68m6_pbLBSp3nssTdlqvd0tIiTHU"
)
A2_QI = (
    "IYd7DHOhrWvxkwPQsRM2tOgrjbcrfvtQJipd-DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd_QJQ3ydy5cY7YIBi87w93IKLE"
    "dfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp_gh6A5603k2-ZQwVK0JKSHuLFkuQ3U"
)
A2_SIGNATURE = (
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdb"
    "F9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383"
    "LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWy"
    "wlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)


def unbase64(text):
    return binascii.a2b_base64(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4))


def base64(data):
    if isinstance(data, str):
        data = data.encode()
    text = binascii.b2a_base64(data).decode().strip()
    return text.replace("=", "").replace("+", "-").replace("/", "_")


def number(text):
    return int.from_bytes(unbase64(text), "big")


def signed(header, claims, secret=SECRET):
    """A token of any two texts, rightly signed with HS256."""
    message = base64(header) + "." + base64(claims)
    return message + "." + base64(Key(secret.encode()).digest(message.encode()))


HEADER = '{"alg":"HS256"}'


def refused(token, key=SECRET, alg="HS256", now=NOW, leeway=0):
    e = raises(JWTError, decode, token, key, alg, now, leeway)
    return str(e)


def test_rfc_7515_a1():
    key = Key(unbase64(A1_KEY))
    assert base64(key.digest(A1_MESSAGE.encode())) == A1_SIGNATURE
    token = A1_MESSAGE + "." + A1_SIGNATURE
    assert decode(token, key, now=1300819379) == RFC_CLAIMS
    assert decode(token, unbase64(A1_KEY), "HS256", 0) == RFC_CLAIMS
    assert "expired" in refused(token, key)


def test_rfc_7515_a2():
    p, q = number(A2_P), number(A2_Q)
    key = PrivateKey(p * q, 65537, p, q, number(A2_DP), number(A2_DQ), number(A2_QI))
    assert base64(key.sign(A2_MESSAGE.encode())) == A2_SIGNATURE
    token = A2_MESSAGE + "." + A2_SIGNATURE
    for verifier in (key, key.public_key(), PublicKey(p * q, 65537)):
        assert decode(token, verifier, "RS256", 1300819379) == RFC_CLAIMS
    assert "signature" in refused(A2_MESSAGE + "." + A2_SIGNATURE.replace("c", "d"), key, "RS256")


def test_encode_is_compact_json_in_base64url():
    held = {"a": [1, "\u4e2d\u6587~?>\xff\U0001f600"]}
    token = encode(held, SECRET)
    header, claims, signature = token.split(".")
    assert isinstance(token, str)
    assert unbase64(header) == b'{"alg":"HS256","typ":"JWT"}'
    text = unbase64(claims).decode()
    assert text.startswith('{"a":[1,"') and " " not in text and json.loads(text) == held
    assert "-" in claims or "_" in claims
    assert not any(c in token for c in "+/= \n")
    # A.3.1 of RFC 7518: the signature is over the text of the token before it.
    message = (header + "." + claims).encode()
    assert signature == base64(Key(SECRET.encode()).digest(message))


def test_header():
    def header(**options):
        return json.loads(unbase64(encode({}, *key, **options).split(".")[0]))

    for key in ((SECRET, "HS256"), (KEY, "RS256")):
        assert header() == header(headers=None) == header(headers={}) == {"alg": key[1], "typ": "JWT"}
        given = {"kid": "public key's fingerprint", "typ": "at+jwt"}
        assert header(headers=given) == {"alg": key[1], "kid": given["kid"], "typ": "at+jwt"}
        assert given == {"kid": "public key's fingerprint", "typ": "at+jwt"}
        for alg in ("none", "HS256", "RS256"):
            assert "alg=" in str(raises(ValueError, encode, {}, *key, headers={"alg": alg}))


def test_both_ways_with_each_algorithm():
    claims = {
        "iss": "\u8bbe\u5907",
        "iat": NOW,
        "exp": NOW + 900,
        "deep": {"list": [1, None, True, {"a": ""}]},
    }
    for made, checked in (
        (SECRET, SECRET.encode()),
        (SECRET.encode(), bytearray(SECRET.encode())),
        (Key(SECRET.encode()), SECRET),
        (SECRET, Key(SECRET.encode())),
    ):
        assert decode(encode(claims, made), checked, now=NOW) == claims
    private = PrivateKey.from_pem(KEY)
    for made, checked in (
        (KEY, PUBLIC),
        (KEY.encode(), PUBLIC.encode()),
        (private, private),
        (private, private.public_key()),
    ):
        assert decode(encode(claims, made, "RS256"), checked, "RS256", NOW) == claims
    assert decode(encode({}, SECRET), SECRET) == {}


def test_the_caller_names_the_algorithm():
    public = PublicKey.from_pem(PUBLIC)
    hs = encode({}, SECRET)
    rs = encode({}, KEY, "RS256")
    assert "signature" in refused(rs)
    assert "signature" in refused(hs, public, "RS256")
    # A right signature under a header that says otherwise, or nothing.
    for alg in ('"none"', '"RS256"', '"hs256"', '"HS512"', '["HS256"]', "null", "256", '{"HS256":1}'):
        assert "HS256" in refused(signed('{"alg":%s}' % alg, "{}"))
    assert "HS256" in refused(signed('{"typ":"JWT"}', "{}"))
    for alg in ("none", "HS512", "RS512", "ES256", "hs256", "", None, 256):
        for function, arguments in ((encode, ({}, SECRET, alg)), (decode, (hs, SECRET, alg))):
            assert '"HS256" or "RS256"' in str(raises(ValueError, function, *arguments))


def test_an_unsigned_token_is_refused():
    for alg in ("none", "None", "NONE", "HS256"):
        message = base64('{"alg":"%s"}' % alg) + "." + base64("{}")
        assert "signature" in refused(message + ".")
        assert "three parts" in refused(message)
        assert "signature" in refused(message + "." + base64(bytes(32)))
        assert "signature" in refused(message + ".", PUBLIC, "RS256")


def test_a_public_key_is_no_secret():
    # Signed by someone who knows only the public key.
    message = base64(HEADER) + "." + base64("{}")
    token = message + "." + base64(Key(PUBLIC.encode()).digest(message.encode()))
    for key in (PUBLIC, PUBLIC.encode(), bytearray(PUBLIC.encode()), "\n" + PUBLIC, KEY, EC_KEY):
        assert "RS256" in str(raises(ValueError, decode, token, key))
        assert "RS256" in str(raises(ValueError, encode, {}, key))
    # The usual slip: RS256 meant, alg forgotten.
    raises(TypeError, decode, token, PublicKey.from_pem(PUBLIC))
    raises(TypeError, encode, {}, PrivateKey.from_pem(KEY))


def test_keys_of_the_wrong_kind():
    hs = encode({}, SECRET)
    for key in ("", b"", None, 5, ["secret"]):
        assert "secret" in str(raises(TypeError, encode, {}, key))
        assert "secret" in str(raises(TypeError, decode, hs, key))
    for key in (None, 5, PublicKey.from_pem(PUBLIC), Key(b"secret")):
        assert "PrivateKey" in str(raises(TypeError, encode, {}, key, "RS256"))
    for key in (None, 5, Key(b"secret")):
        assert "PublicKey" in str(raises(TypeError, decode, hs, key, "RS256"))
    raises(ValueError, encode, {}, PUBLIC, "RS256")
    raises(ValueError, encode, {}, SECRET, "RS256")
    raises(ValueError, decode, hs, SECRET, "RS256")
    assert "dict" in str(raises(TypeError, encode, [1], SECRET))
    assert "dict" in str(raises(TypeError, encode, "{}", SECRET))


def test_the_signature_is_checked_before_a_claim_is_read():
    expired = encode({"exp": 1}, SECRET)
    assert "expired" in refused(expired)
    assert "signature" in refused(expired, "another")
    assert "signature" in refused(signed("not json", "nor this", "another"))
    assert "JSON object" in refused(signed("not json", "{}"))
    parsed = []

    class Watched:
        def __call__(self, text):
            parsed.append(text)
            return loads(text)

    loads = jwt.loads
    with replaced(jwt, loads=Watched()):
        refused(expired, "another")
        assert not parsed
        refused(expired)
        assert len(parsed) == 2


def test_times():
    def times(leeway=0, **claims):
        token = encode(claims, SECRET)
        try:
            assert decode(token, SECRET, now=NOW, leeway=leeway) == claims
        except JWTError as e:
            return str(e)
        return "valid"

    assert times() == "valid"
    assert times(exp=NOW + 1) == "valid"
    assert "expired" in times(exp=NOW)
    assert "expired" in times(exp=NOW - 1)
    assert "expired" in times(exp=0)
    assert "expired" in times(exp=-5)
    assert times(leeway=10, exp=NOW - 9) == "valid"
    assert "expired" in times(leeway=10, exp=NOW - 10)
    for name in ("nbf", "iat"):
        assert times(**{name: NOW}) == "valid"
        assert times(**{name: 0}) == "valid"
        assert "not valid yet (%s)" % name in times(**{name: NOW + 1})
        assert times(10, **{name: NOW + 10}) == "valid"
        assert "not valid yet" in times(10, **{name: NOW + 11})
    assert "not valid yet" in times(exp=NOW + 900, nbf=NOW + 5)
    assert times(exp=1 << 70) == "valid"
    for name in ("exp", "nbf", "iat"):
        for value in (True, False, None, "", str(NOW), [NOW], {}):
            message = times(**{name: value})
            assert name in message and "seconds in digits" in message
        for text in ("1.8e9", "1.8e+9", "1e400", "1." + "5" * 9000 + "e9"):
            assert "seconds in digits" in refused(signed(HEADER, '{"%s":%s}' % (name, text)))


def test_a_time_with_a_fraction_counts_by_its_whole_seconds():
    def valid(text, now=NOW):
        return decode(signed(HEADER, text), SECRET, now=now)

    assert valid('{"exp":%d.5}' % (NOW + 1))["exp"] == NOW + 1.5
    assert valid('{"nbf": %d.25 , "iat":%d.0\n}' % (NOW, NOW - 1)) == {"nbf": NOW + 0.25, "iat": NOW - 1.0}
    # As a board has it: of its 32-bit floats none is nearer to these than a minute.
    texts = []

    def rounded(text):
        texts.append(text)
        return {name: 1.8e9 if isinstance(value, float) else value for name, value in loads(text).items()}

    loads = jwt.loads
    with replaced(jwt, loads=rounded):
        assert valid('{"exp":1800000041.75}', 1800000040)
        assert "expired" in refused(signed(HEADER, '{"exp":1800000041.75}'), now=1800000041)
        assert "not valid yet (nbf)" in refused(signed(HEADER, '{"nbf":1800000041.75}'), now=1800000040)
    assert b"1800000041}" in texts[2]


def test_now_and_leeway_may_be_floats():
    token = encode({"exp": 1001, "nbf": 999}, SECRET)
    for now in (1000, 1000.0, 1000.9):
        assert decode(token, SECRET, now=now) == {"exp": 1001, "nbf": 999}
    assert "expired" in refused(token, now=1001.0)
    assert decode(token, SECRET, now=1003.5, leeway=5.0)
    for now in ("1000", [], b"1"):
        assert "now is Unix seconds" in str(raises(TypeError, decode, token, SECRET, now=now))


def test_an_escaped_emoji_in_a_claim_is_one_character():
    assert decode(signed(HEADER, '{"name":"\\ud83d\\ude00"}'), SECRET) == {"name": "\U0001f600"}


def test_what_is_no_json_is_not_signed():
    for claims in ({"a": {1}}, {"a": b"x"}, {1: "a"}, {"a": (x for x in ())}):
        assert "JSON" in str(raises(TypeError, encode, claims, SECRET))
    for claims in ({"a": float("nan")}, {"a": "\ud83d"}):
        assert "no JSON" in str(raises(ValueError, encode, claims, SECRET))
    assert decode(encode({"key": {"sk": 1}}, SECRET), SECRET) == {"key": {"sk": 1}}


def test_the_time_is_the_clocks():
    now = clock.now()
    token = encode({"iat": now - 5, "exp": now + 60}, SECRET)
    assert decode(token, SECRET)["exp"] == now + 60
    # A board that counts from 2000 signs and checks Unix seconds.
    with replaced(clock, _EPOCH=clock._EPOCH + 946684800):
        assert "expired" in str(raises(JWTError, decode, token, SECRET))
        assert decode(encode({"iat": clock.now()}, SECRET), SECRET)
    assert "not valid yet" in str(raises(JWTError, decode, encode({"nbf": now + 60}, SECRET), SECRET))


def test_extensions_are_refused():
    for crit in ('["exp"]', "[]", "null", '["b64"]'):
        assert "crit" in refused(signed('{"alg":"HS256","crit":%s,"exp":1}' % crit, "{}"))


def test_the_wrong_number_of_parts():
    token = encode({}, SECRET)
    header, claims, signature = token.split(".")
    for wrong in (
        "",
        "a",
        ".",
        header,
        header + "." + claims,
        token + ".",
        "." + token,
        token + ".x",
        ".....",
    ):
        assert "three parts" in refused(wrong)
    assert "three parts" in refused(header + ".." + claims + "." + signature)
    for wrong in ("..", header + "..", "." + claims + "." + signature, header + ".." + signature):
        refused(wrong)
    for empty in ("." + claims, header + "."):
        message = empty.encode()
        assert "JSON object" in refused(empty + "." + base64(Key(SECRET.encode()).digest(message)))


def test_bad_base64url():
    token = encode({"a": "b"}, SECRET)
    for at, part in enumerate(token.split(".")):
        for wrong in (
            part + "=",
            part + "==",
            part + "A",
            part + "AAAAA",
            part[:-1] + "+",
            part[:-1] + "/",
            part[:5] + "\n" + part[5:],
            part[:5] + " " + part[5:],
            part[:4] + "*" + part[5:],
            part[:4] + "\u4e2d" + part[5:],
            part[:4] + "\x00" + part[5:],
            " " + part,
        ):
            parts = token.split(".")
            parts[at] = wrong
            message = refused(".".join(parts))
            assert "base64url" in message or "signature" in message
            if not wrong.startswith(part) or "=" in wrong:
                assert "base64url" in message
    # 43 characters are 258 bits, 2 more than the signature: they must be 0.
    assert token[-1] in "AEIMQUYcgkosw048"
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(token[-1])
    for bits in (1, 2, 3):
        assert "base64url" in refused(token[:-1] + alphabet[last + bits])


def test_every_changed_character_is_noticed():
    token = encode({"sub": "AI-0001"}, SECRET)
    for at in range(len(token)):
        for c in "Aa0-.":
            if token[at] != c:
                refused(token[:at] + c + token[at + 1 :])


def test_what_is_no_object():
    for wrong in (
        "",
        " ",
        "[]",
        '["alg"]',
        '"HS256"',
        "1",
        "null",
        "true",
        "{",
        '{"alg":',
        "\x00",
        "{}x",
        "}",
    ):
        assert "JSON object" in refused(signed(wrong, "{}"))
        assert "JSON object" in refused(signed(HEADER, wrong))
    for wrong in (b"\xff", b'{"a":"\xff"}', b"\xfe\xff\x00{\x00}", b'{"a":"\xe4\xb8"}'):
        assert "JSON object" in refused(signed(HEADER, wrong))
        assert "JSON object" in refused(signed(wrong, "{}"))


def test_deeply_nested_json():
    for wrong in ("[" * 11000, '{"a":' * 2200, "[" * 5500 + "]" * 5500, '{"a":' * 1000 + "[" * 6000):
        assert "JSON object" in refused(signed(HEADER, wrong))
        assert "JSON object" in refused(signed(wrong, "{}"))
    # An object may be too much for one machine and not for another; it is a JWTError or its claims.
    token = signed(HEADER, '{"a":' * 1900 + "1" + "}" * 1900)
    try:
        assert "a" in decode(token, SECRET)
    except JWTError as e:
        assert "JSON object" in str(e)


def test_what_is_no_token():
    token = encode({}, SECRET)
    for wrong in (None, 5, b"", token.encode(), [token], bytearray(token.encode())):
        assert "in a str" in refused(wrong)
    long = encode({"a": "x" * 12000}, SECRET)
    assert 16000 < len(long) <= 16384
    assert len(decode(long, SECRET)["a"]) == 12000
    assert "at most 16384" in refused(encode({"a": "x" * 13000}, SECRET))
    assert "at most 16384" in refused("." * 100000)


def test_dots_alone_do_not_fill_the_memory():
    dots = "." * 16384
    # A list of so many parts takes 64 KiB on an ESP32, and more here.
    taken = []
    try:
        while sys.implementation.name == "micropython":
            taken.append(bytearray(32768))
    except MemoryError:
        taken.pop()  # for the text itself, whatever the tests before have left between
    assert "got 16385" in refused(dots)


def test_no_error_tells_a_secret():
    texts = []
    token = encode({"sub": "AI-0001", "exp": 5}, SECRET)
    for wrong in (
        token,
        token[:-1],
        token[:-2] + "AA",
        "x" + token,
        token + "." + token,
        signed('{"alg":"AI-0001"}', "{}"),
        signed(HEADER, '"AI-0001"'),
        signed(HEADER, '{"sub":"AI-0001","exp":"AI-0001"}'),
    ):
        texts.append(refused(wrong))
    texts.append(refused(token, "another maker's secret"))
    for function, arguments in (
        (encode, ({}, KEY)),
        (decode, (token, KEY)),
        (encode, ({}, SECRET, "RS256")),
        (decode, (token, KEY, "RS256")),
        (encode, (["AI-0001"], SECRET)),
        (encode, ({}, [SECRET])),
    ):
        texts.append(str(raises((TypeError, ValueError), function, *arguments)))
    secrets = [SECRET, "maker", "AI-0001", "MII", KEY.split("\n")[1]] + token.split(".")
    for text in texts:
        for secret in secrets:
            assert secret not in text, text


def test_a_board_has_no_second_copy_of_a_token():
    """It uses the memory of the token itself, which another key can try if the first one does not fit."""
    token = bytearray(signed(HEADER, '{"a":"%s"}' % ("x" * 9000)).encode())
    before = bytes(token)
    for wrong in ("another", SECRET + "?"):
        assert "signature" in str(raises(JWTError, jwt.opened, token, wrong, "HS256"))
        assert bytes(token) == before
    text = jwt.opened(token, SECRET, "HS256")
    assert jwt.loads(text) == {"a": "x" * 9000} and bytes(token) != before
