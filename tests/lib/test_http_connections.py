"""http: connections that are kept, that end, and that lead elsewhere."""

import socket
import sys

from muster import http
from scripts import OK, answer, refused, requests, say, say_in_turn, seen, to, until_left, until_said

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
            until_said(server)
        # One that was not read to its end is of no more use either.
        session.get(say(server, answer("abc")), stream=True).close()
    assert requests(server) == [1] * 8
    until_left(server)


def test_a_kept_connection_that_was_closed_is_replaced(server, other_server):
    for end in ("close", "reset"):
        with http.Session() as session:
            assert session.get(say(server, OK, [end])).text == "ok"
            until_said(server)
            assert session.post(say(server, OK), data=b"x").text == "ok"
    assert requests(server) == [1] * 4


def test_a_request_is_repeated_once_when_a_kept_connection_ends_without_a_byte(server):
    for end in ("close", "reset"):
        with http.Session() as session:
            session.get(say(server, OK))
            # The server's close and the request cross on their way.
            assert session.put(say_in_turn(server, [[end]], [OK]), data=b"1").text == "ok"
            refused(say_in_turn(server, [[end]], [[end]], [OK], [end]), session)
    counts = requests(server)
    # The second connection was kept too, and so the second URL broke it, and then a third.
    assert counts == [2, 2, 1] * 2, counts
    until_left(server)


def test_only_what_may_be_executed_twice_is_repeated(server):
    with http.Session() as session:
        for method, repeatable, repeated in (
            ("GET", False, True),
            ("HEAD", False, True),
            ("PUT", False, True),
            ("DELETE", False, True),
            ("OPTIONS", False, True),
            ("TRACE", False, True),
            ("POST", False, False),
            ("PATCH", False, False),
            ("POST", True, True),
            ("PATCH", True, True),
        ):
            session.get(say(server, OK))
            before = sum(requests(server))
            # The server reads the request, and may execute it, before it closes.
            url = say_in_turn(server, [["close"]], [answer(status="200 %s %s" % (method, repeatable))])
            if repeated:
                assert session.request(method, url, data=b"x", repeatable=repeatable).status_code == 200
            else:
                text = refused(url, session, method, data=b"x")
                assert "may have executed the request" in text, text
            assert sum(requests(server)) - before == 1 + repeated, (method, repeatable)
    until_left(server)


def test_after_a_redirect_it_is_the_new_method_that_counts(server):
    with http.Session() as session:
        for status, kw, repeated in (
            ("303 x", {}, True),
            ("307 x", {}, False),
            ("307 y", {"repeatable": True}, True),
        ):
            there = say_in_turn(server, [["close"]], [answer(status="200 " + status)])[len(server["url"]) :]
            if repeated:
                assert session.post(to(server, there, status), data=b"x", **kw).status_code == 200
            else:
                refused(to(server, there, status), session, "POST", data=b"x", **kw)
    until_left(server)


def test_nothing_else_is_repeated(server):
    late = say_in_turn(server, ["HTTP/1.1 2", ["close"]], [OK])
    early = "HTTP/1.1 100 Continue\r\n\r\n"
    silent = say_in_turn(server, [["silent"]], [OK])
    with http.Session() as session:
        refused(say_in_turn(server, [["close"]], [OK]), session, "POST", data=b"x")
        session.get(say(server, OK))
        refused(late, session, "POST", data=b"x")
        session.get(say(server, OK))
        refused(say_in_turn(server, [early, ["close"]], [OK]), session, "POST", data=b"x")
        session.get(say(server, OK))
        refused(silent, session, "POST", data=b"x", timeout=1)
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
    assert "looked up" in refused("http://nowhere.invalid/")
    for host in ("a" * 64 + ".invalid", "a..b", ".invalid", "a" * 300):
        refused("http://%s/" % host)


class Addresses:
    """While in `with`, a name has the addresses of these URLs and then its own; None stands for itself."""

    def __init__(self, *urls, own=True):
        self.socket, self.SOCK_STREAM = socket.socket, socket.SOCK_STREAM
        self._urls = urls
        self._own = own

    def getaddrinfo(self, host, port, *more):
        own = socket.getaddrinfo(host, port, *more)
        found = []
        for url in self._urls:
            if url:
                found += socket.getaddrinfo(host, int(url.rpartition(":")[2]), *more)
            else:
                found.append(own[0][:-1] + (url,))
        return found + own if self._own else found

    def __enter__(self):
        self._look_up_in(self)

    def __exit__(self, *_):
        self._look_up_in(socket)

    def _look_up_in(self, module):
        # What opens a connection is loaded for that.
        sys.modules["socket"] = module
        sys.modules.pop("muster.net.dial", None)


def test_the_next_address_is_tried(server, dead_url):
    with Addresses(dead_url, dead_url):
        assert http.get(say(server, OK)).text == "ok"
    until_left(server)


def test_each_address_has_a_share_of_the_time(server, full_url):
    with Addresses(full_url):
        assert http.get(say(server, OK), timeout=2).text == "ok"
    with Addresses(full_url, full_url):
        assert http.get(say(server, OK), timeout=3).text == "ok"
    with Addresses(full_url, full_url, own=False):
        assert "the connection did not end within 0.3 s" in refused(full_url, timeout=0.3)
    until_left(server)


def test_an_address_that_the_port_does_not_know_is_passed_over(server, dead_url, full_url):
    # An ESP32's resolver gives None for what is no IPv4.
    with Addresses(None, (), None):
        assert http.get(say(server, OK)).text == "ok"
    with Addresses(None, full_url, None, ()):  # they take no share of the time
        assert http.get(say(server, OK), timeout=2).text == "ok"
    with Addresses(dead_url, None, own=False):
        assert "refused" in refused(dead_url).lower()
    for none in ((), (None, ())):
        with Addresses(*none, own=False):
            assert "no address for this device" in refused(dead_url)
    until_left(server)


# Redirects


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


def test_relative_redirects(server):
    """The examples of RFC 3986, 5.4, and what other clients take."""
    host = server["url"][7:]
    for location, path in (
        ("g", "/b/c/g"),
        ("./g", "/b/c/g"),
        ("g/", "/b/c/g/"),
        ("/g", "/g"),
        ("//%s/g" % host, "/g"),
        ("g?y", "/b/c/g?y"),
        ("g#s", "/b/c/g"),
        ("g?y#s", "/b/c/g?y"),
        (";x", "/b/c/;x"),
        ("g;x?y#s", "/b/c/g;x?y"),
        (".", "/b/c/"),
        ("./", "/b/c/"),
        ("..", "/b/"),
        ("../", "/b/"),
        ("../g", "/b/g"),
        ("../..", "/"),
        ("../../", "/"),
        ("../../g", "/g"),
        ("../../../g", "/g"),
        ("../../../../g", "/g"),
        ("/./g", "/g"),
        ("/../g", "/g"),
        ("g.", "/b/c/g."),
        (".g", "/b/c/.g"),
        ("g..", "/b/c/g.."),
        ("..g", "/b/c/..g"),
        ("./../g", "/b/g"),
        ("./g/.", "/b/c/g/"),
        ("g/./h", "/b/c/g/h"),
        ("g/../h", "/b/c/h"),
        ("g;x=1/./y", "/b/c/g;x=1/y"),
        ("g;x=1/../y", "/b/c/y"),
        ("g?y/./x", "/b/c/g?y/./x"),
        ("g?y/../x", "/b/c/g?y/../x"),
        ("g#s/./x", "/b/c/g"),
        ("g#s/../x", "/b/c/g"),
        ("%s/a/../b" % server["url"], "/b"),
        ("/a//../b", "/a/b"),
        ("g/http://x", "/b/c/g/http://x"),
        ("/a b?c d", "/a%20b?c%20d"),
        ("/\xe4\xb8\xad/%E4", "/%E4%B8%AD/%E4"),
        ("\xe4", "/b/c/%C3%A4"),
        ("/a\tb", "/a%09b"),
        (" ../ok", "/b/ok"),
    ):
        base = say(server, answer("", "Location: " + location, status="302 x")).rpartition("/")[2]
        head = http.get("%s/b/c/%s?q" % (server["url"], base)).json()["head"]
        assert head.startswith("GET %s HTTP/1.1\r\nHost: %s" % (path, host)), (location, head)
    url = say_in_turn(server, [answer("", "Location: #s", status="302 x")], [OK]) + "?q=1"
    assert http.get(url).text == "ok"
    assert seen(server)[-1]["received"][0].partition(" ")[2].startswith(url[len(server["url"]) :] + " ")


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
        "http://",
        "http:/x",
        "a:b",
        "http://[::1/",
    ):
        assert "no usable address" in refused(to(server, location)), location
    refused(to(server, "http://a..b/"))
    until_left(server)
