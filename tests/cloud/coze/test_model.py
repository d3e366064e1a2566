"""China Mobile's model in the box, judged by requests and the document."""

import json

import pytest
from coze_calls import AI_TOKEN, MB, MODEL, PRODUCT

ASKED = {"role": "user", "content": "北京的天气？"}
QUESTION = {"model": "jiutian-lan", "messages": [ASKED], "stream": True}


@pytest.fixture
def device_id(cloud):
    return next(d["deviceId"] for d in cloud.state()["devices"] if d["deviceNo"] == "TOY-1")


@pytest.fixture
def complete(post, device_id):
    def complete(body=QUESTION, token=AI_TOKEN, **headers):
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"X-AI-VID": PRODUCT, "X-AI-UID": device_id, **changed}
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
        *(({name: wrong}, name) for name in ("temperature", "top_p") for wrong in (0, 1.1)),
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
