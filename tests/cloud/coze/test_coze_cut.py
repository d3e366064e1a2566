"""Coze in the box when it refuses as told, and answers that are cut on their way."""

import json

import pytest
from coze_calls import BODIES, CHAT, PAT, ROOMS, SPEECH, TOKEN, accepted, denied, events, refused
from wire import connect, request, wait_until


def test_documented_refusals_have_their_vendor_s_shape(cloud, post, buy, sign):
    cloud.misbehave(code="700012006", status=401)
    refused(post(CHAT, BODIES[CHAT]), 700012006, status=401)
    cloud.misbehave(code="4100")
    refused(post(CHAT, BODIES[CHAT]), 4100, "身份验证无效", status=401)
    cloud.misbehave(code="access_deny", status=403)
    denied(buy(sign()), "access_deny", status=403)
    assert cloud.calls(TOKEN)[-1]["code"] == "access_deny"


def test_a_stream_arrives_as_it_is_made(cloud, post):
    cloud.misbehave(pause=0.1)
    answer = post(CHAT, BODIES[CHAT], stream=True)
    parts = answer.iter_content(None)
    assert b"chat.created" in next(parts)
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
        return  # before the first byte: test_cloud_misbehaviour.py has it
    after = 20 if after == 1000 and path == ROOMS else after
    cloud.misbehave(connection=connection, after=after)
    with connect(cloud) as tls:
        tls.sendall(request(path, json.dumps(BODIES[path]).encode(), f"Authorization: Bearer {PAT}"))
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
