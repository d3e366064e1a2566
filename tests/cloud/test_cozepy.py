"""The box's Coze, judged by Coze's own SDK."""

import json
import time
import warnings
import wave

import jwt
import pytest
import requests

# What the SDK itself is built on warns at its import.
with warnings.catch_warnings(record=True):
    from cozepy import (
        AudioFormat,
        ChatEventType,
        Coze,
        CozeAPIError,
        JWTAuth,
        JWTOAuthApp,
        Message,
        TokenAuth,
        WorkflowEventType,
    )
    from cozepy.request import SyncHTTPClient

ASK = Message.build_user_question_text("今天天气怎么样？")


@pytest.fixture(autouse=True)
def trusted(cloud, monkeypatch):
    # The SDK's client for tokens takes no argument for its roots; it reads this.
    monkeypatch.setenv("SSL_CERT_FILE", str(cloud.ca_pem))


@pytest.fixture(scope="module")
def app(box):
    return box.new_coze_app()


@pytest.fixture
def coze(cloud, app):
    oauth = JWTOAuthApp(app["client_id"], app["private_key"], app["key_id"], base_url=cloud.url)
    with SyncHTTPClient() as client:
        yield Coze(JWTAuth(oauth_app=oauth), base_url=cloud.url, http_client=client)


def device_token(cloud, app):
    """What a device does: the SDK has no argument for session_context, so PyJWT signs."""
    now = int(time.time())
    claims = {
        "iss": app["client_id"],
        "aud": cloud.url.removeprefix("https://"),
        "iat": now,
        "exp": now + 600,
        "jti": f"{time.monotonic_ns()}-{'x' * 32}",
        "session_context": {"device_info": {"device_id": "SN-SDK-1"}},
    }
    signed = jwt.encode(claims, app["private_key"], "RS256", headers={"kid": app["key_id"]})
    answer = requests.post(
        cloud.url + "/api/permission/oauth2/token",
        json={"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "duration_seconds": 60},
        headers={"Authorization": f"Bearer {signed}"},
        verify=str(cloud.ca_pem),
        timeout=10,
    )
    return answer.json()["access_token"]


def said(events):
    return "".join(
        event.message.content for event in events if event.event == ChatEventType.CONVERSATION_MESSAGE_DELTA
    )


def billed(cloud):
    return {
        (row["device_id"], row["custom_consumer"]): row["calls"] for row in cloud.state()["coze"]["usage"]
    }


def test_token(cloud, app):
    oauth = JWTOAuthApp(app["client_id"], app["private_key"], app["key_id"], base_url=cloud.url)
    token = oauth.get_access_token(ttl=300, session_name="somebody")
    assert token.access_token.startswith("czs_") and token.token_type == "Bearer"
    assert abs(token.expires_in - time.time() - 300) < 5
    assert oauth.get_access_token(ttl=300).access_token != token.access_token


def test_token_for_a_foreign_key_is_refused(cloud, app):
    other = cloud.new_coze_app()
    oauth = JWTOAuthApp(app["client_id"], other["private_key"], app["key_id"], base_url=cloud.url)
    with pytest.raises(CozeAPIError, match="Signature verification failed"):
        oauth.get_access_token()


def test_chat_streams(coze):
    events = list(coze.chat.stream(bot_id="1", user_id="u", conversation_id="77", additional_messages=[ASK]))
    kinds = [event.event for event in events]
    assert kinds[:2] == [ChatEventType.CONVERSATION_CHAT_CREATED, ChatEventType.CONVERSATION_CHAT_IN_PROGRESS]
    assert kinds[-1] == ChatEventType.CONVERSATION_CHAT_COMPLETED and ChatEventType.UNKNOWN not in kinds
    assert kinds.count(ChatEventType.CONVERSATION_MESSAGE_DELTA) > 3, "in pieces"
    assert "今天天气怎么样？" in said(events)
    chat = events[-1].chat
    assert (chat.status, chat.conversation_id, chat.bot_id) == ("completed", "77", "1")
    assert events[0].response.logid


def test_long_chat(cloud, coze):
    cloud.misbehave(bytes=1 << 20)
    events = coze.chat.stream(bot_id="1", user_id="u", additional_messages=[ASK])
    assert len(said(events).encode()) == 1 << 20


def test_chat_without_a_stream(coze):
    chat = coze.chat.create(bot_id="1", user_id="u", additional_messages=[ASK])
    assert chat.id and chat.conversation_id and chat.status == "in_progress"


def test_chat_that_is_polled(cloud, coze):
    before = billed(cloud).get(("N/A", "N/A"), 0)
    poll = coze.chat.create_and_poll(
        bot_id="1", user_id="u", conversation_id="77", additional_messages=[ASK], poll_timeout=20
    )
    chat = poll.chat
    assert (chat.status, chat.conversation_id, chat.usage.output_count > 0) == ("completed", "77", True)
    assert {message.chat_id for message in poll.messages} == {chat.id}
    answers = [message.content for message in poll.messages if message.type == "answer"]
    assert "今天天气怎么样？" in "".join(answers) and poll.messages[-1].type == "verbose"
    assert billed(cloud)["N/A", "N/A"] == before + 1, "asking for the answer is free"


def test_polled_chats_that_do_not_complete(cloud, coze):
    def ask():
        chat = coze.chat.create(bot_id="1", user_id="u", additional_messages=[ASK])
        return {"conversation_id": chat.conversation_id, "chat_id": chat.id}

    for fault in ("failed", "failed-bare", "error"):
        cloud.misbehave(stream=fault)
        failed = coze.chat.retrieve(**ask())
        assert failed.status == "failed" and failed.last_error.code == 5000, fault
    cloud.misbehave(stream="requires_action")
    assert coze.chat.retrieve(**ask()).required_action.submit_tool_outputs.tool_calls

    cloud.misbehave(pause=1000)
    slow = ask()
    assert coze.chat.retrieve(**slow).status == "in_progress" and not list(coze.chat.messages.list(**slow))
    assert coze.chat.cancel(**slow).status == "canceled" == coze.chat.retrieve(**slow).status
    with pytest.raises(CozeAPIError) as raised:
        coze.chat.cancel(**slow)
    assert raised.value.code == 4104
    with pytest.raises(CozeAPIError) as raised:
        coze.chat.retrieve(**{**slow, "conversation_id": "another"})
    assert raised.value.code == 4200


def test_chat_that_fails(cloud, coze):
    cloud.misbehave(stream="failed")
    last = list(coze.chat.stream(bot_id="1", user_id="u", additional_messages=[ASK]))[-1]
    assert last.event == ChatEventType.CONVERSATION_CHAT_FAILED and last.chat.last_error.code == 5000
    cloud.misbehave(stream="requires_action")
    last = list(coze.chat.stream(bot_id="1", user_id="u", additional_messages=[ASK]))[-1]
    assert last.event == ChatEventType.CONVERSATION_CHAT_REQUIRES_ACTION
    assert last.chat.required_action.submit_tool_outputs.tool_calls
    cloud.misbehave(stream="error")
    with pytest.raises(Exception, match="error event"):
        list(coze.chat.stream(bot_id="1", user_id="u", additional_messages=[ASK]))


def test_chat_flow(coze):
    events = list(
        coze.workflows.chat.stream(workflow_id="5", additional_messages=[ASK], parameters={"city": "杭州"})
    )
    assert events[-1].event == ChatEventType.CONVERSATION_CHAT_COMPLETED and "天气" in said(events)


def test_room(coze):
    room = coze.audio.rooms.create(bot_id="1", uid="uid_1", voice_id="2")
    assert room.uid == "uid_1" and room.room_id and room.app_id and room.token


def test_speech(coze, tmp_path):
    file = tmp_path / "speech.wav"
    coze.audio.speech.create(
        input="你好呀", voice_id="2", response_format=AudioFormat.WAV, sample_rate=8000
    ).write_to_file(str(file))
    with wave.open(str(file)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 8000)
        assert sound.getnframes() == 3 * 800
    default = coze.audio.speech.create(input="你好呀", voice_id="2")
    assert default.response.logid


def test_transcription(coze, tmp_path):
    file = tmp_path / "speech.wav"
    file.write_bytes(bytes(2 << 20))
    assert str(2 << 20) in coze.audio.transcriptions.create(file=str(file)).text


def test_workflow(coze):
    result = coze.workflows.runs.create(workflow_id="5", parameters={"city": "杭州"})
    assert "杭州" in json.loads(result.data)["output"] and result.debug_url.endswith("workflow_id=5")
    later = coze.workflows.runs.create(workflow_id="5", parameters={}, is_async=True)
    assert later.execute_id and later.debug_url


def test_workflow_streams_and_is_resumed(cloud, coze):
    def text(events):
        assert [event.id for event in events] == list(range(len(events)))
        return "".join(event.message.content for event in events if event.event == WorkflowEventType.MESSAGE)

    assert "杭州" in text(list(coze.workflows.runs.stream(workflow_id="5", parameters={"city": "杭州"})))

    cloud.misbehave(stream="requires_action", times=1)
    events = list(coze.workflows.runs.stream(workflow_id="5"))
    assert "哪个城市" in text(events) and events[-1].event == WorkflowEventType.INTERRUPT
    interrupt = events[-1].interrupt.interrupt_data
    resume = {
        "workflow_id": "5",
        "event_id": interrupt.event_id,
        "resume_data": "绍兴",
        "interrupt_type": interrupt.type,
    }
    assert "绍兴" in text(list(coze.workflows.runs.resume(**resume)))

    cloud.misbehave(stream="error")
    failed = list(coze.workflows.runs.stream(workflow_id="5"))[-1]
    assert failed.event == WorkflowEventType.ERROR and failed.error.error_code == 5000


def test_a_refusal_is_an_error_with_its_log_id(cloud, coze):
    cloud.misbehave(code="4015", path="/v1/audio/rooms")
    with pytest.raises(CozeAPIError) as raised:
        coze.audio.rooms.create(bot_id="1")
    assert raised.value.code == 4015 and raised.value.logid


def test_billed_to_nobody_to_the_token_s_device_and_to_the_header_s(cloud, app, coze):
    before = billed(cloud)
    coze.audio.rooms.create(bot_id="1")
    token = device_token(cloud, app)
    with SyncHTTPClient() as client:
        device = Coze(TokenAuth(token), base_url=cloud.url, http_client=client)
        device.audio.rooms.create(bot_id="1")
        list(device.chat.stream(bot_id="1", user_id="u", additional_messages=[ASK]))
        cloud.add_coze_token("pat_central")
        central = Coze(TokenAuth("pat_central"), base_url=cloud.url, http_client=client)
        header = {"X-Coze-DeviceInfo": '{"device_id": "SN-SDK-2", "custom_consumer": "someone"}'}
        list(central.chat.stream(bot_id="1", user_id="u", additional_messages=[ASK], headers=header))
    after = billed(cloud)
    assert {who: after[who] - before.get(who, 0) for who in after if after[who] != before.get(who)} == {
        ("N/A", "N/A"): 1,
        ("SN-SDK-1", "N/A"): 2,
        ("SN-SDK-2", "someone"): 1,
    }
