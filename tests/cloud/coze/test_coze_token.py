"""Coze's token in the box, judged by PyJWT and the documents."""

import base64
import hashlib
import hmac
import json
import secrets
import time

import jwt
import pytest
import requests
from coze_calls import BODIES, JWT_BEARER, ROOMS, TOKEN, accepted, denied
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tools.cloud import Cloud


def test_token(buy, sign, cloud, post):
    answer = buy(sign(session_name="somebody"))
    told = answer.json()
    assert answer.status_code == 200 and sorted(told) == ["access_token", "expires_in", "token_type"]
    assert told["access_token"].startswith("czs_") and told["token_type"] == "Bearer"
    assert abs(told["expires_in"] - time.time() - 900) < 5 and answer.headers["x-tt-logid"]
    accepted(post(ROOMS, BODIES[ROOMS], token=told["access_token"]))
    call = cloud.calls(TOKEN)[-1]
    assert (call["status"], call["code"]) == (200, "200")


@pytest.mark.parametrize("seconds", [1, 86399])
def test_token_for_as_long_as_asked(buy, sign, seconds):
    expires = buy(sign(), duration_seconds=seconds, scope=None).json()["expires_in"]
    assert abs(expires - time.time() - seconds) < 5


@pytest.mark.parametrize(
    "body, code, word",
    [
        *(
            ({"duration_seconds": wrong}, "invalid_request", "duration_seconds")
            for wrong in (0, 86400, "900", 900.5, True)
        ),
        ({"grant_type": None}, "invalid_request", "grant_type is missing"),
        ({"grant_type": 1}, "invalid_request", "grant_type"),
        ({"grant_type": "refresh_token"}, "unsupported_grant_type", "refresh_token"),
        ({"scope": "chat"}, "invalid_request", "scope"),
        ({"audience": "x"}, "invalid_request", "audience is not a field"),
    ],
)
def test_token_s_body_is_checked(buy, sign, body, code, word):
    signed = sign()
    denied(buy(signed, **body), code, word, status=400)
    assert buy(signed).status_code == 200, "a refused JWT is not spent"


@pytest.mark.parametrize("data, kind", [(b"{", "application/json"), (b"{}", "text/plain"), (b"", None)])
def test_token_s_body_is_json(post, sign, data, kind):
    denied(
        post(TOKEN, data=data, token=sign(), headers={"Content-Type": kind}), "invalid_request", status=400
    )


@pytest.mark.parametrize("claim", ["iss", "aud", "iat", "exp", "jti"])
def test_every_claim_is_needed(buy, sign, claim):
    denied(buy(sign(**{claim: None})), "invalid_client", claim)


@pytest.mark.parametrize(
    "claim, wrong",
    [
        *(("iss", wrong) for wrong in ("1", 5)),
        *(("aud", wrong) for wrong in ("api.coze.cn", "localhost", ["localhost"])),
        *(("iat", wrong) for wrong in ("soon", 1.8e9, lambda now: now + 60)),
        *(("exp", lambda now, late=late: now + late) for late in (-60, 2 * 86400, 600.5)),
        ("exp", lambda now: str(now + 600)),
        *(("jti", wrong) for wrong in ("", 5)),
        ("session_name", 5),
        *(("session_context", wrong) for wrong in ("SN", {"device": {"device_id": "SN"}})),
        *(
            ("session_context", {"device_info": wrong})
            for wrong in ("SN", {"device_id": 5}, {"device_id": ""}, {"deviceId": "SN"})
        ),
    ],
)
def test_a_wrong_claim_is_refused(buy, sign, app, key, cloud, claim, wrong):
    if callable(wrong):
        wrong = wrong(int(time.time()))
    denied(buy(raw_jwt(sign, app, key, **{claim: wrong})), "invalid_client", "invalid jwt")
    assert app["private_key"][40:80] not in str(cloud.calls(TOKEN)[-1])


def raw_jwt(sign, app, key, **changed):
    """Signs whatever claims: PyJWT would not put a wrong type into some of them."""
    claims = {**jwt.decode(sign(), options={"verify_signature": False}), **changed}
    return jwt.PyJWS().encode(json.dumps(claims).encode(), key, "RS256", headers={"kid": app["key_id"]})


def test_exp_must_not_come_before_iat(buy, sign):
    now = int(time.time())
    denied(buy(sign(iat=now, exp=now)), "invalid_client", "exp")


@pytest.mark.parametrize("header", [{"kid": "unknown"}, {"kid": ""}, {"typ": "JWS"}, {"typ": None}])
def test_a_wrong_header_is_refused(buy, sign, header):
    denied(buy(sign(header=header)), "invalid_client", next(iter(header)))


def test_a_jwt_without_kid_is_refused(buy, sign, key):
    claims = jwt.decode(sign(), options={"verify_signature": False})
    denied(buy(jwt.encode(claims, key, "RS256")), "invalid_client", "kid")


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS384", "PS256"])
def test_only_rs256_is_accepted(buy, sign, key, algorithm):
    key = {"none": None, "HS256": "s" * 40}.get(algorithm, key)
    denied(buy(sign(key=key, algorithm=algorithm)), "invalid_client", "alg")


def test_the_public_key_is_no_hmac_secret(buy, sign, key):
    """The oldest attack on JWTs: HS256 with what the server knows as the RSA key."""
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    encoded = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (
            {**jwt.get_unverified_header(sign()), "alg": "HS256"},
            jwt.decode(sign(), options={"verify_signature": False}),
        )
    ]
    mac = hmac.new(public, b".".join(encoded), hashlib.sha256).digest()
    forged = b".".join([*encoded, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()
    denied(buy(forged), "invalid_client", "alg")


def test_a_foreign_or_changed_signature_is_refused(buy, sign, cloud):
    denied(buy(sign(key=cloud.new_coze_app()["private_key"])), "invalid_client", "Signature")
    head, payload, _ = sign().split(".")
    denied(buy(f"{head}.{payload}.{sign().split('.')[2]}"), "invalid_client", "Signature")
    denied(buy(f"{head}.{payload}."), "invalid_client", "Signature")


@pytest.mark.parametrize("token", [None, "", "x", "a.b.c", "....", "é"])
def test_what_is_no_jwt_is_refused(buy, token):
    denied(buy(token), "invalid_client")


def test_a_jwt_buys_one_token(buy, sign):
    signed = sign()
    assert buy(signed).status_code == 200
    denied(buy(signed), "invalid_client", "bought a token before")


def test_a_jti_is_good_once(buy, sign, cloud, post):
    jti = secrets.token_hex(20)
    assert buy(sign(jti=jti)).status_code == 200
    denied(buy(sign(jti=jti, session_name="other")), "invalid_client", "jti was in another JWT")
    other = cloud.new_coze_app()
    signed = sign(other["private_key"], header={"kid": other["key_id"]}, iss=other["client_id"], jti=jti)
    assert buy(signed).status_code == 200, "another app's"


def test_jti_is_remembered_by_the_next_start(tmp_path):
    def run(cloud, signed):
        return requests.post(
            cloud.url + TOKEN,
            json={"grant_type": JWT_BEARER},
            headers={"Authorization": f"Bearer {signed}", "Host": "api.coze.cn"},
            verify=str(cloud.ca_pem),
            timeout=10,
        )

    now = int(time.time())
    claims = {"aud": "api.coze.cn", "iat": now, "exp": now + 60, "jti": "j" * 40}
    with Cloud(data=tmp_path) as cloud:
        made = cloud.new_coze_app()
        claims["iss"] = made["client_id"]
        signed = jwt.encode(claims, made["private_key"], "RS256", headers={"kid": made["key_id"]})
        assert run(cloud, signed).status_code == 200
    with Cloud(data=tmp_path) as cloud:
        denied(run(cloud, signed), "invalid_client", "bought a token before")


def test_an_app_s_key_must_be_rsa(cloud):
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    with pytest.raises(ValueError, match="RSA"):
        cloud.add_coze_app(
            "1", "kid", public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        )
