"""HTTP over plain TCP: muster.http, muster.response, muster.connection."""

import asyncio
import binascii
import gc
import hashlib
import sys
import time

from helpers import raises
from muster import http, wait
from muster.clock import ticks_diff, ticks_ms
from muster.errors import TransportError
from told import OK, answer, refused, requests, say, say_in_turn, seen, until_left

TIMEOUT = 0.2


# What is sent


def test_every_method(server):
    for method in ("get", "post", "put", "delete", "patch"):
        echo = getattr(http, method)(server["url"] + "/p?q=1").json()
        assert echo["head"].startswith("%s /p?q=1 HTTP/1.1\r\nHost: 127.0.0.1:" % method.upper()), echo
        assert ("Content-Length: 0" in echo["head"]) == (method in ("post", "put", "patch"))
        with http.Session() as session:
            assert getattr(session, method)(server["url"] + "/p?q=1").json() == echo
    assert http.head(server["url"]).content == b""
    assert http.request("OPTIONS", server["url"]).json()["head"].startswith("OPTIONS / ")


def test_every_kind_of_body(server, tmp):
    with open(tmp + "/body", "wb") as f:
        f.write(b"file" * 500)

    def pieces():
        yield b"one"
        yield bytearray(b"two")
        yield b""
        yield memoryview(b"three")

    for data, headers, sent in (
        ("\u4e2d", {}, "\xe4\xb8\xad"),
        (b"\x00\xff", {}, "\x00\xff"),
        (bytearray(b"ab"), {}, "ab"),
        (memoryview(b"abc")[1:], {}, "bc"),
        (b"x" * 5000, {}, "x" * 5000),
        (b"", {}, ""),
        (open(tmp + "/body", "rb"), {"Content-Length": "2000"}, "file" * 500),
        (open(tmp + "/body", "rb"), {}, "400\r\n%s\r\n3d0\r\n%s\r\n0\r\n\r\n" % ("file" * 256, "file" * 244)),
        (pieces(), {}, "3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"),
        (pieces(), {"content-length": "11"}, "onetwothree"),
    ):
        echo = http.post(server["url"], data=data, headers=headers).json()
        assert echo["body"] == sent, (data, echo)
        chunked = sent[-5:] == "0\r\n\r\n"
        assert ("Transfer-Encoding: chunked" in echo["head"]) == chunked, echo
        assert echo["head"].lower().count("content-length: ") == (not chunked), echo
        if hasattr(data, "close"):
            data.close()
    raises(TypeError, http.post, server["url"], data=5)


def test_an_empty_file_ends_though_it_was_opened_as_text(server, tmp):
    open(tmp + "/body", "w").close()
    with open(tmp + "/body") as f:
        assert http.post(server["url"], data=f).json()["body"] == "0\r\n\r\n"


def test_json_headers_and_auth(server):
    echo = http.put(server["url"], json={"a": [1, None]}, headers={"X-One": 1}, auth=("me", "p:w")).json()
    assert echo["body"].replace(" ", "") == '{"a":[1,null]}'
    for line in ("Content-Type: application/json", "X-One: 1", "Authorization: Basic bWU6cDp3"):
        assert "\r\n" + line in echo["head"], echo
    given = {"content-type": "application/json; charset=utf-8", "authorization": "Bearer t", "host": "h"}
    echo = http.put(server["url"], json=[], headers=given).json()
    for name in ("content-type", "authorization", "host"):
        assert echo["head"].lower().count("\r\n%s:" % name) == 1, echo
    echo = http.put(server["url"], headers=given, auth=("a", "b")).json()
    assert echo["head"].lower().count("\r\nauthorization:") == 1, echo
    assert given["authorization"] == "Bearer t"


def test_a_long_user_and_password_stay_in_one_line(server):
    echo = http.get(server["url"], auth=("u" * 100, "p" * 100)).json()
    assert len(echo["head"].partition("Authorization: Basic ")[2].partition("\r\n")[0]) == 268


def test_a_small_request_is_one_write(server):
    http.post(server["url"], json={"k": "v" * 100}, headers={"A": "b"})
    assert len(seen(server)[0]["received"]) == 1


def test_urls(server):
    port = server["url"].rpartition(":")[2]
    for url, line in (
        ("http://127.0.0.1:%s" % port, "GET / HTTP/1.1"),
        ("HTTP://127.0.0.1:%s?a=b/c" % port, "GET /?a=b/c HTTP/1.1"),
        ("http://127.0.0.1:%s/a?b#c" % port, "GET /a?b HTTP/1.1"),
        ("http://127.0.0.1:%s#c" % port, "GET / HTTP/1.1"),
        ("http://127.0.0.1:%s/a@b:c" % port, "GET /a@b:c HTTP/1.1"),
        ("http://127.0.0.1:000%s/" % port, "GET / HTTP/1.1"),
    ):
        assert http.get(url).json()["head"].startswith(line + "\r\n"), url


def test_ipv6_literal(ipv6_server):
    assert "\r\nHost: [::1]:" in http.get(ipv6_server["url"] + "?q").json()["head"]


def test_what_cannot_be_sent_is_refused_before_a_connection_is_made(server):
    url = server["url"]
    host = url[7:]
    for bad in (
        "",
        host,
        "//" + host,
        "ftp://" + host,
        "http:/" + host,
        "http://",
        "http:///path",
        "http://:80/",
        "http://me@" + host,
        "http://me:secret@" + host,
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://127.0.0.1:-1/",
        "http://127.0.0.1:80x/",
        "http://127.0.0.1:8:0/",
        "http://127.0.0.1:%s/" % ("9" * 30),
        "http://[::1/",
        "http://[::1]80/",
        "http://::1/",
        "http://[]/",
        url + "/\r\nX: y",
        url + "/a b",
        url + "/\u4e2d",
        url + "/\x7f",
        "http://127.0.0.1\r\n:80/",
    ):
        assert "secret" not in str(raises(ValueError, http.get, bad))
    for headers in (
        {"A": "b\r\nC: d"},
        {"A": "b\n"},
        {"A\r\nB": "c"},
        {"A": "\u4e2d"},
        {"A": "\x00"},
        {"A": "secret\r"},
    ):
        assert "secret" not in str(raises(ValueError, http.get, url, headers=headers))
    raises(ValueError, http.request, "GET / HTTP/1.1\r\nA: b\r\n\r\nGET", url)
    assert seen(server) == []


# What comes back


def test_response(server):
    with http.get(
        say(
            server,
            answer('{"a": "\xe4\xb8\xad"}', 'Content-Type: text/x; Charset="UTF-8"; q', "x-A: 1", "X-a:2"),
        )
    ) as r:
        assert (r.status_code, r.reason, r.encoding) == (200, "OK", "utf-8")
        assert (
            r.content == b'{"a": "\xe4\xb8\xad"}'
            and r.text == '{"a": "\u4e2d"}'
            and r.json() == {"a": "\u4e2d"}
        )
        assert r.headers["X-A"] == r.headers["x-a"] == r.headers.get("X-a") == "1, 2"
        assert "CONTENT-length" in r.headers and "b" not in r.headers and r.headers.get("b", 3) == 3
        assert sorted(r.headers) == ["content-length", "content-type", "x-a"] and len(r.headers) == 3
        raises(KeyError, lambda: r.headers["b"])
        assert r.not_after is None
    r = http.get(say(server, answer("no", status="404 Nicht da")))
    assert (r.status_code, r.reason, r.text) == (404, "Nicht da", "no")
    assert http.get(say(server, "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n")).reason == ""
    raises(ValueError, http.get(say(server, OK)).json)
    # A server names the wrong charset: its own mistake, and no reason for another kind of error.
    for charset in ("nonsense", "", '""', "hex", "utf-16"):
        assert http.get(say(server, answer("abcd", "Content-Type: text/x; charset=" + charset))).text
    raises(
        ValueError,
        http.get(
            say(server, ["repeat", "HTTP/1.0 200 OK\r\n\r\n", 1], ["repeat", "[", 60000], ["close"])
        ).json,
    )


def test_a_body_can_be_read_like_a_file_streamed_or_not(server):
    url = say(server, answer("one\r\ntwo\n\nthree"))
    for stream in (False, True):
        with http.get(url, stream=stream) as r:
            assert r.raw.read(2) == b"on"
            buffer = bytearray(2)
            assert r.raw.readinto(buffer) == 2 and buffer == b"e\r"
            assert r.raw.read() == b"\ntwo\n\nthree"
            assert r.raw.read(5) == b"" and r.raw.read() == b""
        with http.get(url, stream=stream) as r:
            assert list(r.iter_lines()) == [b"one", b"two", b"", b"three"]
            assert r.raw.read(1) == b""
        with http.get(url, stream=stream) as r:
            assert r.content == b"one\r\ntwo\n\nthree"
            assert r.raw.read(100) == r.content == r.text.encode()


def test_parse_headers(server):
    url = say(
        server,
        "HTTP/1.1 100 Go on\r\nX-No: 1\r\n\r\n",
        answer("", "X-Yes: a:b", "Set-Cookie: c", "Set-Cookie: d"),
    )
    assert http.get(url).headers["x-yes"] == "a:b"
    assert http.get(url, parse_headers=False).headers is None

    def keep(line, headers):
        assert isinstance(line, bytes)
        name, value = line.decode().split(":", 1)
        headers.setdefault(name, []).append(value.strip())

    found = http.get(url, parse_headers=keep).headers
    assert found == {"Content-Length": ["0"], "X-Yes": ["a:b"], "Set-Cookie": ["c", "d"]}


def test_answers_without_a_body(server):
    chunked = "Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"
    with http.Session(timeout=1) as session:
        for url, method in (
            (say(server, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), "HEAD"),
            (say(server, "HTTP/1.1 200 OK\r\n" + chunked), "HEAD"),
            (say(server, "HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\n"), "GET"),
            (say(server, "HTTP/1.1 304 Same\r\n" + chunked), "GET"),
            (say(server, answer()), "GET"),
        ):
            assert session.request(method, url).content == b""
    assert requests(server) == [5]


def test_answers_before_the_answer_are_skipped(server):
    early = "HTTP/1.1 102 Wait\r\nContent-Length: 5\r\n\r\n"
    assert http.get(say(server, "HTTP/1.1 100 Continue\r\n\r\n", early, 0.05, OK)).content == b"ok"
    assert "head" in refused(say(server, ["repeat", early, 2000], ["silent"]))


def test_good_chunks(server):
    start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n"
    with http.Session() as session:
        for body, content in (
            ("5\r\nhello\r\n0\r\n\r\n", b"hello"),
            ("0\r\n\r\n", b""),
            ("0A\r\n0123456789\r\n0a ; x\r\n0123456789\r\n00000\r\n\r\n", b"0123456789" * 2),
            ('3;a="b";c\r\nabc\r\n0;d\r\nTrailer: 1\r\nOther: 2\r\n\r\n', b"abc"),
            ("5\r\n\r\n0\r\n\r\n0\r\n\r\n", b"\r\n0\r\n"),
            ("fff\r\n%s\r\nFFF\r\n%s\r\n0\r\n\r\n" % ("a" * 4095, "b" * 4095), b"a" * 4095 + b"b" * 4095),
        ):
            assert session.get(say(server, start + "\r\n" + body)).content == content, body
        # Its own length is what counts (RFC 9112, 6.3).
        assert (
            session.get(say(server, start + "Content-Length: 1\r\n\r\n2\r\nok\r\n0\r\n\r\n")).content == b"ok"
        )
        dripped = start + "\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\nT: u\r\n\r\n"
        assert session.get(say(server, ["drip", dripped, 0.001])).content == b"abc"
    assert requests(server) == [8]


def test_bad_chunks(server):
    start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for size in ("", "-1", "+1", "0x5", "5 5", "g", "123456789", "\xb2", ";a", "5_0", "5,5"):
        assert "size" in refused(say(server, start + size + "\r\n", ["silent"])), size
    assert "longer" in refused(say(server, start + "2\r\nabc\r\n0\r\n\r\n", ["silent"]))
    assert "line" in refused(say(server, start + "1;", ["repeat", "x", 6000], ["silent"]))
    assert "trailers" in refused(
        say(server, start + "0\r\n", ["repeat", "a: %s\r\n" % ("b" * 60), 300], ["silent"])
    )
    assert "bytes" in refused(
        say(server, start + "ffffffff\r\n", ["repeat", "a", 2000], ["silent"]), http.Session(max_body=1000)
    )
    assert "closed" in refused(say(server, start + "2\r\nab\r\n", ["close"]))
    assert "early" in refused(say(server, start + "5\r\nab", ["close"]))
    assert "closed" in refused(say(server, start + "2\r\nab\r\n0\r\n", ["close"]))
    until_left(server)


def test_bad_heads(server):
    for line in (
        "",
        "\r\n",
        "HTTP/1.1 20\r\n",
        "HTTP/1.1 2\r\n",
        "HTTP/1.1 2000 OK\r\n",
        "HTTP/1.1 020 OK\r\n",
        "HTTP/1.1 -20 OK\r\n",
        "HTTP/1.1  200 OK\r\n",
        "HTTP/1.1 abc OK\r\n",
        "HTTP/1.1 2\xb20 OK\r\n",
        "HTTP/1.1\r\n",
        "HTTP/1. 200 OK\r\n",
        "HTTP/2 200 OK\r\n",
        "HTTP/0.9 200 OK\r\n",
        "HTTP/11 200 OK\r\n",
        "http/1.1 200 OK\r\n",
        " HTTP/1.1 200 OK\r\n",
        "ICY 200 OK\r\n",
        "<html>\r\n",
        "\x16\x03\x01\r\n",
    ):
        assert "HTTP/1" in refused(say(server, line + "\r\n", ["silent"])), line
    for line in ("no colon", ": value", "a b: c", "a : b", " folded: x", "\tfolded: x"):
        assert "header" in refused(say(server, "HTTP/1.1 200 OK\r\nA: b\r\n%s\r\n\r\n" % line, ["silent"])), (
            line
        )
    for length in ("-1", "+1", "1.0", "0x1", "", "1, 2", "1,", ",1", "1 1", "9" * 16, "9" * 400, "\xb2"):
        text = refused(say(server, "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n" % length, ["silent"]))
        assert "Content-Length" in text, (length, text)
    twice = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: %s\r\n\r\nok"
    assert http.get(say(server, twice % "2")).content == b"ok"
    assert "Content-Length" in refused(say(server, twice % "3", ["silent"]))
    for coding in ("gzip", "gzip, chunked", "chunked, chunked", "xchunked"):
        head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n" % coding
        assert "Transfer-Encoding" in refused(say(server, head, ["silent"])), coding
    assert "gzip" in refused(say(server, answer("xx", "Content-Encoding: GZip"), ["silent"]))
    assert http.get(say(server, answer("xx", "Content-Encoding: identity"))).content == b"xx"
    until_left(server)


def test_heads_without_end(server):
    for steps in (
        [["repeat", "x", 6000]],
        ["HTTP/1.1 200 ", ["repeat", "x", 6000]],
        ["HTTP/1.1 200 OK\r\nA: ", ["repeat", "b", 6000]],
        ["HTTP/1.1 200 OK\r\n", ["repeat", "a: %s\r\n" % ("b" * 60), 300]],
        ["HTTP/1.1 200 OK\r\n", ["repeat", "a:\r\n", 9000]],
    ):
        assert "longer" in refused(say(server, *steps, ["silent"])), steps
    until_left(server)


def test_many_small_headers_do_not_fill_the_memory(server):
    url = say(server, "HTTP/1.1 200 OK\r\n", ["count", "%x:\r\n", 3200], ["silent"])
    assert "longer" in refused(url)
    until_left(server)


def test_long_lines_that_are_still_allowed(server):
    r = http.get(say(server, answer("ok", "A: " + "b" * 4000, "C: " + "d" * 4000)))
    assert r.headers["a"] == "b" * 4000 and r.content == b"ok"


def test_bodies_that_are_too_long(server):
    session = http.Session(max_body=1000)
    exact = "x" * 1000
    chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + "64\r\n%s\r\n" % ("x" * 100) * 10
    for url in (
        say(server, answer(exact)),
        say(server, "HTTP/1.1 200 OK\r\n\r\n" + exact, ["close"]),
        say(server, chunks + "0\r\n\r\n"),
    ):
        assert session.get(url).text == exact
    for url in (
        say(server, "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", ["silent"]),
        say(server, "HTTP/1.1 200 OK\r\nContent-Length: 999999999999999\r\n\r\n", ["silent"]),
        say(server, "HTTP/1.1 200 OK\r\n\r\n" + exact + "x", ["silent"]),
        say(server, chunks + "1\r\nx\r\n", ["silent"]),
    ):
        assert "longer than 1000 bytes" in refused(url, session)
    with session.get(
        say(server, "HTTP/1.1 200 OK\r\n\r\nline\n", ["repeat", "x", 2000], ["silent"]), stream=True
    ) as r:
        lines = r.iter_lines()
        assert next(lines) == b"line"
        assert "longer" in str(raises(TransportError, next, lines))
    session.close()
    until_left(server)


def test_a_body_larger_than_the_memory(server):
    url = say(server, "HTTP/1.1 200 OK\r\nContent-Length: 999999999999999\r\n\r\nabc", ["silent"])
    refused(url, http.Session(max_body=10**15))
    until_left(server)


def test_bodies_that_end_early(server):
    for end in ("close", "reset"):
        for steps in (
            [],
            ["HTTP/1.1 200"],
            ["HTTP/1.1 200 OK\r\n"],
            ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"],
            ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", 0.05],
            ["HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + "x" * 4999, 0.05],
        ):
            url = say(server, *steps, [end])
            for stream in (False, True):
                kw = {"stream": True} if stream and steps[1:] else {}
                if kw:
                    with http.get(url, **kw) as r:
                        raises(TransportError, r.read, 6000)
                        # Once it is known to be cut short, it is never taken for whole.
                        raises(TransportError, lambda: r.content)
                else:
                    refused(url)
    until_left(server)


def test_an_answer_is_whole_though_a_reset_follows(server):
    # What a server does that has not read all it was sent.
    for _ in range(5):
        assert http.get(say(server, OK, ["reset"])).content == b"ok"
        assert http.get(say(server, answer("x" * 3000), ["reset"])).content == b"x" * 3000


# Connections


def test_connections_are_kept(server):
    with http.Session() as session:
        for _ in range(3):
            assert session.get(say(server, OK)).text == "ok"
        session.post(server["url"], data=b"x" * 9000)
        # Read to its end, a streamed one is kept too.
        with session.get(say(server, answer("a" * 3000)), stream=True) as r:
            assert len(r.raw.read(3000)) == 3000
        session.post(server["url"], json={})
    assert requests(server) == [6]
    until_left(server)
    session.get(server["url"])
    session.close()
    assert requests(server) == [6, 1]


def test_functions_keep_nothing(server):
    http.get(server["url"])
    http.get(server["url"])
    assert requests(server) == [1, 1]
    until_left(server)


def test_connections_that_end(server):
    with http.Session() as session:
        for steps in (
            [answer("ok", "Connection: close")],
            [answer("ok", "CONNECTION: Close, x")],
            ["HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"],
            ["HTTP/1.1 200 OK\r\n\r\nok", ["close"]],
            [OK + "more"],
            [OK, ["repeat", "HTTP/1.1 666 Evil\r\n\r\n", 200]],
            [answer("ok" * 1000) + "more"],
        ):
            assert session.get(say(server, *steps)).text[:2] == "ok"
            time.sleep(0.02)
        # One that was not read to its end is of no more use either.
        session.get(say(server, answer("abc")), stream=True).close()
    assert requests(server) == [1] * 8
    until_left(server)


def test_a_kept_connection_that_was_closed_is_replaced(server, other_server):
    for end in ("close", "reset"):
        with http.Session() as session:
            assert session.get(say(server, OK, [end])).text == "ok"
            time.sleep(0.05)
            assert session.post(say(server, OK), data=b"x").text == "ok"
    assert requests(server) == [1] * 4


def test_a_request_is_repeated_once_when_a_kept_connection_ends_without_a_byte(server):
    for end in ("close", "reset"):
        with http.Session() as session:
            session.get(say(server, OK))
            # The server's close and the request cross on their way.
            assert session.post(say_in_turn(server, [[end]], [OK]), data=b"1").text == "ok"
            refused(say_in_turn(server, [[end]], [[end]], [OK], [end]), session)
    counts = requests(server)
    # The second connection was kept too, and so the second URL broke it, and then a third.
    assert counts == [2, 2, 1] * 2, counts
    until_left(server)


def test_nothing_else_is_repeated(server):
    late = say_in_turn(server, ["HTTP/1.1 2", ["close"]], [OK])
    early = "HTTP/1.1 100 Continue\r\n\r\n"
    silent = say_in_turn(server, [["silent"]], [OK])
    with http.Session(timeout=TIMEOUT) as session:
        refused(say_in_turn(server, [["close"]], [OK]), session, "POST", data=b"x")
        session.get(say(server, OK))
        refused(late, session, "POST", data=b"x")
        session.get(say(server, OK))
        refused(say_in_turn(server, [early, ["close"]], [OK]), session, "POST", data=b"x")
        session.get(say(server, OK))
        refused(silent, session, "POST", within=TIMEOUT + 0.5, data=b"x")
    assert requests(server) == [1, 2, 2, 2]
    until_left(server)


def test_what_can_be_read_only_once_is_never_sent_on_trial(server):
    with http.Session() as session:
        session.get(say(server, OK))
        assert session.post(server["url"], data=iter([b"x"])).json()["body"] == "1\r\nx\r\n0\r\n\r\n"
    assert requests(server) == [1, 1]


def test_no_kept_connection_is_lost(server, other_server, ipv6_server):
    session = http.Session()
    with session.get(say(server, OK), stream=True) as a, session.get(say(server, OK), stream=True) as b:
        assert a.content == b.content == b"ok"
    session.get(say(other_server, OK))
    session.get(say(ipv6_server, OK))
    session.get(say(server, OK))
    session.close()
    for s in (server, other_server, ipv6_server):
        until_left(s)


def test_a_server_that_is_not_there(dead_url):
    assert "cannot be reached" in refused(dead_url)
    assert "looked up" in refused("http://nowhere.invalid/", within=5)
    for host in ("a" * 64 + ".invalid", "a..b", ".invalid", "a" * 300):
        refused("http://%s/" % host, within=5)


def test_the_next_address_is_tried(server, dead_url):
    connection = sys.modules["muster.connection"]
    real = connection.socket

    class Socket:
        socket = real.socket
        SOCK_STREAM = real.SOCK_STREAM

        @staticmethod
        def getaddrinfo(host, port, *more):
            dead = real.getaddrinfo("127.0.0.1", int(dead_url[17:]), *more)
            return dead + dead + real.getaddrinfo("127.0.0.1", port, *more)

    connection.socket = Socket
    try:
        assert http.get(say(server, OK)).text == "ok"
    finally:
        connection.socket = real
    until_left(server)


# Redirects


def to(server, location, status="302 Found", body=""):
    return say(server, answer(body, "Location: " + location, status=status))


def test_redirects(server, other_server):
    echo = server["url"] + "/a?b"
    with http.Session() as session:
        for location in (echo, "/a?b", "//%s/a?b" % server["url"][7:], "a?b", "/a?b#c", "a?b=http://c"):
            for status in ("301 x", "302 x", "303 x", "307 x", "308 x"):
                r = session.get(to(server, location, status), headers={"A": "b"}, auth=("u", "p"))
                head = r.json()["head"]
                assert head.startswith("GET /a?b") and "\r\nA: b" in head and "Authorization" in head, head
    assert len(seen(server)) == 1
    for method, status, sent in (
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("POST", 307, "POST"),
        ("POST", 308, "POST"),
        ("PUT", 302, "PUT"),
        ("PUT", 303, "GET"),
        ("DELETE", 303, "GET"),
    ):
        echo = http.request(
            method, to(server, "/x", "%d x" % status), data="body", headers={"content-type": "t"}
        ).json()
        kept = method == sent
        assert echo["head"].startswith(sent + " /x ") and echo["body"] == ("body" if kept else ""), echo
        assert ("content-type" in echo["head"]) == ("Content-Length" in echo["head"]) == kept
    assert http.head(to(server, "/x", "303 x")).status_code == 200
    # To another origin: what anybody may see, and nothing else.
    head = http.get(to(server, other_server["url"] + "/x"), headers={"X-Secret": "s"}).json()["head"]
    assert head.startswith("GET /x ") and "Secret" not in head
    # A body of the redirect itself is of no interest.
    assert http.get(to(server, "/x", body="y" * 100)).status_code == 200
    # 300 and 304 are answers, and so is one that does not say where.
    assert http.get(say(server, answer("", "Location: /x", status="300 x"))).status_code == 300
    assert http.get(say(server, answer("", status="302 x"))).status_code == 302
    until_left(server)


def test_a_redirect_to_another_query(server):
    url = say_in_turn(server, [answer("", "Location: ?q=1", status="302 x")], [OK])
    assert http.get(url + "?q=0").text == "ok"
    assert [seen(server)[n]["received"][0].split(" ")[1][-4:] for n in (0, 1)] == ["?q=0", "?q=1"]
    assert "5 times" in refused(to(server, "?q=1"))


def test_redirects_that_are_refused(server, other_server):
    elsewhere = other_server["url"] + "/x"
    for kw in (
        {"method": "POST", "data": b"body"},
        {"method": "POST", "json": {}},
        {"auth": ("u", "p")},
        {"headers": {"AUTHORIZATION": "Bearer secret"}},
    ):
        for status in ("301 x", "302 x", "303 x", "307 x", "308 x"):
            text = refused(to(server, elsewhere, status), **kw)
            assert "must not go" in text and "secret" not in text
    assert seen(other_server) == []
    assert "cannot be sent twice" in refused(to(server, "/x", "307 x"), method="POST", data=iter([b"x"]))
    for location in (
        "ftp://x/",
        "http://u:p@x/",
        "http://x:99999/",
        "/a b",
        "http://",
        "\xe4",
        "http://[::1/",
    ):
        assert "no usable address" in refused(to(server, location)), location
    refused(to(server, "http://a..b/"))
    until_left(server)


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
        text = refused(say(server, *steps), within=TIMEOUT + 0.5, timeout=TIMEOUT)
        assert "did not end within 0.2 s" in text, text
    text = refused(to(server, _slowly(server)), within=TIMEOUT + 0.5, timeout=TIMEOUT)
    assert "0.2 s" in text
    until_left(server)


def _slowly(server):
    return say(server, 0.2, answer("", "Location: " + say(server, 0.2, OK), status="302 x"))


def test_a_server_that_does_not_read(deaf_url):
    def endless():
        while True:
            yield bytes(1000)

    for data in (endless(), iter([memoryview(bytes(20000))] * 1000)):
        text = refused(deaf_url, None, "POST", within=TIMEOUT + 0.5, data=data, timeout=TIMEOUT)
        assert "the request did not end within 0.2 s" in text


def test_a_large_body_leaves_as_fast_as_it_is_taken(server):
    data = bytes(range(256)) * 1000
    sent = binascii.hexlify(hashlib.sha256(data).digest()).decode()
    with http.Session() as session:
        for _ in range(2):
            assert session.post(server["url"], data=data).json()["sha256"] == sent
        got = session.post(server["url"], data=iter([data]), headers={"Content-Length": len(data)})
        assert got.json()["sha256"] == sent


def test_a_connection_that_is_never_made(full_url):
    text = refused(full_url, within=TIMEOUT + 0.5, timeout=TIMEOUT)
    assert "the connection did not end within 0.2 s" in text


def test_the_timeout_of_a_session_and_of_a_request(server):
    session = http.Session(timeout=TIMEOUT)
    refused(say(server, ["silent"]), session, within=TIMEOUT + 0.5)
    assert session.get(say(server, 0.5, OK), timeout=2).text == "ok"
    session.close()


def test_a_stream_has_a_timeout_for_each_read(server):
    url = say(server, "HTTP/1.1 200 OK\r\n\r\n", 0.2, "a\n", 0.2, "b\n", 0.2, "c\n", ["silent"])
    with http.get(url, stream=True, timeout=0.3) as r:
        lines = r.iter_lines()
        assert [next(lines), next(lines), next(lines)] == [b"a", b"b", b"c"]
        start = ticks_ms()
        raises(TransportError, next, lines)
        assert 200 < ticks_diff(ticks_ms(), start) < 800
    until_left(server)


def test_lines_come_as_they_arrive(server):
    start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    url = say(server, start, "4\r\none\n\r\n", 0.2, "6\r\ntwo\r\nt\r\n", 0.2, "4\r\nhree\r\n0\r\n\r\n")
    begin = ticks_ms()
    came = []
    with http.get(url, stream=True) as r:
        for line in r.iter_lines():
            came.append((line, ticks_diff(ticks_ms(), begin)))
    assert [line for line, _ in came] == [b"one", b"two", b"three"]
    assert came[0][1] < 150 <= came[1][1] < 350 <= came[2][1], came


def test_a_line_larger_than_the_memory(server):
    url = say(server, "HTTP/1.1 200 OK\r\n\r\n", ["repeat", "x", 2000000], ["silent"])
    with http.Session(max_body=10**9).get(url, stream=True) as r:
        real = r.readinto
        left = [50]

        def readinto(buffer):
            left[0] -= 1
            if not left[0]:
                raise MemoryError
            return real(buffer)

        r.readinto = readinto
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
    session = http.Session()
    calls = []
    session.idle = lambda: calls.append(ticks_ms())
    start = ticks_ms()
    assert session.get(say(server, 0.7, OK)).text == "ok"
    gaps = [ticks_diff(b, a) for a, b in zip([start] + calls, calls)]
    assert len(calls) >= 3 and max(gaps) < 300, gaps
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
    stalls = []

    async def tick():
        last = ticks_ms()
        while True:
            await asyncio.sleep(0.005)
            now = ticks_ms()
            stalls.append(ticks_diff(now, last))
            last = now

    async def main():
        ticking = asyncio.create_task(tick())
        session = http.Session(timeout=TIMEOUT)
        for steps in ([["silent"]], [["drip", OK, 0.05]]):
            try:
                await wait.run_async(session.exchange("GET", say(server, *steps)))
            except TransportError as e:
                assert "0.2 s" in str(e)
            else:
                assert False
        response = await wait.run_async(session.exchange("POST", server["url"], b"x"))
        assert response.json()["body"] == "x"
        session.close()
        ticking.cancel()

    asyncio.run(main())
    # A call that blocked would stall it for the whole timeout; a busy machine may, for a part of it.
    assert len(stalls) > 30 and max(stalls) < 180, (len(stalls), max(stalls))
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
        try:
            await asyncio.wait_for(
                wait.run_async(http.Session().exchange("GET", say(server, ["silent"]))), 0.1
            )
        except asyncio.TimeoutError:
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
        answers = await asyncio.gather(*[wait.run_async(session.exchange("GET", url)) for url in urls])
        assert [a.text for a in answers] == ["one", "two", "three"]
        session.close()

    asyncio.run(main())
    assert requests(server) == [1, 1, 1]
    until_left(server)
