"""Audio, chats, workflows and binding in the box's Coze, judged by requests and the documents."""

import io
import json
import wave

import pytest
from coze_calls import (
    BIND,
    BODIES,
    CHANNEL,
    CHAT,
    MB,
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
