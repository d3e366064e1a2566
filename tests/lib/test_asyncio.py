"""AsyncSession: awaited, streamed, ended early, and beside other tasks."""

import asyncio
import select
import socket

from muster import http
from muster.clock import ticks_diff, ticks_ms
from muster.errors import TransportError
from muster.flow import LINE, Request
from muster.net import aio, wait
from scripts import LONG, OK, answer, go, host_of, requests, say, seen, until_left, until_said

EVENTS = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = "0\r\n\r\n"


def chunk(text):
    return "%x\r\n%s\r\n" % (len(text), text)


def lines_of(url):
    """A flow that ends at the line "end", though more may come."""
    yield (yield Request("GET", url, stream=True)).status_code
    while True:
        line = yield LINE
        if line == b"end":
            return
        if line is None:
            raise TransportError("the stream has no end")
        yield line


async def collected(stream):
    found = []
    async for piece in stream:
        found.append(piece)
    return found


def test_requests_are_awaited_and_share_a_connection(tls):
    async def main():
        async with http.AsyncSession(tls["ca"]) as session:
            for _ in range(3):
                r = await session.post(say(tls, OK), data=b"x")
                assert r.text == "ok" and r.status_code == 200
            e = None
            try:
                await session.get(say(tls, "HTTP/2 200\r\n"))
            except TransportError as found:
                e = found
            assert "not HTTP/1" in str(e)

    asyncio.run(main())
    assert requests(tls) == [4]
    until_left(tls)


def test_the_loop_turns_while_a_server_is_silent(tls):
    """Judged by what another task has done meanwhile: it ends the server's silence itself."""

    async def main():
        turns = [0]

        async def others():
            while True:
                turns[0] += 1
                if turns[0] == 20:
                    go(tls)
                await asyncio.sleep(0.001)

        task = asyncio.create_task(others())
        async with http.AsyncSession(tls["ca"]) as session:
            r = await session.get(say(tls, ["wait"], OK))
        assert r.text == "ok" and turns[0] >= 20
        task.cancel()

    asyncio.run(main())


def test_streams_by_flow_and_by_hand(server):
    url = say(server, EVENTS, chunk("one\ntwo\n"), chunk("end\n"), END)

    async def main():
        async with http.AsyncSession() as session:
            assert await collected(session.stream(lines_of(url))) == [200, b"one", b"two"]
            r = await session.get(url, stream=True)
            assert await r.read(3) == b"one"
            assert await collected(r.iter_lines()) == [b"", b"two", b"end"]
            assert await r.read() == b""
            r = await session.get(url, stream=True)
            buffer = bytearray(4)
            assert await r.readinto(buffer) and buffer[:1] == b"o"
            r.close()

    asyncio.run(main())
    until_left(server)


def test_a_stream_whose_end_has_come_gives_its_connection_back(server, tls):
    for place, session in ((server, http.Session()), (tls, http.Session(tls["ca"]))):
        url = say(place, EVENTS, chunk("one\n"), chunk("end\n"), END)
        with session:
            for _ in range(10):
                assert list(session.stream(lines_of(url))) == [200, b"one"]
                until_said(place)
        assert requests(place) == [10]
        until_left(place)


def test_the_end_of_a_stream_is_never_waited_for(server):
    url = say(server, EVENTS, chunk("one\n"), chunk("end\n"), ["silent"])
    with http.Session() as session:
        for _ in range(2):
            start = ticks_ms()
            assert list(session.stream(lines_of(url))) == [200, b"one"]
            assert ticks_diff(ticks_ms(), start) < LONG
    assert requests(server) == [1, 1]
    until_left(server)


def test_what_comes_after_the_end_is_no_answer_to_the_next(server):
    more = chunk("x" * 900) * 3
    for tail in (more + END, END + "HTTP/1.1 200 OK\r\n\r\n", "oops"):
        with http.Session() as session:
            assert list(session.stream(lines_of(say(server, EVENTS, chunk("end\n") + tail)))) == [200]
            assert session.get(say(server, answer("fine"))).text == "fine"
    until_left(server)


def test_a_stream_that_is_left_keeps_its_connection_until_aclose(server):
    url = say(server, EVENTS, chunk("one\ntwo\n"), ["silent"])

    async def main():
        session = http.AsyncSession()
        stream = session.stream(lines_of(url))
        async for _ in stream:
            break
        assert not seen(server)[0]["client_left"]
        await stream.aclose()
        assert await collected(stream) == []

    asyncio.run(main())
    until_left(server)


def test_a_cancelled_task_leaves_no_connection(tls):
    async def main():
        session = http.AsyncSession(tls["ca"])

        async def chat():
            await collected(session.stream(lines_of(say(tls, EVENTS, chunk("one\n"), ["silent"]))))

        for begun in (chat, lambda: session.get(say(tls, ["silent"]))):
            task = asyncio.create_task(_awaited(begun))
            while not _asked(tls):
                await asyncio.sleep(0.01)
            task.cancel()
            try:
                await task
                raise AssertionError("it was not cancelled")
            except asyncio.CancelledError:
                pass
            until_left(tls)

    asyncio.run(main())


async def _awaited(begun):
    await begun()


def _asked(server):
    found = seen(server)
    return found and found[-1]["requests"]


def test_a_deadline_ends_a_stream_and_its_connection(tls):
    async def main():
        session = http.AsyncSession(tls["ca"], timeout=4)
        stream = session.stream(lines_of(say(tls, EVENTS, chunk("one\n"), ["silent"])))
        found = []
        try:
            async for piece in stream:
                found.append(piece)
        except TransportError as e:
            found.append(str(e))
        assert found[:2] == [200, b"one"] and "did not end within 4 s" in found[2], found
        assert await collected(stream) == []

    asyncio.run(main())
    until_left(tls)


def test_two_tasks_share_a_session(tls):
    async def main():
        async with http.AsyncSession(tls["ca"]) as session:
            urls = [say(tls, answer(str(n))) for n in range(4)]
            found = await asyncio.gather(*[session.get(url) for url in urls])
            assert [r.text for r in found] == ["0", "1", "2", "3"]

    asyncio.run(main())
    until_left(tls)


def test_a_session_lets_go_of_its_roots(tls):
    session = http.Session(tls["ca"])
    for _ in range(2):
        assert session.get(say(tls, OK)).text == "ok"
        assert session._trust
        session.close()
        assert not session._trust


def test_a_cancellation_is_heard_though_the_data_comes_with_it(server):
    address = socket.getaddrinfo(host_of(server["url"]), int(server["url"].rpartition(":")[2]))[0][-1]

    async def main():
        for turns in range(10):
            near = socket.socket()
            near.connect(address)
            ready = wait.Ready(near, select.POLLIN)

            def waiting(ready=ready):
                while True:
                    yield ready

            task = asyncio.create_task(aio.run_async(waiting()))
            await asyncio.sleep(0.01)
            near.send(b"GET / HTTP/1.0\r\n\r\n")
            while not ready.poll(LONG):  # the loop has not noticed yet
                pass
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            for _ in range(1000):
                if task.done():
                    break
                await asyncio.sleep(0.001)
            assert task.done(), turns
            near.close()

    asyncio.run(main())
