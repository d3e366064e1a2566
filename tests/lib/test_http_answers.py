"""http: what comes back, in every form that an answer may have."""

from helpers import raises
from muster import clock, http
from muster.errors import TransportError
from scripts import OK, answer, refused, requests, say, until_left


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
    raises(
        ValueError,
        http.get(
            say(server, ["repeat", "HTTP/1.0 200 OK\r\n\r\n", 1], ["repeat", "[", 60000], ["close"])
        ).json,
    )


def test_text_is_utf_8_whatever_the_charset(server):
    # A server names the wrong charset: its own mistake, and no reason for another kind of error.
    for charset in ("nonsense", "", '""', "hex", "utf-16", "gbk", '"utf8"', "UTF8; q=1"):
        for headers in (
            ["Content-Type: text/x; charset=" + charset],
            ["content-TYPE:text/x;Charset=" + charset],
        ):
            r = http.get(say(server, answer("abc\xe4\xb8\xad", *headers)))
            assert r.text == "abc\u4e2d"
    for charset in ("gbk", "GB18030", "iso-8859-1", "utf-8"):
        r = http.get(say(server, answer("\xc4\xe3\xba\xc3", "Content-Type: text/x; charset=" + charset)))
        text = str(raises(ValueError, getattr, r, "text"))
        assert charset.lower() in text and ".content" in text, text
        assert r.content == b"\xc4\xe3\xba\xc3"


def test_a_byte_order_mark_before_json(server):
    for body in ('{"a": 1}', '{"a": 1, "b": "\\ud83d\\ude00"}'):
        r = http.get(say(server, answer("\xef\xbb\xbf" + body)))
        assert r.json()["a"] == 1
        assert r.content[:3] == b"\xef\xbb\xbf"


def test_codings_that_are_none(server):
    for coding in ("UTF-8", "utf8", "", "none", "binary", "hebrew", "identity, utf-8"):
        assert http.get(say(server, answer("xx", "Content-Encoding: " + coding))).content == b"xx", coding
    for coding in (
        "gzip",
        "GZip",
        "x-gzip",
        "deflate",
        "br",
        "zstd",
        "compress",
        "utf-8,gzip",
        "br, identity",
    ):
        assert "not asked for" in refused(
            say(server, answer("xx", "Content-Encoding: " + coding), ["silent"])
        )
    twice = answer("xx", "Content-Encoding: utf-8", "Content-Encoding: br")
    assert "br" in refused(say(server, twice, ["silent"]))
    assert http.get(say(server, answer("xx", "Transfer-Encoding:"))).content == b"xx"


def test_of_headers_that_are_no_lists_the_first_one_stays(server):
    date = "Sun, 22 Nov 2026 04:41:21 GMT"
    twice = [
        "Date: " + date,
        "DATE: Sun, 22 Nov 2026 04:41:22 GMT",
        "Content-Type: text/x; charset=gbk",
        "Content-Type: text/y",
        "Retry-After: 7",
        "Retry-After: 7",
    ]
    r = http.get(say(server, answer("", *twice)))
    assert clock.parse_date(r.headers["date"]) == 1795322481
    assert r.headers["content-type"] == "text/x; charset=gbk" and r.encoding == "gbk"
    assert r.headers["retry-after"] == "7"
    url = say(server, answer("", "Location: /one", "Location: /two", status="302 x"))
    assert http.get(url).json()["head"].startswith("GET /one ")


def test_answers_that_other_clients_take(server):
    with http.Session() as session:
        for text in (
            "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
            "HTTP/1.1 200\r\nCONTENT-length:2\r\n\r\nok",
            "HTTP/1.1 200 \r\nX-Empty:\r\nX-Empty: \r\ncontent-length: \t2 \r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
            "HTTP/1.1 200 \xc4\xe3\r\nX-A: \xc4\xe3\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 100 Go on\n\nHTTP/1.1 200 OK\r\ntransfer-encoding:CHUNKED\r\n\r\n2 ; a=b\nok\n0\n\n",
            "HTTP/1.1 299 %s\r\nContent-Length: 2\r\n\r\nok" % ("long " * 820),
        ):
            assert session.get(say(server, text)).content == b"ok", text
    assert requests(server) == [7]


def test_of_a_long_header_nothing_is_kept(server):
    head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nBefore: 1\r\nA:"
    with http.Session() as session:
        for size in (4080, 4091, 4092, 4093, 4094, 5000, 12000):
            for filler in ("b", "\r"):
                url = say(server, head, ["repeat", filler, size], "b\r\nAfter: 2\r\n\r\nok")
                r = session.get(url)
                assert r.content == b"ok" and r.headers["before"] + r.headers["after"] == "12"
                assert ("a" in r.headers) == (size + 5 <= 4096), size
        lines = []
        url = say(server, head, ["repeat", "b", 5000], "\r\nC: d\r\n\r\nok")
        assert session.get(url, parse_headers=lambda line, headers: lines.append(line)).headers == {}
        assert lines == [b"Content-Length: 2", b"Before: 1", b"C: d"]
        chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;"
        long = ["repeat", "x", 5000]
        url = say(server, chunked, long, "\r\nok\r\n0;", long, "\r\nT: ", long, "\r\n\r\n")
        assert session.get(url).content == b"ok"
    assert len(requests(server)) == 1


def test_an_escaped_emoji_is_one_character_on_both_machines(server):
    text = '{"a": "x\\ud83d\\ude00y\\uD83D\\uDE00"}'
    assert http.get(say(server, answer(text))).json() == {"a": "x\U0001f600y\U0001f600"}
    raises(ValueError, http.get(say(server, answer('"\\ud83d\xff"'))).json)


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
    assert "longer" in refused(say(server, start + "1;", ["repeat", "x", 17000], ["silent"]))
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
    until_left(server)


def test_heads_without_end(server):
    for steps in (
        [["repeat", "x", 17000]],
        ["HTTP/1.1 200 ", ["repeat", "x", 17000]],
        ["HTTP/1.1 200 OK\r\nA: ", ["repeat", "b", 17000]],
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
