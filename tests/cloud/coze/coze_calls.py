"""Coze's calls, each with a body that is accepted, and what answers and refusals look like."""

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
MB = 1024 * 1024
EIGHT = [path for path in BODIES if path not in (BIND, RESUME)]


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
