"""Coze and China Mobile's model in the box, judged by requests, PyJWT and the documents."""

import base64
import hashlib
import hmac
import io
import json
import secrets
import socket
import ssl
import time
import wave

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tools.cloud import Cloud, Device

TOKEN = "/api/permission/oauth2/token"
SPEECH, TRANSCRIPTIONS, ROOMS = "/v1/audio/speech", "/v1/audio/transcriptions", "/v1/audio/rooms"
CHAT, WORKFLOW_CHAT = "/v3/chat", "/v1/workflows/chat"
RUN, STREAM_RUN, RESUME = "/v1/workflow/run", "/v1/workflow/stream_run", "/v1/workflow/stream_resume"
CHANNEL = "745264392345000001"
BIND = f"/v1/connectors/{CHANNEL}/user_configs"
MODEL = "/llm/v1/chat/completions"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
PAT = "pat_OYDacMzM3WyOWV3Dtj2bHRMymzxP"
PRODUCT, AI_TOKEN = "1234567890123", "ai-token-0f3b"

USER = {"role": "user", "content": "北京的天气？", "content_type": "text"}
BODIES = {
    SPEECH: {"input": "你好呀", "voice_id": "742894"},
    ROOMS: {"bot_id": "1"},
    CHAT: {"bot_id": "1", "user_id": "u", "additional_messages": [USER], "stream": True},
    RUN: {"workflow_id": "5", "parameters": {"city": "杭州"}},
    STREAM_RUN: {"workflow_id": "5", "parameters": {"city": "杭州"}},
    WORKFLOW_CHAT: {"workflow_id": "5", "additional_messages": [USER]},
    RESUME: {"workflow_id": "5", "event_id": "1/2", "resume_data": "杭州", "interrupt_type": 2},
    BIND: {"configs": [{"key": "device_id", "enums": [{"label": "智能音箱-客厅", "value": "51237824"}]}]},
}
REQUIRED = [
    (path, field)
    for path, fields in {
        SPEECH: ("input", "voice_id"),
        ROOMS: ("bot_id",),
        CHAT: ("bot_id", "user_id"),
        RUN: ("workflow_id",),
        STREAM_RUN: ("workflow_id",),
        WORKFLOW_CHAT: ("workflow_id", "additional_messages"),
        RESUME: ("workflow_id", "event_id", "resume_data", "interrupt_type"),
        BIND: ("configs",),
    }.items()
    for field in fields
]


@pytest.fixture(scope="module")
def box():
    with Cloud(devices=[Device(PRODUCT, "key", "SN", "TOY-1"), Device("555", "key", "SN", "TOY-2")]) as cloud:
        cloud.add_coze_token(PAT, may_bind=True)
        cloud.add_coze_channel(CHANNEL)
        cloud.add_ai_token(AI_TOKEN, PRODUCT)
        yield cloud


@pytest.fixture(scope="module")
def app(box):
    return box.new_coze_app()


@pytest.fixture
def cloud(box):
    box.behave()
    yield box
    box.behave()


@pytest.fixture
def post(cloud):
    with requests.Session() as session:
        session.trust_env, session.verify = False, str(cloud.ca_pem)

        def post(path, json=None, token=PAT, headers=None, **options):
            known = {"Authorization": f"Bearer {token}"} if token else {}
            return session.post(
                cloud.url + path, json=json, headers={**known, **(headers or {})}, timeout=10, **options
            )

        yield post


@pytest.fixture
def sign(cloud, app):
    """Signs a JWT that the box accepts but for what is changed; None leaves a claim out."""

    def sign(key=app["private_key"], algorithm="RS256", header=None, **changed):
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


def denied(answer, code, *words, status=401):
    """The token endpoint's refusal."""
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert sorted(told) == ["error_code", "error_message"] and told["error_code"] == code
    assert answer.headers["x-tt-logid"]
    for word in words:
        assert word in told["error_message"], told


def refused(answer, code=4000, *words, status=200):
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert sorted(told) == ["code", "detail", "msg"] and told["code"] == code, told
    assert told["detail"]["logid"] == answer.headers["x-tt-logid"] and len(told["detail"]["logid"]) == 34
    for word in words:
        assert word in told["msg"], told


def accepted(answer):
    assert answer.status_code == 200 and answer.headers["x-tt-logid"], answer.text
    if "json" in answer.headers["Content-Type"]:
        told = answer.json()
        assert told["code"] == 0 and told["msg"] == "", told
        assert told["detail"]["logid"] == answer.headers["x-tt-logid"]
        return told
    return answer.content


def events(answer, names=("event", "data")):
    """Parses as strictly as the official SDK: exactly these fields, in this order, and nothing else."""
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    text = answer.content.decode()
    assert text.endswith("\n\n")
    found = []
    for block in text[:-2].split("\n\n"):
        pairs = [line.partition(":")[::2] for line in block.split("\n")]
        assert tuple(name for name, _ in pairs) == names, block
        found.append(tuple(value.strip() for _, value in pairs))
    return found


# The token


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
        ({"duration_seconds": 0}, "invalid_request", "duration_seconds"),
        ({"duration_seconds": 86400}, "invalid_request", "duration_seconds"),
        ({"duration_seconds": "900"}, "invalid_request", "duration_seconds"),
        ({"duration_seconds": 900.5}, "invalid_request", "duration_seconds"),
        ({"duration_seconds": True}, "invalid_request", "duration_seconds"),
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
        ("iss", "1"),
        ("iss", 5),
        ("aud", "api.coze.cn"),
        ("aud", "localhost"),
        ("aud", ["localhost"]),
        ("iat", "soon"),
        ("iat", 1.8e9),
        ("iat", lambda now: now + 60),
        ("exp", lambda now: now - 60),
        ("exp", lambda now: now + 2 * 86400),
        ("exp", lambda now: now + 600.5),
        ("exp", lambda now: str(now + 600)),
        ("jti", ""),
        ("jti", 5),
        ("session_name", 5),
        ("session_context", "SN"),
        ("session_context", {"device_info": "SN"}),
        ("session_context", {"device_info": {"device_id": 5}}),
        ("session_context", {"device_info": {"device_id": ""}}),
        ("session_context", {"device_info": {"deviceId": "SN"}}),
        ("session_context", {"device": {"device_id": "SN"}}),
    ],
)
def test_a_wrong_claim_is_refused(buy, sign, app, cloud, claim, wrong):
    if callable(wrong):
        wrong = wrong(int(time.time()))
    denied(buy(raw_jwt(sign, app, **{claim: wrong})), "invalid_client", "invalid jwt")
    assert app["private_key"][40:80] not in str(cloud.calls(TOKEN)[-1])


def raw_jwt(sign, app, **changed):
    """Signs whatever claims: PyJWT would not put a wrong type into some of them."""
    claims = {**jwt.decode(sign(), options={"verify_signature": False}), **changed}
    return jwt.PyJWS().encode(
        json.dumps(claims).encode(), app["private_key"], "RS256", headers={"kid": app["key_id"]}
    )


def test_exp_must_not_come_before_iat(buy, sign):
    now = int(time.time())
    denied(buy(sign(iat=now, exp=now)), "invalid_client", "exp")


@pytest.mark.parametrize("header", [{"kid": "unknown"}, {"kid": ""}, {"typ": "JWS"}, {"typ": None}])
def test_a_wrong_header_is_refused(buy, sign, header):
    denied(buy(sign(header=header)), "invalid_client", next(iter(header)))


def test_a_jwt_without_kid_is_refused(buy, sign, app):
    claims = jwt.decode(sign(), options={"verify_signature": False})
    denied(buy(jwt.encode(claims, app["private_key"], "RS256")), "invalid_client", "kid")


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS384", "PS256"])
def test_only_rs256_is_accepted(buy, sign, app, algorithm):
    key = {"none": None, "HS256": "s" * 40}.get(algorithm, app["private_key"])
    denied(buy(sign(key=key, algorithm=algorithm)), "invalid_client", "alg")


def test_the_public_key_is_no_hmac_secret(buy, sign, cloud):
    """The oldest attack on JWTs: HS256 with what the server knows as the RSA key."""
    public = cloud._state.coze.app(jwt.get_unverified_header(sign())["kid"])["public_key"]
    encoded = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (
            {**jwt.get_unverified_header(sign()), "alg": "HS256"},
            jwt.decode(sign(), options={"verify_signature": False}),
        )
    ]
    mac = hmac.new(public.encode(), b".".join(encoded), hashlib.sha256).digest()
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


# Every call


@pytest.mark.parametrize("path", [*BODIES, TRANSCRIPTIONS])
@pytest.mark.parametrize("token", [None, "czs_unknown", "expired", "two words"])
def test_a_bearer_is_needed(cloud, post, path, token):
    cloud.add_coze_token("expired", expires=time.time() - 1)
    given = {"files": {"file": b"x"}} if path == TRANSCRIPTIONS else {"json": BODIES[path]}
    refused(post(path, token=token, **given), 4100, "身份验证无效", status=401)


def test_a_token_works_until_it_expires(cloud, post):
    cloud.add_coze_token("pat_short", expires=time.time() + 0.3)
    accepted(post(ROOMS, BODIES[ROOMS], token="pat_short"))
    time.sleep(0.35)
    refused(post(ROOMS, BODIES[ROOMS], token="pat_short"), 4100, "expired", status=401)


@pytest.mark.parametrize("path, field", REQUIRED)
@pytest.mark.parametrize("wrong", [None, 5.5, "", {}, "gone"])
def test_every_required_field_is_needed(post, path, field, wrong, usage):
    body = {**BODIES[path], field: wrong}
    if wrong == "gone":
        del body[field]
    refused(post(path, body), 4000, f"{field} is missing" if wrong in (None, "gone") else field)
    assert usage() == {}, "what is refused is not billed"


@pytest.mark.parametrize("path", BODIES)
def test_only_json_with_known_fields_is_accepted(post, path):
    refused(post(path, {**BODIES[path], "devise": 1}), 4000, "devise is not a field of this call")
    refused(post(path, [1]), 4000, "JSON object")
    refused(post(path, data=b"{", headers={"Content-Type": "application/json"}), 4000, "not JSON")
    refused(post(path, data=b"{}", headers={"Content-Type": "text/plain"}), 4000, "Content-Type")


@pytest.mark.parametrize("method, path, status", [("GET", CHAT, 405), ("POST", "/v3/chats", 404)])
def test_another_method_or_path_is_refused_in_coze_s_shape(cloud, method, path, status):
    answer = requests.request(method, cloud.url + path, verify=str(cloud.ca_pem), timeout=10)
    refused(answer, 4200, path, status=status)


@pytest.mark.parametrize(
    "path, changed, word",
    [
        (SPEECH, {"response_format": "flac"}, "response_format"),
        (SPEECH, {"speed": 0.1}, "speed"),
        (SPEECH, {"speed": 3.5}, "speed"),
        (SPEECH, {"speed": "1"}, "speed"),
        (SPEECH, {"sample_rate": 11025}, "sample_rate"),
        (SPEECH, {"input": "好" * 341 + "ab"}, "1025 bytes"),
        (ROOMS, {"uid": 5}, "uid"),
        (ROOMS, {"config": []}, "config"),
        (CHAT, {"stream": "true"}, "stream"),
        (CHAT, {"additional_messages": USER}, "additional_messages"),
        (CHAT, {"additional_messages": [{**USER, "role": "system"}]}, "additional_messages.0.role"),
        (CHAT, {"additional_messages": [{**USER, "content": {}}]}, "additional_messages.0.content"),
        (CHAT, {"additional_messages": [{**USER, "content_type": None}]}, "content_type"),
        (CHAT, {"additional_messages": [{"content": "x", "content_type": "text"}]}, "role is missing"),
        (WORKFLOW_CHAT, {"bot_id": "1", "app_id": "2"}, "both"),
        (RUN, {"bot_id": "1", "app_id": "2"}, "both"),
        (RUN, {"parameters": "[]"}, "parameters"),
        (RUN, {"parameters": "{"}, "parameters"),
        (RUN, {"parameters": 5}, "parameters"),
        (RUN, {"is_async": 1}, "is_async"),
        (RUN, {"ext": {"latitude": 39.9}}, "ext.latitude"),
        (STREAM_RUN, {"is_async": True}, "is_async is not a field"),
        (RESUME, {"interrupt_type": "2"}, "interrupt_type"),
    ],
)
def test_fields_of_a_wrong_type_or_form_are_refused(post, path, changed, word):
    refused(post(path, {**BODIES[path], **changed}), 4000, word)


# Billing

EIGHT = [path for path in BODIES if path not in (BIND, RESUME)]


@pytest.mark.parametrize("path", EIGHT)
@pytest.mark.parametrize(
    "device_info, row",
    [
        ({"device_id": "SN-1"}, ("SN-1", "N/A")),
        ({"custom_consumer": "玩家"}, ("N/A", "玩家")),
        ({"device_id": "SN-1", "custom_consumer": "玩家"}, ("SN-1", "玩家")),
    ],
)
def test_billed_to_the_jwt_s_device_or_else_to_the_header_s(
    cloud, post, buy, sign, usage, path, device_info, row
):
    header = {"X-Coze-DeviceInfo": json.dumps(device_info)}
    accepted(post(path, BODIES[path], headers=header))
    assert usage() == {row: 1} and cloud.calls(path)[-1]["device"] == device_info.get("device_id", "玩家")
    token = buy(sign(session_context={"device_info": device_info})).json()["access_token"]
    accepted(post(path, BODIES[path], token=token, headers={"X-Coze-DeviceInfo": '{"device_id": "other"}'}))
    assert usage() == {row: 2}, "the token's word goes first"
    assert cloud.state()["coze"]["usage"][0]["lastPath"] == path


def test_resuming_and_transcribing_are_billed_too(cloud, post, usage):
    header = {"X-Coze-DeviceInfo": '{"device_id": "SN-2"}'}
    cloud.misbehave(stream="requires_action", times=1)
    event_id = json.loads(events(post(STREAM_RUN, BODIES[STREAM_RUN]), ("id", "event", "data"))[-1][2])[
        "interrupt_data"
    ]["event_id"]
    accepted(post(RESUME, {**BODIES[RESUME], "event_id": event_id}, headers=header))
    accepted(post(TRANSCRIPTIONS, files={"file": b"x"}, headers=header))
    assert usage() == {("N/A", "N/A"): 1, ("SN-2", "N/A"): 2}


@pytest.mark.parametrize("path", EIGHT)
def test_a_call_that_names_nobody_is_billed_to_na(post, buy, sign, usage, path):
    accepted(post(path, BODIES[path]))
    token = buy(sign(session_context={"device_info": {}})).json()["access_token"]
    accepted(post(path, BODIES[path], token=token))
    assert usage() == {("N/A", "N/A"): 2}


@pytest.mark.parametrize(
    "header", ["SN-1", "[]", "{", '{"device_id": 5}', '{"device_id": ""}', '{"id": "1"}']
)
def test_a_header_that_is_no_device_info_is_refused(post, usage, header):
    answer = post(ROOMS, BODIES[ROOMS], headers={"X-Coze-DeviceInfo": header})
    refused(answer, 4000, "X-Coze-DeviceInfo")
    answer = post(ROOMS, BODIES[ROOMS], headers={"X-Coze-DeviceInfo": '{"device_id": "玩具"}'.encode()})
    refused(answer, 4000, "ASCII")
    assert usage() == {}


def test_page_and_state_show_usage_and_no_secrets(cloud, post, buy, sign, app):
    signed = sign(session_context={"device_info": {"device_id": "<b>SN-9</b>"}})
    token = buy(signed).json()["access_token"]
    accepted(post(CHAT, BODIES[CHAT], token=token))
    get = {"verify": str(cloud.ca_pem), "timeout": 10}
    page, state = requests.get(cloud.url, **get).text, requests.get(cloud.url + "/state", **get).text
    assert (
        "&lt;b&gt;SN-9&lt;/b&gt;" in page and "<b>SN-9</b>" in json.loads(state)["coze"]["usage"][0].values()
    )
    assert "Coze usage" in page and CHAT in page
    for secret in (token, signed, PAT, AI_TOKEN, app["private_key"].split("\n")[1]):
        assert secret not in page + state


# Audio


@pytest.mark.parametrize("rate", [8000, 24000])
def test_speech_as_wav(post, rate):
    body = {**BODIES[SPEECH], "response_format": "wav", "sample_rate": rate, "speed": 1.5}
    answer = post(SPEECH, body)
    assert answer.headers["Content-Type"] == "audio/wav"
    with wave.open(io.BytesIO(accepted(answer))) as sound:
        assert (sound.getframerate(), sound.getnframes()) == (rate, rate * 3 // 10)


@pytest.mark.parametrize(
    "kind, media",
    [("pcm", "audio/pcm"), ("ogg_opus", "audio/ogg"), ("mp3", "audio/mpeg"), (None, "audio/mpeg")],
)
def test_speech_in_other_formats(cloud, post, kind, media):
    cloud.misbehave(bytes=100_001)
    answer = post(SPEECH, {**BODIES[SPEECH], "response_format": kind, "input": "好" * 341 + "a"})
    assert answer.headers["Content-Type"] == media and len(accepted(answer)) == 100_001


def test_speech_of_a_chosen_size(cloud, post):
    cloud.misbehave(bytes=300_000)
    sound = accepted(post(SPEECH, {**BODIES[SPEECH], "response_format": "wav"}))
    assert len(sound) == 300_000
    with wave.open(io.BytesIO(sound)) as file:
        assert file.getnframes() == (300_000 - 44) // 2


MB = 1024 * 1024


@pytest.mark.parametrize("size", [1, 2 * MB, 10 * MB])
def test_transcription(cloud, post, size):
    answer = post(TRANSCRIPTIONS, files={"file": ("speech.wav", bytes(size), "audio/wav")})
    assert str(size) in accepted(answer)["data"]["text"] and "你好" in answer.json()["data"]["text"]
    assert cloud.calls(TRANSCRIPTIONS)[-1]["received"] > size


def test_transcription_of_a_chunked_body(post):
    boundary = "b0undary"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'.encode()
    parts = [head, *[bytes(1000)] * 50, f"\r\n--{boundary}--\r\n".encode()]
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    assert "50000" in accepted(post(TRANSCRIPTIONS, data=iter(parts), headers=kind))["data"]["text"]


@pytest.mark.parametrize(
    "files, code",
    [
        ({"file": ("a", bytes(10 * MB + 1))}, 4302),
        ({"file": ("a", b"")}, 4300),
        ({"file": (None, "text")}, 4300),
        ([("file", ("a", b"1")), ("file", ("b", b"1"))], 4301),
        ({"body": ("a", b"1")}, 4000),
        ({"file": ("a", b"1"), "language": (None, "zh")}, 4000),
    ],
)
def test_transcription_s_form_is_checked(post, files, code, usage):
    refused(post(TRANSCRIPTIONS, files=files), code, "file")
    assert usage() == {}


@pytest.mark.parametrize(
    "data, kind",
    [
        (b"x", "application/json"),
        (b"x", "audio/wav"),
        (b"x", "multipart/form-data"),
        (b"x", "multipart/form-data; boundary=b"),
        (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx',
            "multipart/form-data; boundary=b",
        ),
    ],
)
def test_transcription_needs_a_form(post, data, kind):
    answer = post(TRANSCRIPTIONS, data=data, headers={"Content-Type": kind})
    assert answer.json()["code"] in (4000, 4300), answer.text


def test_room(post):
    told = accepted(post(ROOMS, {"bot_id": "1", "conversation_id": "2", "voice_id": "3", "config": {}}))
    assert sorted(told["data"]) == ["app_id", "room_id", "token", "uid"] and all(told["data"].values())
    assert accepted(post(ROOMS, {"bot_id": "1", "uid": "me"}))["data"]["uid"] == "me"


# Chats


@pytest.mark.parametrize("path, done", [(CHAT, '"[DONE]"'), (WORKFLOW_CHAT, '{"debug_url":')])
def test_chat_streams_as_documented(post, path, done):
    answer = post(path, BODIES[path])
    found = events(answer)
    assert b"event:conversation.message.delta\ndata:{" in answer.content
    names = [name for name, _ in found]
    deltas = names.count("conversation.message.delta")
    assert deltas > 3 and names == [
        "conversation.chat.created",
        "conversation.chat.in_progress",
        *["conversation.message.delta"] * 5,
        "conversation.message.completed",
        *["conversation.message.delta"] * (deltas - 5),
        "conversation.message.completed",
        "conversation.message.completed",
        "conversation.chat.completed",
        "done",
    ]
    assert found[-1][1].startswith(done)
    contents = [json.loads(data) for name, data in found[:-1]]
    text = "".join(c["content"] for c, name in zip(contents, names, strict=False) if "delta" in name)
    whole = [c for c, name in zip(contents, names, strict=False) if "message.completed" in name]
    assert text == "".join(c["content"] for c in whole if c["type"] == "answer")
    assert USER["content"] in text and "北京" in answer.content.decode()
    for content in contents:
        assert content["conversation_id"] == contents[0]["conversation_id"] and content["id"]
        if "role" in content:
            assert content["role"] == "assistant" and content["chat_id"] == contents[0]["id"]
    assert [c["status"] for c in contents if "status" in c] == ["created", "in_progress", "completed"]


def test_a_chat_belongs_to_its_conversation(post):
    for answer in (
        post(CHAT + "?conversation_id=77", BODIES[CHAT]),
        post(WORKFLOW_CHAT, {**BODIES[WORKFLOW_CHAT], "conversation_id": "77"}),
    ):
        assert json.loads(events(answer)[0][1])["conversation_id"] == "77"


def test_chat_without_a_stream(post):
    data = accepted(post(CHAT, {**BODIES[CHAT], "stream": False}))["data"]
    assert data["status"] == "in_progress" and data["id"] and data["conversation_id"]
    assert accepted(post(CHAT, {"bot_id": "1", "user_id": "u"}))["data"]["status"] == "in_progress"
    refused(post(CHAT, {"bot_id": "1", "user_id": "u", "auto_save_history": False}), 4007)


@pytest.mark.parametrize("path, limit", [(CHAT, 100), (WORKFLOW_CHAT, 50)])
def test_chat_has_a_limit_of_messages(post, path, limit):
    accepted(post(path, {**BODIES[path], "additional_messages": [USER] * limit}))
    refused(post(path, {**BODIES[path], "additional_messages": [USER] * (limit + 1)}), 4004, str(limit))


@pytest.mark.parametrize("path", [CHAT, WORKFLOW_CHAT])
def test_chats_that_go_wrong(cloud, post, path):
    def ends(stream):
        cloud.misbehave(stream=stream)
        found = events(post(path, BODIES[path]))
        assert any(name == "conversation.message.delta" for name, _ in found)
        assert all(name != "conversation.chat.completed" for name, _ in found)
        return [(name, json.loads(data)) for name, data in found[-2:]]

    (failed, chat), (done, _) = ends("failed")
    assert (failed, done) == ("conversation.chat.failed", "done")
    assert chat["last_error"]["code"] == 5000 and chat["id"] and chat["conversation_id"]
    (failed, bare), (done, _) = ends("failed-bare")
    assert (failed, done) == ("conversation.chat.failed", "done") and sorted(bare) == ["code", "msg"]
    (asks, chat), (done, _) = ends("requires_action")
    assert (asks, done) == ("conversation.chat.requires_action", "done")
    assert chat["required_action"]["submit_tool_outputs"]["tool_calls"]
    error, content = ends("error")[-1]
    assert error == "error" and sorted(content) == ["code", "msg"]
    assert ends("early")[-1][0] not in ("done", "error")


def test_a_long_chat(cloud, post):
    cloud.misbehave(bytes=MB)
    answer = post(CHAT, BODIES[CHAT])
    deltas = [json.loads(data)["content"] for name, data in events(answer) if name.endswith("delta")]
    assert len("".join(deltas).encode()) == MB and len(deltas) > 1000
    assert max(map(len, answer.content.split(b"\n"))) < 5000, "no line that a board could not hold"


# Workflows


def test_workflow_runs(post):
    told = accepted(post(RUN, BODIES[RUN]))
    assert isinstance(told["data"], str) and "杭州" in json.loads(told["data"])["output"]
    assert told["debug_url"].startswith("https://www.coze.cn/work_flow?")
    assert told["usage"]["token_count"] == told["usage"]["input_count"] + told["usage"]["output_count"]
    as_text = accepted(post(RUN, {**BODIES[RUN], "parameters": '{"city": "绍兴"}'}))
    assert "绍兴" in json.loads(as_text["data"])["output"]
    later = accepted(post(RUN, {**BODIES[RUN], "is_async": True}))
    assert later["execute_id"] and later["debug_url"] and "data" not in later


def numbered(answer):
    found = events(answer, ("id", "event", "data"))
    assert [number for number, _, _ in found] == [str(place) for place in range(len(found))], "from 0, no gap"
    assert b"id: 0\nevent: " in answer.content
    return [(name, json.loads(data)) for _, name, data in found]


def test_workflow_streams_as_documented(post):
    found = numbered(post(STREAM_RUN, BODIES[STREAM_RUN]))
    *messages, (done, data) = found
    assert done == "Done" and list(data) == ["debug_url"] and len(messages) > 3
    assert {name for name, _ in messages} == {"Message"}
    assert [message["node_seq_id"] for _, message in messages] == [str(n) for n in range(len(messages))]
    assert [message["node_is_finish"] for _, message in messages] == [False] * (len(messages) - 1) + [True]
    assert "杭州" in "".join(message["content"] for _, message in messages)


def test_a_workflow_asks_back_and_is_resumed_once(cloud, post):
    cloud.misbehave(stream="requires_action", times=1)
    (name, _), (last, data) = numbered(post(STREAM_RUN, BODIES[STREAM_RUN]))
    assert (name, last) == ("Message", "Interrupt"), "nothing follows it"
    interrupt = data["interrupt_data"]
    assert interrupt["type"] == 2 and "/" in interrupt["event_id"]
    body = {**BODIES[RESUME], "event_id": interrupt["event_id"]}
    refused(post(RESUME, {**body, "workflow_id": "6"}), 4200)
    refused(post(RESUME, {**body, "event_id": "1/2"}), 4200)
    refused(post(RESUME, {**body, "interrupt_type": 5}), 4000, "interrupt_type is 2")
    cloud.misbehave(stream="requires_action", times=1)
    again = numbered(post(RESUME, body))[-1][1]["interrupt_data"]["event_id"]
    refused(post(RESUME, body), 4315)
    found = numbered(post(RESUME, {**body, "event_id": again}))
    assert found[-1][0] == "Done" and "杭州" in "".join(data.get("content", "") for _, data in found)


def test_workflows_that_go_wrong(cloud, post):
    for how in ("failed", "failed-bare", "error"):
        cloud.misbehave(stream=how)
        name, data = numbered(post(STREAM_RUN, BODIES[STREAM_RUN]))[-1]
        assert name == "Error" and data["error_code"] == 5000 and data["error_message"]
    cloud.misbehave(stream="early")
    assert numbered(post(STREAM_RUN, BODIES[STREAM_RUN]))[-1][0] == "Message"
    cloud.misbehave(stream="ping")
    names = [name for name, _ in numbered(post(STREAM_RUN, BODIES[STREAM_RUN]))]
    assert names[1::2][:-1].count("PING") > 2 and names[-1] == "Done"


# Binding


def bound(cloud):
    channel = next(c for c in cloud.state()["coze"]["channels"] if c["connector_id"] == CHANNEL)
    return {device["value"]: (device["label"], device["user_id"]) for device in channel["devices"]}


def test_bind_adds_and_replaces_by_value(cloud, post, usage):
    assert sorted(accepted(post(BIND, BODIES[BIND]))) == ["code", "detail", "msg"]
    enums = [{"label": "卧室", "value": "51237824"}, {"label": "主卧", "value": "51237825"}]
    accepted(post(BIND, {"configs": [{"key": "device_id", "enums": enums}], "user_id": "449"}))
    known = bound(cloud)
    assert known["51237824"] == ("卧室", "449") and known["51237825"] == ("主卧", "449")
    assert usage() == {}, "binding spends nothing"


@pytest.mark.parametrize(
    "configs, word",
    [
        ([], "configs"),
        ([{"key": "device_id"}], "configs.0.enums is missing"),
        ([{"enums": [{"label": "a", "value": "b"}]}], "configs.0.key is missing"),
        ([{"key": "device_id", "enums": []}], "configs.0.enums"),
        ([{"key": "device_id", "enums": [{"label": "a"}]}], "configs.0.enums.0.value is missing"),
        ([{"key": "device_id", "enums": [{"value": "a"}]}], "configs.0.enums.0.label is missing"),
        ([{"key": "device_id", "enums": [{"label": "a", "value": 5}]}], "configs.0.enums.0.value"),
        ([{"key": "sn", "enums": [{"label": "a", "value": "never"}]}], "'device_id' was agreed"),
        (
            [
                {"key": "device_id", "enums": [{"label": "a", "value": "never"}]},
                {"key": "sn", "enums": [{"label": "a", "value": "b"}]},
            ],
            "not 'sn'",
        ),
    ],
)
def test_bind_s_configs_are_checked(cloud, post, configs, word):
    refused(post(BIND, {"configs": configs}), 4000, word)
    assert "never" not in bound(cloud)


def test_bind_needs_permission_and_a_channel_that_allows_it(cloud, post, buy, sign):
    cloud.add_coze_token("pat_weak")
    refused(post(BIND, BODIES[BIND], token="pat_weak"), 4101, "bindConnectorConfig", status=403)
    token = buy(sign()).json()["access_token"]
    refused(post(BIND, BODIES[BIND], token=token), 4101, "bindConnectorConfig", status=403)
    refused(post("/v1/connectors/8/user_configs", BODIES[BIND]), 4200)
    cloud.add_coze_channel("9", key=None)
    refused(post("/v1/connectors/9/user_configs", BODIES[BIND]), 4101, "switched on", status=403)
    cloud.add_coze_channel("9")
    accepted(post("/v1/connectors/9/user_configs", BODIES[BIND]))


def test_an_app_that_may_bind(cloud, post, sign, buy):
    other = cloud.new_coze_app(may_bind=True)
    signed = sign(other["private_key"], header={"kid": other["key_id"]}, iss=other["client_id"])
    accepted(post(BIND, BODIES[BIND], token=buy(signed).json()["access_token"]))


# China Mobile's model

QUESTION = {
    "model": "jiutian-lan",
    "messages": [{"role": "user", "content": "北京的天气？"}],
    "stream": True,
}


@pytest.fixture
def device_id(cloud):
    return next(d["deviceId"] for d in cloud.state()["devices"] if d["deviceNo"] == "TOY-1")


@pytest.fixture
def complete(post, device_id):
    def complete(body=QUESTION, token=AI_TOKEN, **headers):
        given = {
            "X-AI-VID": PRODUCT,
            "X-AI-UID": device_id,
            **{n.replace("_", "-"): v for n, v in headers.items()},
        }
        return post(MODEL, body, token=token, headers=given)

    return complete


def wrong(answer, status, code, *words):
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    error = answer.json()["error"]
    assert sorted(error) == ["code", "message", "type"] and error["code"] == code
    for word in words:
        assert word in error["message"], error


def test_model_streams(cloud, complete):
    *chunks, done, empty = complete().content.decode().split("\n\n")
    assert (done, empty) == ("data: [DONE]", "")
    assert all(chunk.startswith("data: {") and "\n" not in chunk for chunk in chunks)
    choices = [json.loads(chunk[6:])["choices"][0] for chunk in chunks]
    assert "北京的天气？" in "".join(choice["delta"].get("content", "") for choice in choices)
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert len(choices) > 5 and cloud.calls(MODEL)[-1]["device"] == "TOY-1"


def test_model_answers_at_once(complete):
    told = complete({**QUESTION, "stream": False, "temperature": 1}).json()
    assert "北京的天气？" in told["choices"][0]["message"]["content"] and told["object"] == "chat.completion"
    assert complete({**QUESTION, "temperature": 0.8, "top_p": 0.5}).status_code == 200


@pytest.mark.parametrize(
    "changed, word",
    [
        ({"model": "gpt-4"}, "model"),
        ({"model": "gone"}, "model is missing"),
        ({"messages": []}, "messages"),
        ({"messages": "gone"}, "messages is missing"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages.0.content"),
        ({"stream": "gone"}, "stream is missing"),
        ({"stream": 1}, "stream"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": 1.1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"temperature": 0.5, "top_p": 0.5}, "both"),
        ({"seed": 1}, "seed is not a field"),
    ],
)
def test_model_s_body_is_checked(complete, changed, word):
    body = {**QUESTION, **changed}
    wrong(complete({n: v for n, v in body.items() if v != "gone"}), 400, "invalid_request", word)


def test_model_holds_8k_tokens(complete):
    def ask(text):
        return complete({**QUESTION, "messages": [{"role": "user", "content": text}]})

    assert ask("好" * 8192).status_code == 200
    wrong(ask("好" * 8193), 400, "context_length_exceeded", "8193")


def test_model_s_caller_is_checked(cloud, complete, post):
    wrong(complete(token=None), 401, "invalid_api_key", "Authorization")
    wrong(complete(token="guessed"), 401, "invalid_api_key")
    wrong(complete(X_AI_VID="555"), 401, "invalid_api_key", "X-AI-VID")
    wrong(complete(X_AI_UID="nobody"), 401, "invalid_api_key", "X-AI-UID")
    other = next(d["deviceId"] for d in cloud.state()["devices"] if d["deviceNo"] == "TOY-2")
    wrong(complete(X_AI_UID=other), 401, "invalid_api_key", "X-AI-UID")
    wrong(post(MODEL, QUESTION, token=AI_TOKEN), 400, "invalid_request", "X-AI-VID is missing", "X-AI-UID")
    wrong(complete(X_AI_IP="somewhere"), 400, "invalid_request", "X-AI-IP")
    assert complete(X_AI_IP="203.0.113.9").status_code == 200
    wrong(post("/llm/v1/models", {}), 404, "invalid_request")


def test_a_model_that_goes_wrong(cloud, complete):
    cloud.misbehave(stream="error")
    last = complete().content.decode().split("\n\n")[-2]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "internal_error"
    cloud.misbehave(stream="early")
    assert "[DONE]" not in complete().text and "delta" in complete().text
    cloud.misbehave(bytes=MB)
    chunks = complete().content.decode().split("\n\n")[:-2]
    text = "".join(json.loads(chunk[6:])["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert len(text.encode()) == MB
    cloud.misbehave(code="rate_limited", status=429)
    wrong(complete(), 429, "rate_limited")


# Misbehaviour on the way


def test_documented_refusals_have_their_vendor_s_shape(cloud, post, buy, sign):
    cloud.misbehave(code="700012006", status=401)
    refused(post(CHAT, BODIES[CHAT]), 700012006, status=401)
    cloud.misbehave(code="access_deny", status=403)
    denied(buy(sign()), "access_deny", status=403)
    assert cloud.calls(TOKEN)[-1]["code"] == "access_deny"


def test_a_stream_arrives_as_it_is_made(cloud, post):
    cloud.misbehave(pause=0.1)
    start = time.monotonic()
    answer = post(CHAT, BODIES[CHAT], stream=True)
    parts = answer.iter_content(None)
    first = next(parts)
    assert time.monotonic() - start < 0.35 and b"chat.created" in first
    seen = len(cloud.calls(CHAT))
    assert cloud.calls(CHAT)[-1]["status"] is None, "still going on"
    answer.close()
    wait_until(lambda: cloud.calls(CHAT)[-1]["reason"])
    assert len(cloud.calls(CHAT)) == seen and "left in the middle" in cloud.calls(CHAT)[-1]["reason"]


def test_a_stream_is_logged(cloud, post):
    events(post(CHAT, BODIES[CHAT]))
    call = cloud.calls(CHAT)[-1]
    assert (call["status"], call["code"], call["reason"]) == (200, "200", "streamed")


@pytest.mark.parametrize("after", [None, 0, 1000])
@pytest.mark.parametrize("connection", ["truncate", "close", "reset"])
@pytest.mark.parametrize("path", [CHAT, SPEECH, ROOMS])
def test_an_answer_is_cut_in_the_middle(cloud, post, path, connection, after):
    if connection != "truncate" and after is None:
        return  # before the first byte: test_cloud.py has it
    after = 20 if after == 1000 and path == ROOMS else after
    cloud.misbehave(connection=connection, after=after)
    with connected(cloud) as tls:
        tls.sendall(request(path, BODIES[path]))
        got = b""
        try:
            while part := tls.recv(65536):
                got += part
            end = "proper"
        except OSError:
            end = "cut"
    head, _, rest = got.partition(b"\r\n\r\n")
    assert b" 200 OK" in head
    if connection == "truncate":
        assert end == "proper" and (rest or after == 0)
    elif connection == "close":
        assert end == "cut"
    assert not rest.endswith(b"0\r\n\r\n"), "no end of the chunks"
    length = sum(map(len, chunks(rest))) if b"chunked" in head else len(rest)
    if after is not None and connection != "reset":
        assert length == after
    call = cloud.calls(path)[-1]
    assert call["status"] == 200 and call["reason"] == f"misbehaved: {connection} in the middle of the answer"
    cloud.behave()
    accepted(post(path, BODIES[path]))


def chunks(data):
    while data:
        size, _, data = data.partition(b"\r\n")
        yield data[: int(size, 16)]
        data = data[int(size, 16) + 2 :]


def connected(cloud):
    context = ssl.create_default_context(cafile=str(cloud.ca_pem))
    raw = socket.create_connection(("127.0.0.1", int(cloud.url.rpartition(":")[2])), timeout=10)
    return context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)


def request(path, content):
    body = json.dumps(content).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {PAT}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def wait_until(true, seconds=5):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
