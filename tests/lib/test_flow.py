"""Calls to clouds as flows: by hand, as plain data, and driven by a session of asyncio over TLS."""

import asyncio
import gc
import io
import json
import sys

from helpers import raises
from muster import http
from muster.clouds.baidu import Baidu
from muster.clouds.chinamobile import ChinaMobile, params
from muster.clouds.coze import Coze
from muster.clouds.feishu import Feishu
from muster.errors import CloudError, TransportError
from muster.flow import BODY, LINE, PIECE, Request
from recorded import Answer
from scripts import answer, go, requests, say, until_left

NOW = 1800000000
TIMEOUT = 2  # seconds: what comes before the silence needs a part of them
EVENTS = {"content-type": "text/event-stream"}
EXPIRED = {"code": 4100, "msg": "the token has expired"}


def ends(flow, *found):
    """What the flow returns when it is sent this."""
    try:
        wanted = flow.send(*found) if found else next(flow)
    except StopIteration as e:
        return e.value
    raise AssertionError("it goes on with %r" % (wanted,))


def buying():
    """A device that buys its tokens."""
    return Coze(None, "app", private_key="shared secret", alg="HS256", now=lambda: NOW)


def sold(number):
    return Answer({"access_token": "czs_%d" % number, "expires_in": NOW + 900})


def bearer(request):
    assert isinstance(request, Request), request
    return request.headers["Authorization"][len("Bearer ") :]


def is_token_request(request):
    return request.url.endswith("/api/permission/oauth2/token") and bearer(request).startswith("eyJ")


def lines(*events):
    """The lines of events, (name, data) each."""
    found = []
    for name, data in events:
        found += [b"event: " + name.encode(), b"data: " + json.dumps(data).encode(), b""]
    return found


def delta(text):
    return "conversation.message.delta", {"type": "answer", "content": text}


def fed(flow, *lines):
    """What a flow that waits for a line yields otherwise, once it has these."""
    found = []
    for line in lines:
        wanted = flow.send(line)
        while wanted != LINE:
            found.append(wanted)
            wanted = next(flow)
    return found


# By hand


def test_a_request_is_plain_data_and_so_is_its_answer():
    flow = ChinaMobile("p1", "k3y", None).secret_info("n1")
    request = next(flow)
    assert (request.method, request.stream, request.repeatable) == ("POST", False, True)
    assert request.url == "https://ivs.chinamobiledevice.com:11443/v2/customer/device/secret/info"
    assert json.loads(request.data)["deviceNo"] == "n1"
    data = {"deviceId": "d1", "deviceNo": "n1", "productId": "p1", "deviceSecret": "s3cret"}
    assert ends(flow, Answer({"code": "200", "data": data})) == data
    flow = ChinaMobile("p1", "k3y", None).report("d1", "s3cret", {})
    assert next(flow).repeatable
    assert ends(flow, Answer({"code": "200"})) == {"deviceId": None, "protocolTypeTime": None}


def test_what_creates_is_not_repeatable():
    for flow in (
        Coze(None, token="t0ken").run_workflow("flow"),
        Coze(None, token="t0ken").chat("bot", "user", "hello"),
        Baidu("id", "secret", "fc", "pk", None).import_devices([("a", "b")]),
        Feishu(None, token="t0ken").create_device(1, 1, 1, uuid="u"),
    ):
        assert not next(flow).repeatable


def test_an_exchange_that_fails_comes_out_as_it_is():
    for flow in (
        ChinaMobile("p1", "k3y", None).secret_info("n1"),
        Coze(None, token="t0ken").run_workflow("flow"),
        Coze(None, token="t0ken").chat_text("bot", "user", "hello"),
        Baidu("id", "secret", "fc", "pk", None).get("a"),
        Feishu(None, token="t0ken").create_device(1, 1, 1, uuid="u"),
    ):
        next(flow)
        fault = TransportError("cut off")
        assert raises(TransportError, flow.throw, fault) is fault
    flow = Coze(None, token="t0ken").chat_text("bot", "user", "hello")
    next(flow)
    assert flow.send(Answer("", headers=EVENTS)) == LINE
    assert fed(flow, *lines(delta("a"))) == ["a"]
    assert raises(TransportError, flow.throw, fault) is fault


def test_a_refusal_is_a_cloud_error():
    flow = Coze(None, token="t0ken").run_workflow("flow")
    next(flow)
    said = {"code": 4013, "msg": "t0ken is too busy", "detail": {"logid": "L1"}}
    e = raises(CloudError, flow.send, Answer(said, 429, {"Retry-After": "7"}))
    assert (e.cloud, e.code, e.message, e.status) == ("coze", "4013", "*** is too busy", 429)
    assert (e.log_id, e.retryable, e.retry_after) == ("L1", True, 7)


def test_the_clouds_own_names_for_what_a_refusal_says():
    def refused(flow, said, headers):
        next(flow)
        e = raises(CloudError, flow.send, Answer(said, 400, headers))
        return e.code, e.message, e.log_id, e.retry_after

    coze = Coze(None, token="t0ken").run_workflow
    odd = {"error_code": [], "code": "c", "error_message": {}, "msg": "m", "detail": {"logid": [1]}}
    assert refused(coze("f"), odd, {"X-Tt-Logid": " L "}) == ("c", "m", "L", None)
    oauth = {"error_code": "invalid_client", "error_message": "no", "detail": []}
    assert refused(coze("f"), oauth, {}) == ("invalid_client", "no", None, None)
    baidu = Baidu("id", "secret", "fc", "pk", None).get("a")
    said = {"code": 1, "message": "m", "requestId": " R "}
    assert refused(baidu, said, {"x-bce-request-id": "other", "retry-after": "5"}) == ("1", "m", "R", 5)
    feishu = Feishu(None, token="t0ken").create_device(1, 1, 1, uuid="u")
    headers = {"x-tt-logid": "F", "x-ogw-ratelimit-reset": "3", "retry-after": "9"}
    assert refused(feishu, {"code": 99991400, "msg": ""}, headers) == (
        "99991400",
        "Too many requests",
        "F",
        3,
    )


def test_an_expired_token_is_renewed_and_the_call_repeated():
    flow = buying().run_workflow("flow", {"a": 1})
    assert is_token_request(next(flow))
    first = flow.send(sold(0))
    assert bearer(first) == "czs_0"
    assert is_token_request(flow.send(Answer(EXPIRED, 401)))
    second = flow.send(sold(1))
    assert bearer(second) == "czs_1" and (second.url, second.data) == (first.url, first.data)
    # Once.
    assert raises(CloudError, flow.send, Answer(EXPIRED, 401)).code == "4100"


def test_a_token_is_sold_once_to_two_calls_at_once():
    cloud = buying()
    one, other = cloud.run_workflow("one"), cloud.stream_workflow("other")
    next(one)
    assert bearer(one.send(sold(0))) == "czs_0" and bearer(next(other)) == "czs_0"
    assert is_token_request(one.send(Answer(EXPIRED, 401)))
    assert bearer(one.send(sold(1))) == "czs_1"
    assert other.send(Answer(EXPIRED, 401)) == BODY
    assert bearer(next(other)) == "czs_1"
    assert ends(one, Answer({"code": 0, "data": "x"}))["data"] == "x"


def test_a_token_that_expired_in_a_streams_first_event():
    failed = lines(("Error", {"error_code": 4101, "error_message": "czs_0 has expired"}))
    flow = buying().stream_workflow("flow")
    next(flow)
    assert bearer(flow.send(sold(0))) == "czs_0"
    assert flow.send(Answer("", headers=EVENTS)) == LINE
    for line in failed[:-1]:
        assert flow.send(line) == LINE
    assert is_token_request(flow.send(failed[-1]))
    assert bearer(flow.send(sold(1))) == "czs_1"
    assert flow.send(Answer("", headers=EVENTS)) == LINE
    assert fed(flow, *lines(("Message", {"n": 1}))) == [("Message", {"n": 1})]
    # What has come must not come twice.
    for line in failed[:-1]:
        flow.send(line)
    e = raises(CloudError, flow.send, failed[-1])
    assert e.code == "4101" and e.message == "czs_0 has expired"


def test_a_streams_lines():
    flow = Coze(None, token="t0ken").chat_text("bot", "user", "hello", conversation_id="5")
    request = next(flow)
    assert request.stream and request.url.endswith("/v3/chat?conversation_id=5")
    assert flow.send(Answer("", headers={"Content-Type": "Text/Event-Stream"})) == LINE
    events = lines(("conversation.chat.created", {}), delta("你"), delta(""), delta("好"), ("done", "[DONE]"))
    assert fed(flow, *events[:-1]) == ["你", "", "好"]
    # It reads no further than the last event.
    assert ends(flow, events[-1]) is None


def test_a_conversation_flows_text():
    flow = Coze(None, token="t0ken").chat_workflow_text("flow", "hello")
    next(flow)
    flow.send(Answer("", headers=EVENTS))
    assert fed(flow, *lines(("conversation.chat.created", {}), delta("a"))) == ["a"]
    e = raises(CloudError, flow.send, None)
    assert "before it was complete" in e.message and e.retryable


def test_a_models_lines():
    cloud = ChinaMobile("p1", "k3y", None)
    raises(ValueError, cloud.chat, "t0ken", "d1", "hello", temperature=0)
    flow = cloud.chat("t0ken", "d1", "hello", "jiutian-chat", top_p=0.5)
    request = next(flow)
    assert request.stream and request.headers["X-AI-UID"] == "d1" and bearer(request) == "t0ken"
    said = json.loads(request.data)
    assert (said["model"], said["top_p"], said["stream"]) == ("jiutian-chat", 0.5, True)
    assert flow.send(Answer("", headers=EVENTS)) == LINE
    piece = b'data: {"choices": [{"delta": {"content": "\xe4\xbd\xa0"}}]}'
    assert fed(flow, piece, b"", b"data: [DONE]") == ["你"]
    assert ends(flow, b"") is None


def test_the_body_of_a_refused_stream():
    for flow, words in (
        (Coze(None, token="t0ken").chat_text("bot", "user", "hello"), "no such bot"),
        (Coze(None, token="t0ken").speech("hello", "voice"), "no such bot"),
        (ChinaMobile("p1", "k3y", None).chat("t0ken", "d1", "hello"), "no such bot"),
    ):
        assert next(flow).stream
        refused = Answer({"code": 4200, "msg": "no such bot"})
        assert flow.send(refused) == BODY
        e = raises(CloudError, next, flow)
        assert (e.code, e.message) == ("4200", words)
    flow = Coze(None, token="t0ken").speech("hello", "voice")
    next(flow)
    assert flow.send(Answer("<html>", 502, EVENTS)) == BODY
    assert raises(CloudError, next, flow).retryable


def test_speech_in_pieces_and_into_a_file():
    cloud = Coze(None, token="t0ken")
    flow = cloud.speech("hello", "voice")
    next(flow)
    assert flow.send(Answer("", headers={"content-type": "audio/mpeg"})) == PIECE
    assert flow.send(b"abc") == b"abc" and next(flow) == PIECE
    assert ends(flow, b"") == 0
    file = io.BytesIO()
    flow = cloud.speech("hello", "voice", into=file)
    next(flow)
    flow.send(Answer("", headers={"content-type": "audio/mpeg"}))
    assert flow.send(b"abc") == PIECE and flow.send(b"de") == PIECE
    assert ends(flow, b"") == 5 and file.getvalue() == b"abcde"


def test_a_recording_is_sent_piece_by_piece_and_anew_when_it_is_repeated():
    recording = bytes(range(256)) * 20
    flow = buying().transcribe(io.BytesIO(recording), "a.wav")
    next(flow)
    request = flow.send(sold(0))
    for _ in range(2):
        pieces = list(iter(request.data))
        assert max(len(piece) for piece in pieces) <= 1024 and recording in b"".join(pieces)
        assert len(b"".join(pieces)) == int(request.headers["Content-Length"])
        if bearer(request) == "czs_0":
            flow.send(Answer(EXPIRED, 401))
            request = flow.send(sold(1))
    assert ends(flow, Answer({"code": 0, "data": {"text": "hello"}})) == "hello"


def test_pages_of_devices():
    flow = Baidu("id", "secret", "fc", "pk", None).list_all(page_size=2)
    assert "pageNo=1&pageSize=2" in next(flow).url
    assert flow.send(Answer({"totalCount": 3, "result": [{"ak": "a"}, {"ak": "b"}]}))["ak"] == "a"
    assert next(flow)["ak"] == "b"
    assert "pageNo=2" in next(flow).url
    assert flow.send(Answer({"totalCount": 3, "result": [{"ak": "c"}]}))["ak"] == "c"
    assert ends(flow) is None
    raises(ValueError, Baidu("id", "secret", "fc", "pk", None).list_all, "BANNED")


def test_a_flow_in_another():
    def both(cloud):
        found = yield from cloud.secret_info("n1")
        return (yield from cloud.report(found["deviceId"], found["deviceSecret"], params()))

    data = {"deviceId": "d1", "deviceNo": "n1", "productId": "p1", "deviceSecret": "s3cret"}
    flow = both(ChinaMobile("p1", "k3y", None))
    next(flow)
    request = flow.send(Answer({"code": "200", "data": data}))
    assert request.url.endswith("/report") and json.loads(request.data)["deviceSecret"] == "s3cret"
    assert ends(flow, Answer({"code": "200", "data": {"deviceId": "d1"}}))["deviceId"] == "d1"


def test_what_was_sent_is_let_go_of_while_the_answer_streams():
    def begun(call, *events):
        flow = call("x" * 60000)
        next(flow)
        flow.send(Answer("", headers=EVENTS))
        fed(flow, *events)
        return flow

    delta_of_model = [b'data: {"choices": [{"delta": {"content": "a"}}]}', b""]
    for call, events in (
        (lambda message: Coze(None, token="t0ken").chat_text("bot", "user", message), lines(delta("a"))),
        (lambda message: ChinaMobile("p1", "k3y", None).chat("t0ken", "d1", message), delta_of_model),
    ):
        flow = None
        for _ in range(2):  # what is loaded on the way stays
            before = held()
            flow = begun(call, *events)
            more = held() - before
            flow.close()
            flow = None
        assert more < 30000, more


def held():
    """Bytes on the VM's heap; CPython does not say."""
    gc.collect()
    return gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0


# Over other people's sessions


def test_streams_over_requests_and_speech_over_micropythons_stock_module_of_that_name(coze):
    import requests

    foreign = requests
    if sys.implementation.name == "cpython":
        foreign = requests.Session()
        foreign.trust_env = False
        foreign.verify = coze["ca"]
    cloud = Coze(foreign, token=coze["token"], base_url=coze["url"])
    for _ in range(2):
        assert b"".join(cloud.speech("你好", "voice", response_format="wav"))[:4] == b"RIFF"
    if sys.implementation.name == "cpython":
        assert "你好" in "".join(cloud.chat_text("bot", "user", "你好"))
        two = cloud.stream_workflow("one"), cloud.stream_workflow("other")
        assert next(two[0])[0] == next(two[1])[0] == "Message"
        assert [list(stream)[-1][0] for stream in two] == ["Done", "Done"]
    assert cloud.create_room("bot")["room_id"]


class ReadOnceToItsEnd:
    """An answer of MicroPython's stock module, whose socket must not be read again after its end."""

    status_code = 200
    headers = {"content-type": "audio/wav"}

    def __init__(self):
        self.raw = self
        self.pieces = [b"x" * 1024, b"end"]

    def read(self, size):
        return self.pieces.pop(0) if sys.implementation.name == "micropython" or self.pieces else b""

    def close(self):
        pass


def test_a_stream_of_the_stock_module_is_not_read_after_its_end():
    class Stock:
        def request(self, method, url, data=None, headers=None, stream=False):
            return ReadOnceToItsEnd()

    speech = Coze(Stock(), token="t").speech("hello", "voice")
    assert b"".join(speech) == b"x" * 1024 + b"end"


# Driven by asyncio


async def collected(stream):
    found = []
    async for piece in stream:
        found.append(piece)
    return found


def test_one_class_for_both_kinds_of_session(coze):
    def cloud(session):
        return Coze(
            session,
            coze["client_id"],
            coze["key_id"],
            coze["private_key"],
            base_url=coze["url"],
            device_id="SN-1",
        )

    blocking = cloud(http.Session(coze["ca"]))

    async def main():
        cloud_ = cloud(http.AsyncSession(coze["ca"]))
        assert (await cloud_.access_token()).startswith("czs_")
        answer = await cloud_.run_workflow("flow", {"input": "你好"})
        assert answer["data"] == blocking.run_workflow("flow", {"input": "你好"})["data"]
        recording = io.BytesIO(b"RIFF" + bytes(5000))
        assert await cloud_.transcribe(recording) == blocking.transcribe(recording)
        assert (await cloud_.create_room("bot", uid="u"))["uid"] == "u"
        text = "".join(await collected(cloud_.chat_text("bot", "user", "你好")))
        assert text == "".join(blocking.chat_text("bot", "user", "你好")) and "你好" in text
        text = "".join(await collected(cloud_.chat_workflow_text("flow", "你好")))
        assert text == "".join(blocking.chat_workflow_text("flow", "你好")) and "你好" in text
        events = [event for event, _ in await collected(cloud_.stream_workflow("flow"))]
        assert events == [event for event, _ in blocking.stream_workflow("flow")] and events[-1] == "Done"
        spoken = b"".join(await collected(cloud_.speech("你好", "voice", response_format="wav")))
        assert spoken[:4] == b"RIFF"
        file = io.BytesIO()
        assert await cloud_.speech("你好", "voice", response_format="wav", into=file) == len(spoken)
        assert file.getvalue() == b"".join(blocking.speech("你好", "voice", response_format="wav"))
        await cloud_.bind_devices("channel-1", [("a", "b")])
        cloud_._tokens.token = "czs_gone"
        assert (await cloud_.run_workflow("flow"))["data"]
        try:
            await cloud_.bind_devices("nobody's", [("a", "b")])
        except CloudError as e:
            assert "bindConnectorConfig" in e.message
        else:
            raise AssertionError
        product_id, product_key, device_no = coze["product"]
        session = http.AsyncSession(coze["ca"])
        platform = ChinaMobile(product_id, product_key, session, coze["url"], coze["url"])
        found = await platform.secret_info(device_no)
        report = platform.report(found["deviceId"], found["deviceSecret"], params(firmwareVersion="1"))
        assert (await report)["deviceId"] == found["deviceId"]
        assert "".join(await collected(platform.chat(coze["ai_token"], found["deviceId"], "你好")))

    asyncio.run(main())


def test_the_operators_clouds_over_asyncio(operator):
    async def main():
        session = http.AsyncSession(operator["ca"])
        account, app = operator["baidu"], operator["feishu"]
        baidu = Baidu(
            account["access_key_id"],
            account["secret_access_key"],
            account["fc"],
            account["pk"],
            session,
            operator["url"],
        )
        await baidu.import_devices([("ak%d" % i, "sk%d" % i) for i in range(5)])
        await baidu.disable("ak1")
        assert (await baidu.get("ak1"))["state"] == "BAN"
        devices = await collected(baidu.list_all(page_size=2))
        assert sorted(device["ak"] for device in devices) == ["ak%d" % i for i in range(5)]
        feishu = Feishu(session, app["app_id"], app["app_secret"], base_url=operator["url"])
        assert await feishu.create_device(4, 2, 1, android_id="02a11ac4a83b918e")

    asyncio.run(main())


def chunk(text):
    return "%x\r\n%s\r\n" % (len(text), text)


HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def said(text):
    event = b"\n".join(lines(delta(text)) + [b""]).decode()
    return chunk(event)


def talker(server, *steps, timeout=10, session=None):
    """A device that Coze answers with these steps."""
    session = session or http.AsyncSession(server["ca"], timeout)
    return Coze(session, token="t0ken", base_url=say(server, *steps) + "?")


def chat(server, *steps, **more):
    return talker(server, *steps, **more).chat_text("bot", "user", "hello")


def test_pieces_come_as_they_are_said(tls):
    done = chunk("event: done\ndata: x\n\n") + "0\r\n\r\n"

    async def main():
        stream = chat(tls, HEAD, said("one"), ["wait"], said("two"), ["wait"], said("three"), done)
        came = []
        async for piece in stream:
            came.append(piece)
            go(tls)
        assert came == ["one", "two", "three"]
        assert await collected(stream) == []

    asyncio.run(main())


def test_a_stream_that_is_left_early_is_closed(tls):
    async def main():
        stream = chat(tls, HEAD, said("one"), said("two"), ["silent"])
        async for piece in stream:
            assert piece == "one"
            break
        await stream.aclose()
        until_left(tls)
        assert await collected(stream) == []
        # One that was never begun.
        await chat(tls, ["silent"]).aclose()

    asyncio.run(main())
    assert requests(tls) == [1]


def test_a_task_that_is_cancelled_leaves_no_connection(tls):
    async def main():
        session = talker(tls, ["silent"])
        for begun, call in (
            (True, lambda: collected(chat(tls, HEAD, said("one"), ["silent"]))),
            (True, lambda: collected(chat(tls, HEAD[:30], ["silent"]))),
            (True, lambda: session.run_workflow("flow")),
            (False, lambda: session.run_workflow("flow")),
        ):
            before = len(requests(tls))
            task = asyncio.create_task(call())
            while begun and requests(tls)[before:] != [1]:
                await asyncio.sleep(0.005)
            for _ in range(5):
                await asyncio.sleep(0.005)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            else:
                raise AssertionError
            until_left(tls)

    asyncio.run(main())


def test_a_deadline_in_mid_stream(tls):
    async def main():
        stream = chat(tls, HEAD, said("one"), said("two")[:30], ["silent"], timeout=TIMEOUT)
        came = []
        try:
            async for piece in stream:
                came.append(piece)
        except TransportError as e:
            assert "%s s" % TIMEOUT in str(e), e
        else:
            raise AssertionError
        assert came == ["one"]
        until_left(tls)
        try:
            await talker(tls, ["silent"], timeout=TIMEOUT).run_workflow("flow")
        except TransportError as e:
            assert "%s s" % TIMEOUT in str(e), e
        else:
            raise AssertionError
        until_left(tls)

    asyncio.run(main())


def test_a_refused_stream_over_asyncio(tls):
    async def main():
        body = json.dumps({"code": 4200, "msg": "no such bot"})
        session = http.AsyncSession(tls["ca"])
        try:
            await collected(chat(tls, answer(body), session=session))
        except CloudError as e:
            assert (e.code, e.message) == ("4200", "no such bot")
        else:
            raise AssertionError
        # Its answer has come to its end, and the connection serves the next call.
        body = json.dumps({"code": 0, "data": "x"})
        assert (await talker(tls, answer(body), session=session).run_workflow("flow"))["data"] == "x"
        assert requests(tls) == [2]
        session.close()

    asyncio.run(main())
    until_left(tls)


def test_calls_side_by_side(tls):
    done = chunk("event: done\ndata: x\n\n") + "0\r\n\r\n"
    body = json.dumps({"code": 0, "data": "x"})

    async def main():
        session = http.AsyncSession(tls["ca"])
        slow = collected(chat(tls, HEAD, said("one"), ["wait"], said("two"), done, session=session))

        async def other():
            cloud = talker(tls, answer(body), session=session)
            for _ in range(3):
                assert (await cloud.run_workflow("flow"))["data"] == "x"
            go(tls)  # the chat would not end before

        found, _ = await asyncio.gather(slow, other())
        assert found == ["one", "two"]
        session.close()

    asyncio.run(main())
    until_left(tls)
