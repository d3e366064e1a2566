"""The bench's chat topic: what it plays is what the box said, and both who hear it hear all of it."""

import pytest

from tools.bench import chat
from tools.bench.programs import library, run
from tools.bench.server import Canned
from tools.common.certificates import keep_root, make_server
from tools.common.vm import find_micropython


@pytest.fixture(scope="module")
def pieces():
    return chat.answer()


@pytest.fixture
def server(tmp_path, pieces):
    root = keep_root(tmp_path, "tests")
    with Canned(make_server("127.0.0.1", signer=root).context(), *pieces) as server:
        yield server


def test_the_answer_ends_in_a_piece_of_its_own(pieces):
    assert b"conversation.chat.created" in pieces[1] and b"event:done" in pieces[-2]
    assert pieces[-1] == b"0\r\n\r\n"
    assert chat.QUESTION.encode() in b"".join(pieces), "the box repeats the question"


def test_muster_and_cozepy_chat_in_turns(server, tmp_path, monkeypatch):
    monkeypatch.setattr(chat, "ROUNDS", 2)
    pairs = chat.in_turns(f"https://127.0.0.1:{server.port}", str(tmp_path / "ca.pem"))
    assert len(pairs) == 2 and all(seconds > 0 for pair in pairs for seconds in pair)


@pytest.mark.skipif(find_micropython() is None, reason="no MicroPython here")
def test_the_vm_times_each_chat(server, tmp_path):
    url = f"https://127.0.0.1:{server.port}"
    times = run("chat", [url, str(tmp_path / "ca.pem"), 3], [library(tmp_path / "lib")])
    assert len(times) == 3 and min(times) > 0
    assert 1 <= server.connections <= 3
