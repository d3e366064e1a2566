"""Coze's calls against Coze in a box, over real TLS."""

import io
import json
import sys

from helpers import raises
from muster import clock, http, log
from muster.clouds import coze as module
from muster.clouds.chinamobile import ChinaMobile
from muster.clouds.coze import Coze, text
from muster.errors import CloudError, TransportError
from recorded import Answer, Nested, Recorder

TOKEN = "/api/permission/oauth2/token"


def client(coze, **more):
    """A device with a key of its own."""
    return Coze(
        http.Session(coze["ca"]),
        coze["client_id"],
        coze["key_id"],
        coze["private_key"],
        base_url=coze["url"],
        **dict({"device_id": "SN-1"}, **more),
    )


def central(coze, **more):
    """A maker's server, with one token for all its devices."""
    return Coze(http.Session(coze["ca"]), token=coze["token"], base_url=coze["url"], **more)


def misbehave(coze, **how):
    http.post(coze["url"] + "/misbehave", ca=coze["ca"], json=how)


def state(coze):
    with http.Session(coze["ca"], max_body=1 << 18) as session:
        return session.get(coze["url"] + "/state").json()


def usage(coze):
    return {(u["device_id"], u["custom_consumer"]): u["calls"] for u in state(coze)["coze"]["usage"]}


def all_eight(cloud):
    b"".join(cloud.speech("你好", "voice"))
    cloud.transcribe(io.BytesIO(b"RIFF" + bytes(100)))
    cloud.create_room("bot")
    list(cloud.chat("bot", "user", "你好"))
    cloud.run_workflow("flow", {"input": "x"})
    list(cloud.stream_workflow("flow"))
    list(cloud.chat_workflow("flow", "你好"))


def test_a_token_is_bought_once_and_kept_until_shortly_before_its_end(coze):
    moment = [clock.now() - 50]
    cloud = client(coze, now=lambda: moment[0], duration_s=62)
    token = cloud.access_token()
    assert token.startswith("czs_")
    moment[0] += 45
    assert cloud.access_token() == token
    moment[0] += 10
    assert cloud.access_token() != token
    assert state(coze)["counts"][TOKEN] == 2


def test_a_device_is_billed_for_what_it_says_it_is(coze):
    all_eight(client(coze, device_id="SN-7"))
    assert usage(coze) == {("SN-7", "N/A"): 7}
    all_eight(client(coze, device_id=None, custom_consumer="小明"))
    assert usage(coze)[("N/A", "小明")] == 7
    # A session name keeps conversations apart; nothing else changes.
    client(coze, session_name="u1").create_room("bot")
    assert usage(coze)[("SN-1", "N/A")] == 1


def test_a_ready_token_says_the_device_in_a_header_of_ascii(coze):
    all_eight(central(coze, device_id="音箱-1\U0001f600", custom_consumer="c"))
    assert usage(coze) == {("音箱-1\U0001f600", "c"): 7}
    assert TOKEN not in state(coze)["counts"]
    all_eight(central(coze))
    assert usage(coze)[("N/A", "N/A")] == 7


def test_the_header_is_on_the_eight_calls_and_on_no_other():
    recorder = Recorder()
    cloud = Coze(recorder, token="pat_x", device_id="d")
    calls = (
        lambda: list(cloud.speech("a", "v")),
        lambda: cloud.transcribe(io.BytesIO(b"x")),
        lambda: cloud.create_room("b"),
        lambda: list(cloud.chat("b", "u", "m")),
        lambda: cloud.run_workflow("w"),
        lambda: list(cloud.stream_workflow("w")),
        lambda: list(cloud.chat_workflow("w", "m")),
        lambda: list(cloud.resume_workflow("w", "e", "r", 2)),
    )
    for call in calls:
        raises(TransportError, call)
    paths = [url[len(module.PRODUCTION) :].partition("?")[0] for _, url, _, _ in recorder.asked]
    assert paths == [
        "/v1/audio/speech",
        "/v1/audio/transcriptions",
        "/v1/audio/rooms",
        "/v3/chat",
        "/v1/workflow/run",
        "/v1/workflow/stream_run",
        "/v1/workflows/chat",
        "/v1/workflow/stream_resume",
    ]
    assert all(headers["X-Coze-DeviceInfo"] == '{"device_id":"d"}' for _, _, _, headers in recorder.asked)
    raises(TransportError, cloud.bind_devices, "c", [("label", "value")])
    assert "X-Coze-DeviceInfo" not in recorder.asked[-1][3]


def test_speech_in_pieces_and_into_a_file(coze):
    cloud = client(coze)
    pieces = list(cloud.speech("你好", "voice", response_format="wav", sample_rate=16000, speed=1.2))
    assert pieces[0][:4] == b"RIFF" and all(isinstance(piece, bytes) for piece in pieces)
    file = io.BytesIO()
    count = cloud.speech("你好", "voice", response_format="wav", sample_rate=16000, into=file)
    assert count == len(file.getvalue()) > 44


def test_transcription(coze):
    assert client(coze).transcribe(io.BytesIO(b"RIFF" + bytes(5000)), "hello.wav")


def test_transcription_over_requests_and_micropythons_stock_module_of_that_name(coze):
    import requests

    session = requests
    if sys.implementation.name == "cpython":
        session = requests.Session()
        session.trust_env = False
        session.verify = coze["ca"]
    cloud = Coze(session, token=coze["token"], base_url=coze["url"])
    for _ in range(2):
        assert cloud.transcribe(io.BytesIO(b"RIFF" + bytes(5000)))


def test_a_room_and_its_token_which_is_not_printed(coze):
    room = client(coze).create_room("bot", uid="u", voice_id="v")
    assert room["room_id"] and room["app_id"] and room["uid"] and room["token"]
    assert room["token"] not in repr(room)


def test_a_chat_streams_its_text(coze):
    cloud = client(coze)
    pieces = list(cloud.chat_text("bot", "user", "今天天气怎么样"))
    assert len(pieces) > 3 and "今天天气怎么样" in "".join(pieces)
    messages = [{"role": "user", "content": "你好", "content_type": "text"}]
    stream = list(cloud.chat("bot", "user", messages, conversation_id="123", auto_save_history=True))
    assert stream[-1][0] == "done" and ("conversation.chat.completed" in [event for event, _ in stream])
    assert "你好" in "".join(text(iter(stream)))


def test_a_question_back_ends_a_chat_and_is_no_failure(coze):
    misbehave(coze, stream="requires_action", path="/v3/chat")
    assert list(client(coze).chat("bot", "user", "你好"))[-1][0] == "conversation.chat.requires_action"


def test_workflows_run_stream_and_are_resumed(coze):
    cloud = client(coze)
    answer = cloud.run_workflow("flow", {"input": "你好"})
    assert isinstance(answer["data"], str) and "你好" in json.loads(answer["data"])["output"]
    assert answer["debug_url"]
    assert [event for event, _ in cloud.stream_workflow("flow", {"input": "x"})][-1] == "Done"
    misbehave(coze, stream="requires_action", path="/v1/workflow/stream_run")
    event, data = list(cloud.stream_workflow("flow"))[-1]
    assert event == "Interrupt"
    interrupt = data["interrupt_data"]
    resumed = cloud.resume_workflow("flow", interrupt["event_id"], "北京", interrupt["type"])
    assert [event for event, _ in resumed][-1] == "Done"


def test_pings_are_skipped(coze):
    misbehave(coze, stream="ping", path="/v1/workflow/stream_run")
    assert {event for event, _ in client(coze).stream_workflow("flow")} == {"Message", "Done"}


def test_a_conversation_flow(coze):
    assert "你好" in "".join(text(client(coze).chat_workflow("flow", "你好", parameters={"a": 1})))


def test_devices_are_bound_in_one_request_unless_batches_are_asked_for(coze):
    cloud = client(coze)
    devices = [("音箱-%d" % i, "SN-%d" % i) for i in range(5)]
    cloud.bind_devices("channel-1", devices)
    path = "/v1/connectors/channel-1/user_configs"
    assert state(coze)["counts"][path] == 1
    cloud.bind_devices("channel-1", devices, batch=2)
    assert state(coze)["counts"][path] == 4
    bound = state(coze)["coze"]["channels"][0]
    assert "SN-4" in json.dumps(bound)
    raises(ValueError, cloud.bind_devices, "channel-1", [])


def test_what_binding_lacks_is_named(coze):
    for call in (
        lambda: client(coze).bind_devices("no-such-channel", [("a", "b")]),
        lambda: client(coze).bind_devices("channel-1", [("a", "b")], key="sn"),
        lambda: central(coze).bind_devices("channel-1", [("a", "b")]),
    ):
        words = str(raises(CloudError, call))
        assert "bindConnectorConfig" in words and "switched" in words and "key" in words


def test_limits_are_checked_before_anything_is_sent():
    recorder = Recorder()
    cloud = Coze(recorder, token="t")
    message = {"role": "user", "content": "x", "content_type": "text"}
    raises(ValueError, cloud.speech, "语" * 342, "voice")
    raises(ValueError, cloud.chat, "b", "u", [message] * 101)
    raises(ValueError, cloud.chat_workflow, "w", [message] * 51)

    class Huge:
        def seek(self, *_):
            pass

        def tell(self):
            return 10 * 1024 * 1024 + 1

    raises(ValueError, cloud.transcribe, Huge())
    raises(ValueError, cloud.transcribe, io.BytesIO(b"x"), 'a".wav')
    for wrong in ("1&stream=false", "a/b", "a?b", "a#b", "a%b", "a b", "a\r\nb", "\u4e2d", 7):
        assert "conversation_id" in str(raises(ValueError, cloud.chat, "b", "u", "m", wrong))
        assert "connector_id" in str(raises(ValueError, cloud.bind_devices, wrong, [("a", "b")]))
    for batch in (0, -1):
        assert "batch" in str(raises(ValueError, cloud.bind_devices, "c", [("a", "b")], batch=batch))
    for device in (("a", 5), (5, "b"), ("a", ""), ("", "b"), ("a", None), (b"a", b"b")):
        words = str(raises(ValueError, cloud.bind_devices, "c", [("a", "b"), device]))
        assert "label and a value" in words
    assert not recorder.asked
    for duration in (0, 86400):
        raises(ValueError, Coze, None, token="t", duration_s=duration)
    for given in (
        {},
        {"token": ""},
        {"client_id": "only"},
        {"client_id": "c", "private_key": "k"},
        {"key_id": "k", "private_key": "k", "token": ""},
    ):
        assert "key_id" in str(raises(ValueError, Coze, None, **given))


def test_every_way_to_fail_is_a_cloud_error_with_a_log_id(coze):
    cloud = client(coze)
    cloud.access_token()
    misbehave(coze, code="4000")
    e = raises(CloudError, cloud.create_room, "bot")
    assert e.cloud == "coze" and e.code == "4000" and e.log_id and e.message
    for path, kind in (
        ("/v3/chat", "failed"),
        ("/v3/chat", "failed-bare"),
        ("/v3/chat", "error"),
        ("/v3/chat", "early"),
        ("/v1/workflow/stream_run", "error"),
        ("/v1/workflow/stream_run", "early"),
    ):
        misbehave(coze, stream=kind, path=path)
        stream = cloud.chat("bot", "u", "你好") if path == "/v3/chat" else cloud.stream_workflow("flow")
        e = raises(CloudError, list, stream)
        assert e.log_id, (path, kind)
        assert kind == "early" or e.code, (path, kind)
    misbehave(coze, status=502, body="<html>")
    assert raises(CloudError, cloud.create_room, "bot").retryable
    assert raises(CloudError, list, cloud.chat("b", "u", "m")).retryable
    misbehave(coze)
    cloud.create_room("bot")


def test_a_refused_token_request_says_why(coze):
    session = http.Session(coze["ca"])
    cloud = Coze(session, "nobody", coze["key_id"], coze["private_key"], base_url=coze["url"])
    e = raises(CloudError, cloud.access_token)
    assert e.code in ("invalid_client", "invalid_request", "access_deny") and e.message


def test_an_expired_token_is_renewed_once_and_the_call_repeated(coze):
    cloud = client(coze)
    for call in (
        lambda: cloud.create_room("bot"),
        lambda: list(cloud.chat("bot", "u", "你好")),
        lambda: cloud.transcribe(io.BytesIO(b"RIFF" + bytes(3000))),
        lambda: b"".join(cloud.speech("a", "v")),
    ):
        cloud.access_token()
        cloud._tokens.token = "czs_gone"  # as after its end, with a clock that is late
        call()
    assert state(coze)["counts"][TOKEN] == 5
    misbehave(coze, code="4100", status=401, path="/v1/audio/rooms")
    assert raises(CloudError, cloud.create_room, "bot").code == "4100"
    assert state(coze)["counts"][TOKEN] == 6


def test_a_ready_token_that_expired_is_not_ours_to_renew(coze):
    cloud = Coze(http.Session(coze["ca"]), token="pat_unknown", base_url=coze["url"])
    assert raises(CloudError, cloud.create_room, "bot").status == 401


def test_a_connection_that_breaks_in_mid_stream_is_a_transport_error(coze):
    cloud = client(coze)
    cloud.access_token()
    misbehave(coze, connection="reset", after=200, path="/v3/chat", bytes=5000)
    raises((TransportError, CloudError), list, cloud.chat("bot", "u", "你好"))


def test_a_call_whose_connection_ends_without_an_answer_is_not_made_again(coze):
    cloud = client(coze)
    for call in (lambda: list(cloud.chat("bot", "u", "你好")), lambda: cloud.create_room("bot")):
        cloud.create_room("bot")
        misbehave(coze, connection="close", times=1)
        assert "may have executed" in str(raises(TransportError, call))


def test_a_megabyte_of_chat_and_two_of_speech_fit_into_a_small_heap(coze):
    misbehave(coze, bytes=1 << 20, path="/v3/chat")
    cloud = client(coze)
    assert sum(len(piece.encode()) for piece in cloud.chat_text("bot", "u", "你好")) == 1 << 20

    class Audio:
        """Two megabytes that are nowhere in memory."""

        size = 2 * 1024 * 1024
        at = 0

        def seek(self, offset, whence=0):
            self.at = self.size if whence == 2 else offset

        def tell(self):
            return self.at

        def read(self, n):
            n = min(n, self.size - self.at)
            self.at += n
            return bytes(n)

    assert cloud.transcribe(Audio())


def test_a_gateway_of_ones_own_takes_hs256():
    recorder = Recorder()
    cloud = Coze(recorder, "app", private_key="shared secret", alg="HS256", device_id="d")
    raises(TransportError, cloud.access_token)
    from muster import jwt

    claims = jwt.decode(recorder.asked[0][3]["Authorization"][len("Bearer ") :], "shared secret", "HS256")
    assert claims["session_context"]["device_info"] == {"device_id": "d"}
    assert claims["aud"] == "api.coze.cn" and claims["iss"] == "app" and len(claims["jti"]) > 32


def test_the_aud_of_a_jwt_is_host_and_port_alone():
    from muster import jwt

    for base_url, aud in (
        ("https://api.coze.com", "api.coze.com"),
        ("https://gateway.example:8443/coze/", "gateway.example:8443"),
        ("https://[::1]:8443/a/b", "[::1]:8443"),
    ):
        recorder = Recorder()
        cloud = Coze(recorder, "app", private_key="shared secret", alg="HS256", base_url=base_url)
        raises(TransportError, cloud.access_token)
        _, asked, _, headers = recorder.asked[0]
        assert asked == base_url.rstrip("/") + "/api/permission/oauth2/token"
        assert jwt.decode(headers["Authorization"][len("Bearer ") :], "shared secret")["aud"] == aud


def test_no_key_token_or_jwt_is_seen_anywhere(coze):
    lines = []
    log.write = lambda level, text: lines.append(text)
    cloud = client(coze)
    token = cloud.access_token()
    words = [repr(cloud), str(cloud)]
    misbehave(coze, code="4000")
    words.append(repr(raises(CloudError, cloud.create_room, "bot")))
    misbehave(coze, connection="close")
    words.append(repr(raises(TransportError, cloud.create_room, "bot")))
    misbehave(coze)
    seen = "\n".join(lines + words)
    body = coze["private_key"].split("\n")[3]
    assert token not in seen and "eyJ" not in seen and body not in seen and "Bearer" not in seen


def test_the_platforms_language_model_answers_over_the_same_reader(coze):
    product_id, product_key, device_no = coze["product"]
    session = http.Session(coze["ca"])
    platform = ChinaMobile(product_id, product_key, session, coze["url"], coze["url"])
    found = platform.secret_info(device_no)
    pieces = list(platform.chat(coze["ai_token"], found["deviceId"], "你好"))
    assert len(pieces) > 1 and "".join(pieces)
    talk = [{"role": "user", "content": "你好"}]
    assert "".join(platform.chat(coze["ai_token"], found["deviceId"], talk, "jiutian-chat", temperature=0.5))
    e = raises(CloudError, list, platform.chat("wr0ng", found["deviceId"], "你好"))
    assert e.cloud == "chinamobile" and e.status and "wr0ng" not in str(e)
    raises(ValueError, platform.chat, "t", "d", "m", temperature=0.5, top_p=0.5)
    raises(ValueError, platform.chat, "t", "d", "m", temperature=0)


def saying(answer, **more):
    """Coze where every answer is this one."""
    return Coze(Recorder(answer), **dict({"token": "pat-s3cr3t"}, **more))


class Stream(Answer):
    """An answer of events, or of whatever else."""

    def __init__(self, body, **headers):
        super().__init__(body, headers=dict({"content-type": "text/event-stream"}, **headers))


def test_what_a_server_repeats_of_the_token_goes_nowhere():
    said = "pat-s3cr3t is no token"
    for body in ({"code": said, "msg": said, "detail": {"logid": said}}, {"error_code": said}, "<html>"):
        answer = Answer(body, 400, {"x-tt-logid": said})
        text = str(raises(CloudError, saying(answer).run_workflow, "flow"))
        assert "s3cr3t" not in text and "*** is no token" in text
    failed = b'event: Error\ndata: {"error_code": 1, "error_message": "pat-s3cr3t?"}\n\n'
    text = str(raises(CloudError, list, saying(Stream(failed)).stream_workflow("flow")))
    assert "***?" in text, text


def test_odd_values_in_an_answer():
    assert raises(CloudError, saying(Nested()).run_workflow, "flow").message == "no reason given"
    for body in ({"code": 1, "msg": 5}, {"code": 1, "msg": [1]}, {"code": [1]}, {"error_code": {"a": 1}}):
        raises(CloudError, saying(Answer(body)).run_workflow, "flow")
    assert saying(Answer({"data": {"text": [1]}})).transcribe(io.BytesIO(b"")) == ""
    for data in (b'{"last_error": 5}', b'{"last_error": [1]}', b"5", b"[" * 3000):
        events = b"event: conversation.chat.failed\ndata: " + data + b"\n\n"
        raises(CloudError, list, saying(Stream(events)).chat("bot", "user", "hello"))
    events = b'event: conversation.message.delta\ndata: {"type": "answer", "content": %s}\n\n' * 2
    events = events % (b"[1]", b'"yes"') + b"event: done\ndata: x\n\n"
    assert "".join(saying(Stream(events)).chat_text("bot", "user", "hello")) == "yes"
    raises(TransportError, list, saying(Stream(b"data: \xff\n\n")).chat("bot", "user", "hello"))


def test_a_token_that_no_header_could_carry_is_refused():
    for token in ("t\r\nX: y", "\u4e2d", "", "a b", 7):
        answer = Answer({"access_token": token, "expires_in": 900})
        cloud = saying(answer, token=None, client_id="c", private_key="k", alg="HS256")
        assert "access_token" in raises(CloudError, cloud.run_workflow, "flow").message


def test_no_event_is_lost_by_a_line_too_many_after_each():
    class Doubled(Stream):
        def iter_lines(self):
            for line in self.content.split(b"\n"):
                yield line
                yield b""

    delta = b'event: conversation.message.delta\ndata: {"type": "answer", "content": "%d"}\n\n'
    chat = b"".join(delta % n for n in range(5)) + b"event: done\ndata: [DONE]\n\n"
    assert "".join(saying(Doubled(chat)).chat_text("bot", "user", "hello")) == "01234"
    flow = b"id: 0\nevent: Message\ndata: {}\n\nid: 1\nevent: Done\ndata: {}\n\n"
    events = saying(Doubled(flow)).stream_workflow("flow")
    assert [event for event, _ in events] == ["Message", "Done"]


def test_events_without_a_number_break_no_stream_that_has_them():
    def flow(*events):
        body = b""
        for event, number in events:
            body += b"" if number is None else b"id: %d\n" % number
            body += b"event: " + event + b"\ndata: {}\n\n"
        return [event for event, _ in saying(Stream(body)).stream_workflow("flow")]

    ping, message, done = b"PING", b"Message", b"Done"
    expected = ["Message", "Message", "Done"]
    assert flow((ping, None), (message, 0), (ping, None), (message, 1), (done, 2)) == expected
    assert flow((message, 0), (ping, None), (ping, None), (message, None), (done, 1)) == expected
    assert flow((message, 0), (ping, 1), (message, 2), (done, 3)) == expected
    assert flow((message, None), (message, None), (done, None)) == expected
    for gap in (
        ((message, 0), (done, 2)),
        ((message, 0), (ping, None), (done, 2)),
        ((message, 1), (done, 2)),
        ((message, 0), (message, 1), (done, 0)),
    ):
        assert "is missing" in raises(CloudError, flow, *gap).message


class Seller:
    """A session that sells czs_0, czs_1, …, and answers everything else with what stands in answer."""

    def __init__(self, answer=None):
        self.answer = answer
        self.sold = 0

    def request(self, method, url, data=None, headers=None, stream=False):
        if not url.endswith(TOKEN):
            return self.answer
        self.sold += 1
        return Answer({"access_token": "czs_%d" % (self.sold - 1), "expires_in": clock.now() + 900})


def test_a_streams_own_token_stays_hidden_after_another_call_has_renewed_it():
    repeats = b'{"error_code": 1, "error_message": "czs_0?", "detail": {"logid": "czs_0!"}}'
    stream = Stream(
        b"event: Message\ndata: {}\n\nevent: Error\ndata: " + repeats + b"\n\n", **{"x-tt-logid": "czs_0."}
    )
    session = Seller(stream)
    cloud = Coze(session, "app", private_key="shared secret", alg="HS256")
    events = cloud.stream_workflow("flow")
    next(events)
    session.answer = Answer({"data": "x"})
    cloud._tokens.ends = 0  # as after its end
    cloud.run_workflow("flow")
    assert cloud.access_token() == "czs_1"
    e = raises(CloudError, next, events)
    assert e.message == "***?" and e.log_id == "***!" and "czs_0" not in str(e)


def test_a_jwt_that_is_refused_is_sent_once_and_a_token_twice():
    session = Recorder(Answer({"error_code": "invalid_client", "error_message": "no"}, 401))
    cloud = Coze(session, "app", private_key="shared secret", alg="HS256")
    for call in (
        lambda: cloud.run_workflow("flow"),
        lambda: list(cloud.speech("a", "v")),
        lambda: list(cloud.stream_workflow("flow")),
    ):
        before = len(session.asked)
        assert raises(CloudError, call).code == "invalid_client"
        assert len(session.asked) == before + 1
    session = Seller(Answer({"code": 4100, "msg": "no"}, 401))
    cloud = Coze(session, "app", private_key="shared secret", alg="HS256")
    for sold in (2, 3):
        assert raises(CloudError, cloud.run_workflow, "flow").code == "4100"
        assert session.sold == sold


def test_the_kind_of_an_answer_in_any_case_and_masked_where_it_is_told():
    stream = Stream(b"event: Done\ndata: {}\n\n")
    stream.headers = {"content-type": "Text/Event-Stream; Charset=UTF-8"}
    assert list(saying(stream).stream_workflow("flow")) == [("Done", {})]
    other = Answer({}, headers={"content-type": "text/pat-s3cr3t"})
    e = raises(CloudError, list, saying(other).stream_workflow("flow"))
    assert e.message == "the answer is text/***, not text/event-stream"
    e = raises(CloudError, list, saying(Answer({})).stream_workflow("flow"))
    assert "of no kind" in e.message


def test_a_file_that_cannot_be_written_leaves_no_connection_open():
    class Full:
        def write(self, data):
            raise OSError(28)

    answer = Answer(b"", headers={"content-type": "Audio/mpeg"})
    answer.raw = io.BytesIO(bytes(5000))
    e = raises(OSError, saying(answer).speech, "a", "v", into=Full())
    assert e.args == (28,) and answer.closed


def test_the_seconds_that_coze_asks_to_wait():
    busy = {"code": 4013, "msg": "too many requests"}
    for headers, wait in (({"Retry-After": "7"}, 7), ({"retry-after": "soon"}, None), ({}, None)):
        cloud = saying(Answer(busy, 429, headers))
        for e in (
            raises(CloudError, cloud.run_workflow, "flow"),
            raises(CloudError, list, cloud.chat("b", "u", "m")),
            raises(CloudError, cloud.bind_devices, "c", [("a", "b")]),
        ):
            assert e.retryable and e.retry_after == wait
