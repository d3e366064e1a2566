"""What all of Coze's calls in the box have in common: who may, which fields, and who is billed."""

import json
import time

import pytest
from coze_calls import (
    AI_TOKEN,
    BODIES,
    CHAT,
    EIGHT,
    PAT,
    REQUIRED,
    RESUME,
    ROOMS,
    RUN,
    SPEECH,
    STREAM_RUN,
    TRANSCRIPTIONS,
    USER,
    WORKFLOW_CHAT,
    accepted,
    events,
    refused,
)

# Every call


@pytest.mark.parametrize("path", [*BODIES, TRANSCRIPTIONS])
@pytest.mark.parametrize("token", [None, "czs_unknown", "expired", "two words"])
def test_a_bearer_is_needed(cloud, post, path, token):
    cloud.add_coze_token("expired", expires=time.time() - 1)
    given = {"files": {"file": b"x"}} if path == TRANSCRIPTIONS else {"json": BODIES[path]}
    refused(post(path, token=token, **given), 4100, "身份验证无效", status=401)


def test_a_token_works_until_it_expires(cloud, clock, post):
    cloud.add_coze_token("pat_short", expires=clock.held + 60)
    accepted(post(ROOMS, BODIES[ROOMS], token="pat_short"))
    clock.held += 60
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


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", CHAT, 405),
        ("POST", "/v3/chats", 404),
        ("POST", "/api/permission/oauth2/device/code", 404),
        ("POST", "/open_api/knowledge/document/list", 404),
    ],
)
def test_another_method_or_path_is_refused_in_coze_s_shape(cloud, session, method, path, status):
    answer = session.request(method, cloud.url + path, timeout=10)
    refused(answer, 4200, path, status=status)
    assert ("POST" in answer.headers.get("Allow", "")) == (status == 405)


def test_what_coze_s_sdks_send_beside_the_documented_fields_is_accepted(post):
    # Go names every field of a message, and so does Java, with null; both name the connector.
    empty = dict.fromkeys(("id", "conversation_id", "section_id", "bot_id", "chat_id"), "")
    go = {**USER, "type": "question", **empty, "created_at": 0, "updated_at": 0}
    accepted(post(CHAT, {**BODIES[CHAT], "additional_messages": [go], "stream": False, "connector_id": ""}))
    java = {**USER, **dict.fromkeys([*empty, "created_at", "updated_at", "reasoning_content"])}
    body = {**BODIES[CHAT], "additional_messages": [java], "stream": False, "conversation_id": "77"}
    accepted(post(CHAT, body))
    for path in ROOMS, RUN:
        accepted(post(path, {**BODIES[path], "connector_id": "1024"}))


@pytest.mark.parametrize(
    "path, changed, word",
    [
        (SPEECH, {"response_format": "flac"}, "response_format"),
        *((SPEECH, {"speed": wrong}, "speed") for wrong in (0.1, 3.5, "1")),
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
        *((path, {"bot_id": "1", "app_id": "2"}, "both") for path in (WORKFLOW_CHAT, RUN)),
        *((RUN, {"parameters": wrong}, "parameters") for wrong in ("[]", "{", 5)),
        (RUN, {"is_async": 1}, "is_async"),
        (RUN, {"ext": {"latitude": 39.9}}, "ext.latitude"),
        (STREAM_RUN, {"is_async": True}, "is_async is not a field"),
        (RESUME, {"interrupt_type": "2"}, "interrupt_type"),
    ],
)
def test_fields_of_a_wrong_type_or_form_are_refused(post, path, changed, word):
    refused(post(path, {**BODIES[path], **changed}), 4000, word)


# Billing


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


def test_page_and_state_show_usage_and_no_secrets(get, post, buy, sign, app):
    signed = sign(session_context={"device_info": {"device_id": "<b>SN-9</b>"}})
    token = buy(signed).json()["access_token"]
    accepted(post(CHAT, BODIES[CHAT], token=token))
    page, state = get("/?part=coze"), get("/state")
    assert "&lt;b&gt;SN-9&lt;/b&gt;" in page
    assert "<b>SN-9</b>" in json.loads(state)["coze"]["usage"][0].values()
    assert "Coze usage" in page and CHAT in page
    for secret in (token, signed, PAT, AI_TOKEN, app["private_key"].split("\n")[1]):
        assert secret not in page + state
