"""The library on sockets that poll as the ESP32's do: what ends is seen at once, not by a deadline."""

import json

import pytest
from programs import ask, needs_micropython
from server_fixtures import running

from tools.board import Board
from tools.factory.product import board_image

PATIENCE_S = 60

CALL = """
import socket, select, time
from muster import http
from muster.errors import TransportError

def call(url, **more):
    start = time.ticks_ms()
    try:
        said = http.Session(**more).get(url, timeout={patience}).text
    except TransportError as e:
        said = str(e)
    return said + (" late" if time.ticks_diff(time.ticks_ms(), start) > {patience} * 500 else "")

def refused(port, events):
    s = socket.socket()
    s.setblocking(False)
    try:
        s.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
    except OSError:
        pass
    poller = select.poll()
    poller.register(s, events)
    return [event for _, event in poller.poll(5000)]
"""


@pytest.fixture
def board(tmp_path, authorities):
    boot = CALL.format(patience=PATIENCE_S).encode()
    files = {"/boot.py": boot, "/main.py": b"", "/ca.der": (authorities.folder / "ca.der").read_bytes()}
    image = board_image({"clouds": ["coze"]}, more=files)
    with Board(tmp_path, image) as board:
        board.wait_for(">>> ")
        yield board


def hexed(*steps):
    return json.dumps([list(steps)]).encode().hex()


@needs_micropython
def test_poll_seen_server_as_much_as_the_port(board, dead_url):
    port = dead_url.rpartition(":")[2]
    # IN, OUT, ERR and HUP are 1, 4, 8 and 16.
    assert ask(board, f"refused({port}, 4)") == "[4]"
    assert ask(board, f"refused({port}, 4 | 8)") == "[4]"
    assert ask(board, f"refused({port}, 4 | 8 | 16)") == "[20]"


@needs_micropython
@pytest.mark.parametrize("kind", ["http", "https"])
def test_what_ends_is_seen_at_once(board, seen_server, authorities, dead_url, kind):
    more = ", ca='/ca.der'" if kind == "https" else ""
    port = dead_url.rpartition(":")[2]
    assert ask(board, f"call('{kind}://127.0.0.1:{port}'{more})") == (
        f"127.0.0.1: port {port} cannot be reached ([Errno 111] ECONNREFUSED: refused)"
    )
    context = authorities.contexts["good"] if kind == "https" else None
    with running(seen_server, context) as server:
        for end, start in ((end, start) for end in ("close", "reset") for start in ("", "HTTP/1.1 200")):
            said = ask(board, f"call('{server['url']}/{hexed(start, [end])}'{more})")
            assert said.startswith("127.0.0.1: the answer broke off (") and "late" not in said, said
        ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        assert ask(board, f"call('{server['url']}/{hexed(ok)}'{more})") == "ok"
