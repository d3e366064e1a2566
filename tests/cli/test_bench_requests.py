"""The bench's topics on requests: their counts are right. What they time, no test can hold them to."""

import json

import pytest

from tools.bench import chat, loop, toy, wire
from tools.bench.server import ACCEPTED, CannedServer
from tools.cloud import Cloud
from tools.common.vm import find_micropython

in_the_vm = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")

# Around what one record of TLS 1.2 with AES-GCM holds: its header, a nonce, a tag.
AROUND = 5 + 8 + 16


@in_the_vm
def test_a_heartbeat_is_one_record_and_the_peers_is_the_same_in_many():
    (ours, theirs), told = wire.exchange(1)
    assert (ours.records, ours.wire_bytes) == (1, len(ours.plain) + AROUND)
    assert ours.wire_bytes <= wire.MOST_BYTES
    assert theirs.records > 10 and theirs.wire_bytes == len(theirs.plain) + theirs.records * AROUND
    assert theirs.last and not ours.last
    assert ours.body == theirs.body and told["answers"][0] == told["answers"][1]
    sent = json.loads(ours.body)
    assert sent["deviceId"] == "123456789" and sent["params"]["innerIp"] == ["10.229.111.172", "192.168.1.7"]
    assert b"\r\nHost: ivs.chinamobiledevice.com:11443\r\n" in ours.plain


# A chat plays what the box said, and both who hear it hear all of it.


@pytest.fixture(scope="module")
def pieces():
    return chat.answer()


@pytest.fixture
def server(pieces):
    with CannedServer(*pieces) as server:
        yield server


def test_the_answer_ends_in_a_piece_of_its_own(pieces):
    assert b"conversation.chat.created" in pieces[1] and b"event:done" in pieces[-2]
    assert pieces[-1] == b"0\r\n\r\n"
    assert chat.QUESTION.encode() in b"".join(pieces), "the box repeats the question"


def test_muster_and_cozepy_chat_in_turns(server, monkeypatch):
    monkeypatch.setattr(chat, "ROUNDS", 2)
    pairs = chat.in_turns(server.url, server.ca)
    assert len(pairs) == 2 and all(seconds > 0 for pair in pairs for seconds in pair)


@in_the_vm
def test_the_vm_times_each_chat(server):
    times = chat.in_the_vm(server, 3)
    assert len(times) == 3 and min(times) > 0
    assert 1 <= server.connections <= 3


# What an asyncio program on a device waits for beside its requests


def test_the_verdicts_follow_from_the_microseconds():
    def met(stalls, posts):
        return [figure.met for figure in loop.figures(stalls, posts)]

    assert met([90_000, 30_000], [(900, 2_900), (5_000, 7_000), (1_000, 9_000)]) == [True, True]
    assert met([31_000, 40_000], [(900, 2_901)]) == [False, False]


@in_the_vm
def test_a_chat_and_both_kinds_of_requests_are_timed_in_the_vm():
    with Cloud() as cloud, CannedServer(ACCEPTED) as server:
        cloud.add_coze_token("token")
        stalls, posts = loop.stalls_and_posts(cloud, server, 1, 3)
        assert [call["code"] for call in cloud.calls("/v3/chat")] == ["200"]
        # Each of two sessions knows another host's root first, and asks once more with this one's.
        assert server.connections == 4
    assert len(stalls) == 1 and stalls[0] > 0 and len(posts) == 3


@in_the_vm
def test_the_example_blinks_while_it_enrols_reports_and_chats():
    # Whoever waits for a server that is silent for 3 s in its one thread is late by as much.
    assert 0 <= toy.longest_stall(3) < 2_500
