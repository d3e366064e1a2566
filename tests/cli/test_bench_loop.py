"""The bench's loop and toy topics: what an asyncio program on a device waits for beside its requests."""

import pytest

from tools.bench import loop, toy
from tools.bench.programs import library, run
from tools.bench.server import Canned
from tools.bench.wire import ANSWER
from tools.cloud import Cloud
from tools.common.certificates import keep_root, make_server
from tools.common.vm import find_micropython

in_the_vm = pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")


def met(stalls, posts):
    return [figure.met for figure in loop.figures(stalls, posts)]


def test_the_verdicts_follow_from_the_microseconds():
    assert met([90_000, 30_000], [(900, 2_900), (5_000, 7_000), (1_000, 9_000)]) == [True, True]
    assert met([31_000, 40_000], [(900, 2_901)]) == [False, False]


@in_the_vm
def test_a_chat_and_both_kinds_of_requests_are_timed_in_the_vm(tmp_path):
    root = keep_root(tmp_path, "tests")
    with Cloud() as cloud, Canned(make_server("127.0.0.1", signer=root).context(), ANSWER) as server:
        cloud.add_coze_token("token")
        url = f"https://127.0.0.1:{server.port}/"
        roots = [str(cloud.ca_pem), str(tmp_path / "ca.pem")]
        told = run("loop", [cloud.url, url, roots, 1, 3], [library(tmp_path / "lib")])
        assert [call["code"] for call in cloud.calls("/v3/chat")] == ["200"]
    assert len(told["stalls"]) == 1 and told["stalls"][0] > 0
    assert len(told["posts"]) == 3 and server.connections == 2


@in_the_vm
def test_the_example_blinks_while_it_enrols_reports_and_chats():
    # Whoever waits for a server that is silent for 3 s in its one thread is late by as much.
    assert 0 <= toy.longest_stall(3) < 2_500
