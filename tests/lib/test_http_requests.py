"""http: what is sent, byte by byte, and what is not."""

from array import array

from helpers import raises
from muster import http
from scripts import host_of, requests, seen, until_left


def test_every_method(server):
    for method in ("get", "post", "put", "delete", "patch"):
        echo = getattr(http, method)(server["url"] + "/p?q=1").json()
        start = "%s /p?q=1 HTTP/1.1\r\nHost: %s:" % (method.upper(), host_of(server["url"]))
        assert echo["head"].startswith(start), echo
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


def test_an_empty_file_ends_though_it_was_opened_as_text(server, tmp):
    open(tmp + "/body", "w").close()
    with open(tmp + "/body") as f:
        assert http.post(server["url"], data=f).json()["body"] == "0\r\n\r\n"


def test_a_body_that_is_none_is_refused_before_a_connection_is_made(server):
    # array's memoryview counts items, not bytes.
    for data in ({"a": "b"}, {}, [b"a"], (b"a",), {b"a"}, 5, 1.5, True, memoryview(array("h", [1, 2]))):
        text = str(raises(TypeError, http.post, server["url"], data=data))
        assert text.startswith("data is str, bytes, an open file or an iterator of bytes, not "), text
        assert text.endswith("not %s; json= sends an object as JSON" % type(data).__name__), text
    for data in ("\u4e2d", b"abc", bytearray(3), memoryview(b"abc"), None, iter([b"abc"])):
        for length in ("1", 4, "-1", "+3", "3, 3", "", " 3", "x", "03", "\xb2"):
            if length not in ("1", 4) or not hasattr(data, "__next__"):
                text = str(
                    raises(
                        ValueError, http.post, server["url"], data=data, headers={"Content-length": length}
                    )
                )
                assert "Content-Length" in text, text
    raises(ValueError, http.get, server["url"], json={"a": "\u4e2d"}, headers={"Content-Length": 9})
    assert seen(server) == []


def test_a_body_whose_length_is_not_the_declared_one_is_never_complete(server, tmp):
    with open(tmp + "/body", "wb") as f:
        f.write(b"x" * 3000)
    for pieces, length in (
        ([b"abc", b"d"], 3),
        ([b"abc", b"", bytearray(b"d")], 3),
        ([b"abc", memoryview(b"d")], 3),
        ([b"abc", b"d"], 2),
        ([b"a"], 0),
        ([b"abc", b"d"], 5),
        ([], 1),
        (None, 2999),
        (None, 2048),
        (None, 3001),
    ):
        with http.Session() as session, open(tmp + "/body", "rb") as f:
            session.get(server["url"])
            data = f if pieces is None else iter(pieces)
            text = str(
                raises(ValueError, session.post, server["url"], data=data, headers={"Content-Length": length})
            )
            assert "Content-Length, %d" % length in text and ("longer" in text or "shorter" in text), text
            # What comes next goes out on a connection of its own.
            assert session.get(server["url"] + "/next").json()["head"].startswith("GET /next ")
        assert http.post(server["url"], data=iter([b""]), headers={"Content-Length": 0}).json()["body"] == ""
    # What is not complete is no request for the server.
    counts = requests(server)
    assert sum(counts) == 3 * 10, counts
    until_left(server)


def test_a_body_that_gives_no_bytes_is_never_complete(server, tmp):
    with open(tmp + "/body", "w") as f:
        f.write("text")

    def breaks():
        yield b"abc"
        raise KeyError("x")

    for headers in ({}, {"Content-Length": "6"}):
        with open(tmp + "/body") as f:
            for data in (
                iter(["abc", "def"]),
                iter([b"abc", "def"]),
                iter([b"abc", 1, 2, 3]),
                iter([None]),
                f,
            ):
                text = str(raises(TypeError, http.post, server["url"], data=data, headers=headers))
                assert text.startswith("data is an iterator of bytes, and gave "), text
        raises(KeyError, http.post, server["url"], data=breaks(), headers=headers)
    assert sum(requests(server)) == 0
    until_left(server)


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
    place, _, port = server["url"][7:].rpartition(":")
    for url, line in (
        ("http://%s:%s", "GET / HTTP/1.1"),
        ("HTTP://%s:%s?a=b/c", "GET /?a=b/c HTTP/1.1"),
        ("http://%s:%s/a?b#c", "GET /a?b HTTP/1.1"),
        ("http://%s:%s#c", "GET / HTTP/1.1"),
        ("http://%s:%s/a@b:c", "GET /a@b:c HTTP/1.1"),
        ("http://%s:000%s/", "GET / HTTP/1.1"),
    ):
        url %= place, port
        assert http.get(url).json()["head"].startswith(line + "\r\n"), url


def test_ipv6_literal(ipv6_server):
    assert "\r\nHost: [::1]:" in http.get(ipv6_server["url"] + "?q").json()["head"]


def test_what_cannot_be_sent_is_refused_before_a_connection_is_made(server):
    url = server["url"]
    place = url[7:]
    for bad in (
        "",
        place,
        "//" + place,
        "ftp://" + place,
        "http:/" + place,
        "http://",
        "http:///path",
        "http://:80/",
        "http://me@" + place,
        "http://me:secret@" + place,
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
        {"A": b"secret"},
        {"A": None},
        {"A": ["secret"]},
        {"": "secret"},
        {"A ": "secret"},
        {" A": "secret"},
        {"A: b": "secret"},
        {"Transfer-Encoding": "chunked"},
        {"transfer-encoding": "identity"},
        {"A": "secret", "a": "secret"},
        {"Host": "secret", "host": "secret"},
        {"Content-Length": "0", "content-length": "1"},
    ):
        assert "secret" not in str(raises(ValueError, http.get, url, headers=headers))
    raises(ValueError, http.request, "GET / HTTP/1.1\r\nA: b\r\n\r\nGET", url)
    assert seen(server) == []


def test_a_content_length_that_is_none_is_not_shown():
    said = raises(ValueError, lambda: http.get("http://127.0.0.1:9/", headers={"Content-Length": "s3cr3t"}))
    assert "Content-Length" in str(said) and "s3cr3t" not in str(said)
