"""Coze and China Mobile's model in the box."""

import secrets
import time

import jwt
import pytest
from coze_calls import AI_TOKEN, CHANNEL, JWT_BEARER, PAT, PRODUCT, TOKEN
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tools.cloud import Cloud, Device


@pytest.fixture(scope="module")
def box(box_clock):
    devices = [Device(PRODUCT, "key", "SN", "TOY-1"), Device("555", "key", "SN", "TOY-2")]
    with Cloud(devices, now=box_clock) as cloud:
        cloud.add_coze_token(PAT, may_bind=True)
        cloud.add_coze_channel(CHANNEL)
        cloud.add_ai_token(AI_TOKEN, PRODUCT)
        yield cloud


@pytest.fixture(scope="module")
def app(box):
    return box.new_coze_app()


@pytest.fixture(scope="module")
def key(app):
    """The app's private key, read once: that takes longer than to sign."""
    return load_pem_private_key(app["private_key"].encode(), None)


@pytest.fixture
def post(cloud, session):
    def post(path, json=None, token=PAT, headers=None, **options):
        known = {"Authorization": f"Bearer {token}"} if token else {}
        return session.post(
            cloud.url + path, json=json, headers={**known, **(headers or {})}, timeout=10, **options
        )

    return post


@pytest.fixture
def sign(cloud, app, key):
    """Signs a JWT that the box accepts but for what is changed; None leaves a claim out."""

    def sign(key=key, algorithm="RS256", header=None, **changed):
        now = int(time.time())
        claims = {
            "iss": app["client_id"],
            "aud": cloud.url.removeprefix("https://"),
            "iat": now,
            "exp": now + 600,
            "jti": secrets.token_hex(20),
            **changed,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, key, algorithm, headers={"kid": app["key_id"], **(header or {})})

    return sign


@pytest.fixture
def buy(post):
    def buy(token, **body):
        return post(TOKEN, {"grant_type": JWT_BEARER, **body}, token=token)

    return buy


@pytest.fixture
def usage(cloud):
    """What was billed since the test began."""

    def now():
        rows = cloud.state()["coze"]["usage"]
        return {(row["device_id"], row["custom_consumer"]): row["calls"] for row in rows}

    before = now()
    return lambda: {who: n - before.get(who, 0) for who, n in now().items() if n != before.get(who, 0)}
