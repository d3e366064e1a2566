"""http: what a timeout bounds, and what goes on meanwhile."""

import asyncio
import binascii
import gc
import hashlib

from helpers import failing, raises
from muster import http
from muster.clock import ticks_diff, ticks_ms
from muster.errors import TransportError
from muster.net import aio
from scripts import LONG, OK, answer, go, refused, requests, say, to, until_left

# In seconds. What is to be reached within a timeout, and not only to be ended by it, has more of it.
TIMEOUT = 0.2
AMPLE = 1


# Time


def test_a_timeout_bounds_the_whole_exchange(server):
    head = "HTTP/1.1 200 OK\r\n"
    chunked = head + "Transfer-Encoding: chunked\r\n\r\n"
    for steps in (
        [["silent"]],
        [["drip", answer("x" * 50), 0.1]],
        [head, ["drip", "A: bcdefghijklmnop\r\n", 0.1]],
        [head + "Content-Length: 50\r\n\r\n", ["drip", "x" * 50, 0.1]],
        [head + "\r\n", ["drip", "x" * 50, 0.1]],
        [chunked, ["drip", "5\r\nhello\r\n0\r\n\r\n", 0.1]],
        [chunked + "50\r\n", ["drip", "x" * 50, 0.1]],
        [chunked + "0\r\n", ["drip", "A: b\r\n" * 9, 0.1]],
        [["drip", "HTTP/1.1 100 x\r\n\r\n" * 9, 0.05]],
    ):
        text = refused(say(server, *steps), timeout=TIMEOUT)
        assert "did not end within 0.2 s" in text, text
    text = refused(to(server, _slowly(server)), timeout=TIMEOUT)
    assert "0.2 s" in text
    until_left(server)


def test_no_number_is_too_large(server):
    # An ESP32's ticks count six days ahead; no machine's count these.
    for timeout in (1e9, 1 << 40, 1 << 70, float("inf")):
        assert http.get(say(server, OK), timeout=timeout).text == "ok"
    head = "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    greedy = http.Session(max_body=1 << 70)
    assert "no memory" in refused(say(server, head % 999999999999999, ["silent"]), greedy)
    assert "Content-Length" in refused(say(server, head % (1 << 62), ["silent"]), greedy)
    with http.get(say(server, OK), stream=True) as r:
        assert "no memory to read" in str(raises(TransportError, r.read, 1 << 70))
    until_left(server)


def _slowly(server):
    return say(server, 0.2, answer("", "Location: " + say(server, 0.2, OK), status="302 x"))


def test_a_server_that_does_not_read(deaf_url):
    def endless():
        while True:
            yield bytes(1000)

    for data in (endless(), iter([memoryview(bytes(20000))] * 1000)):
        text = refused(deaf_url, None, "POST", data=data, timeout=AMPLE)
        assert "the request did not end within 1 s" in text


def test_a_large_body_leaves_as_fast_as_it_is_taken(server):
    data = bytes(range(256)) * 400
    sent = binascii.hexlify(hashlib.sha256(data).digest()).decode()
    with http.Session() as session:
        for _ in range(2):
            assert session.post(server["url"], data=data).json()["sha256"] == sent
        got = session.post(server["url"], data=iter([data]), headers={"Content-Length": len(data)})
        assert got.json()["sha256"] == sent


def test_a_connection_that_is_never_made(full_url):
    text = refused(full_url, timeout=TIMEOUT)
    assert "the connection did not end within 0.2 s" in text


def test_the_timeout_of_a_session_and_of_a_request(server):
    session = http.Session(timeout=TIMEOUT)
    refused(say(server, ["silent"]), session)
    assert session.get(say(server, 0.5, OK), timeout=10).text == "ok"
    session.close()


def test_a_stream_has_a_timeout_for_each_read(server):
    url = say(server, "HTTP/1.1 200 OK\r\n\r\n", 0.8, "a\n", 0.8, "b\n", 0.8, "c\n", ["silent"])
    with http.get(url, stream=True, timeout=2) as r:
        lines = r.iter_lines()
        assert [next(lines), next(lines), next(lines)] == [b"a", b"b", b"c"]
        start = ticks_ms()
        raises(TransportError, next, lines)
        assert 1900 < ticks_diff(ticks_ms(), start) < LONG
    until_left(server)


def test_lines_come_as_they_arrive(server):
    start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = ["4\r\none\n\r\n", ["wait"], "6\r\ntwo\r\nt\r\n", ["wait"], "4\r\nhree\r\n0\r\n\r\n"]
    came = []
    with http.get(say(server, start, *pieces), stream=True) as r:
        for line in r.iter_lines():
            came.append(line)
            go(server)
    assert came == [b"one", b"two", b"three"]


def test_a_line_larger_than_the_memory(server):
    url = say(server, "HTTP/1.1 200 OK\r\n\r\n", ["repeat", "x", 2000000], ["silent"])
    with http.Session(max_body=10**9).get(url, stream=True) as r:
        exchange = r._exchange
        exchange.readinto = failing(exchange.readinto, 50, MemoryError)
        assert "memory" in str(raises(TransportError, list, r.iter_lines()))
    until_left(server)


def test_a_megabyte_in_little_memory(server):
    head = "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n"
    buffer = bytearray(4096)
    with http.get(say(server, head, ["repeat", "0123456789abcdef", 65536]), stream=True) as r:
        gc.collect()
        total = 0
        while True:
            n = r.raw.readinto(buffer)
            if not n:
                break
            total += n
    assert total == 1 << 20
    with http.get(say(server, head, ["repeat", "0123456789abcde\n", 65536]), stream=True) as r:
        count = 0
        for line in r.iter_lines():
            assert line == b"0123456789abcde"
            count += 1
    assert count == 65536


def test_idle_is_called_while_a_request_waits(server):
    calls = []

    def idle():
        calls.append(ticks_ms())
        if len(calls) == 9:
            go(server)

    session = http.Session()
    session.idle = idle
    assert session.get(say(server, ["wait"], OK)).text == "ok"
    gaps = [ticks_diff(calls[n + 1], calls[n]) for n in range(8)]
    assert min(gaps) < 300, gaps  # a busy machine makes some of them longer
    session.close()


def test_an_interrupt_closes_the_connection(server, full_url):
    def interrupt():
        raise KeyboardInterrupt

    session = http.Session()
    session.idle = interrupt
    slow = ["HTTP/1.1 200 OK\r\n", ["drip", "Content-Length: 5\r\n\r\n", 0.01], ["silent"]]
    for steps in ([["silent"]], slow, ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", ["silent"]]):
        raises(KeyboardInterrupt, session.get, say(server, *steps))
        until_left(server)
    raises(KeyboardInterrupt, session.get, full_url)
    session.idle = None
    with session.get(say(server, "HTTP/1.1 200 OK\r\n\r\nx", ["silent"]), stream=True) as r:
        assert r.raw.read(1) == b"x"
        session.idle = interrupt
        raises(KeyboardInterrupt, r.raw.read, 1)
        until_left(server)


# asyncio


def test_a_loop_keeps_turning(server):
    async def turn():
        for _ in range(20):
            await asyncio.sleep(0.005)
        go(server)

    async def main():
        session = http.Session()
        for steps in ([["wait"], OK], [OK[:9], ["wait"], OK[9:]], [OK[:-1], ["wait"], OK[-1:]]):
            # A call that blocked would never see the end of it.
            turning = asyncio.create_task(turn())
            assert (await aio.run_async(session.exchange("GET", say(server, *steps)))).text == "ok"
            await turning
        response = await aio.run_async(session.exchange("POST", server["url"], b"x"))
        assert response.json()["body"] == "x"
        try:
            await aio.run_async(session.exchange("GET", say(server, ["silent"]), timeout=TIMEOUT))
        except TransportError as e:
            assert "0.2 s" in str(e)
        else:
            assert False
        session.close()

    asyncio.run(main())
    until_left(server)


def test_a_large_body_lets_others_have_a_turn(server):
    turns = 0
    with http.Session() as session:
        for waits_for in session.exchange("POST", server["url"], bytes(200000)):
            turns += waits_for is False
            if waits_for:
                waits_for.poll(200)
    assert turns > 200000 // 16384
    until_left(server)


def test_a_cancelled_exchange_closes_its_connection(server):
    async def main():
        exchange = asyncio.create_task(aio.run_async(http.Session().exchange("GET", say(server, ["silent"]))))
        while requests(server) != [1]:
            await asyncio.sleep(0.005)
        exchange.cancel()
        try:
            await exchange
        except asyncio.CancelledError:
            pass
        else:
            assert False

    asyncio.run(main())
    assert requests(server) == [1]
    until_left(server)


def test_exchanges_side_by_side(server):
    async def main():
        session = http.Session()
        urls = [
            say(server, 0.1, answer("one")),
            say(server, answer("two")),
            say(server, 0.05, answer("three")),
        ]
        answers = await asyncio.gather(*[aio.run_async(session.exchange("GET", url)) for url in urls])
        assert [a.text for a in answers] == ["one", "two", "three"]
        session.close()

    asyncio.run(main())
    assert requests(server) == [1, 1, 1]
    until_left(server)
