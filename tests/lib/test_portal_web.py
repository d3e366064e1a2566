"""The set-up page's server: what is pure as plain data, the rest over sockets on loopback."""

import json
import random

from helpers import raises, replaced
from muster.memory import MICROPYTHON
from muster.portal import web
from portal_visits import HOME, NETWORKS, STATIC, TOKEN, Answer, Visits, unpacked

FORM = b"application/x-www-form-urlencoded"
JSON = b'{"ssid": "686f6d65", "key": "correct horse"}'

# Each system's question whether it is online: HTTP version, Host, target, and where that is known from. None
# was seen on a phone; "lists" are those of other people's routers and blockers alone.
PROBES = (
    ("iOS, macOS", "1.0", "captive.apple.com", "/hotspot-detect.html", "captures of CaptiveNetworkSupport"),
    ("iOS, macOS", "1.0", "www.apple.com", "/library/test/success.html", "captures of CaptiveNetworkSupport"),
    ("Android", "1.1", "connectivitycheck.gstatic.com", "/generate_204", "AOSP: NetworkStack's config.xml"),
    ("Android", "1.1", "www.google.com", "/gen_204", "AOSP: NetworkMonitor, the fallback"),
    ("Android", "1.1", "play.googleapis.com", "/generate_204", "AOSP: NetworkMonitor, the other fallback"),
    ("Android 4", "1.1", "clients3.google.com", "/generate_204", "AOSP: its check of walled gardens"),
    ("Huawei", "1.1", "connectivitycheck.platform.hicloud.com", "/generate_204", "HwNetworkPropertyChecker"),
    ("HarmonyOS", "1.1", "connectivitycheck.platform.hicloud.com", "/generate_204", "netdetectionurl.conf"),
    ("HarmonyOS", "1.1", "connectivitycheck.cbg-app.huawei.com", "/generate_204", "netdetectionurl.conf"),
    ("Honor", "1.1", "connectivitycheck.platform.hihonorcloud.com", "/generate_204", "lists; not confirmed"),
    ("Xiaomi", "1.1", "connect.rom.miui.com", "/generate_204", "MIUI: MiuiConfigCaptivePortal"),
    ("OPPO", "1.1", "conn1.oppomobile.com", "/generate_204", "ColorOS: NetworkMonitor"),
    ("OPPO", "1.1", "conn2.oppomobile.com", "/generate_204", "ColorOS: NetworkMonitor"),
    ("OPPO", "1.1", "conn1.coloros.com", "/generate_204", "lists; not confirmed"),
    ("vivo", "1.1", "wifi.vivo.com.cn", "/generate_204", "Funtouch: NetworkMonitor"),
    ("Samsung", "1.1", "connectivity.samsung.com.cn", "/generate_204", "its NetworkMonitor, in China"),
    ("Windows 10, 11", "1.1", "www.msftconnecttest.com", "/connecttest.txt", "Microsoft: NCSI change notice"),
    (
        "Windows 10, 11",
        "1.1",
        "www.msftconnecttest.com",
        "/redirect",
        "what it opens in a browser: a user's note",
    ),
    ("Windows 7, 8", "1.1", "www.msftncsi.com", "/ncsi.txt", "Microsoft: NCSI change notice"),
    ("Firefox", "1.1", "detectportal.firefox.com", "/canonical.html", "captivedetect.canonicalURL"),
    ("Firefox", "1.1", "detectportal.firefox.com", "/success.txt", "captivedetect.canonicalURL, earlier"),
)


def head(*lines):
    return b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def is_home(answer, status=302):
    assert answer.status == status, answer.data
    assert answer.headers[b"Location"] == HOME + b"/"
    assert 0 < len(answer.body) < 100 and len(answer.body) == int(answer.headers[b"Content-Length"])


def is_refused(answer, what):
    assert answer.status == 400, answer.data
    assert json.loads(answer.body) == {"error": what}


def live(page, state=None):
    return b"".join(web.tail(page.token, page.networks, state or page.state))


def test_a_head_is_read_when_it_is_whole():
    whole = head(b"POST /scan HTTP/1.1", b"HOST: a:80", b"X: 1", b"X: 2", b"Content-Length:\t 7 ")
    for end in range(len(whole)):
        assert web.head(whole[:end]) is None
    headers = {b"host": b"a:80", b"content-length": b"7"}
    assert web.head(whole + b"body\r\n\r\n") == (b"POST", b"/scan", headers, b"body\r\n\r\n")
    assert web.head(head(b"GET / HTTP/1.0")) == (b"GET", b"/", {}, b"")


def test_what_two_readers_may_read_in_two_ways_is_refused():
    get = b"GET / HTTP/1.1"
    for lines in (
        (get, b"Content-Length: 5", b"Content-Length: 5"),
        (get, b"Content-Length: 5", b"content-length: 6"),
        (get, b"Content-Length: 5, 5"),
        (get, b"Content-Length: +5"),
        (get, b"Content-Length: -5"),
        (get, b"Content-Length: 0x5"),
        (get, b"Content-Length: "),
        (get, b"Transfer-Encoding: chunked"),
        (get, b"Transfer-Encoding: identity", b"Content-Length: 5"),
        (get, b"transfer-encoding:\tchunked"),
        (get, b"Transfer-Encoding : chunked"),
        (get, b"Host: a", b"Host: a"),
        (get, b"Origin: a", b"Origin: b"),
        (get, b"X: 1", b" folded: 2"),
        (get, b"X: 1", b"\tfolded"),
        (get, b" X: 1"),
        (get, b": 1"),
        (get, b"no colon"),
        (get, b"X: 1\rHost: a"),
        (get, b"X: 1\nHost: a"),
        (get, b"X: 1\r\r"),
        (get, b"X: \0"),
        (b"GET /\0 HTTP/1.1",),
        (b"GET  / HTTP/1.1",),
        (b"GET /",),
        (b"GET / HTTP/2.0",),
        (b"GET / HTTP/1.1 ",),
        (b"",),
        (b"PRI * HTTP/2.0",),
        (b"\x16\x03\x01\x02\0\x01",),  # TLS
    ):
        raises(ValueError, web.head, head(*lines))
    # Lines that end in LF alone: at once, not when its time is up.
    raises(ValueError, web.head, b"GET / HTTP/1.1\nHost: a\n\n")
    raises(ValueError, web.head, b"GET / HTTP/1.1\nHost: a\r\n\r\n")


def test_a_head_has_2048_bytes_and_32_headers_at_most():
    get = b"GET / HTTP/1.1"
    assert web.head(head(get, *[b"A: b"] * 32))
    raises(ValueError, web.head, head(get, *[b"A: b"] * 33))
    line = b"A: " + b"b" * (2048 - len(get) - 2 - 3)
    assert web.head(head(get, line))
    raises(ValueError, web.head, head(get, line + b"b"))
    raises(ValueError, web.head, b"G" * 2049)
    assert web.head(b"G" * 2048) is None


def test_a_form_is_read_as_browsers_write_it():
    assert web.form(b"ssid=ab12&key=a+b%2B%26%25%3d&name=") == {"ssid": "ab12", "key": "a b+&%=", "name": ""}
    assert web.form("key=%E5%AF%86码".encode()) == {"key": "密码"}
    assert web.form(b"key=a=b") == {"key": "a=b"}
    assert web.form(b"") == {"": ""}
    for body in (b"key=%", b"key=%4", b"key=%%41", b"key=%zz", b"key=%+4", b"key=%ff", b"\xff=1"):
        raises(ValueError, web.form, body)


def test_what_the_buyer_wants_is_checked():
    def wanted(key="", ssid="61", **more):
        fields = {"key": key, "ssid": ssid}
        fields.update(more)
        return web.wanted(fields)

    assert wanted() == (b"a", "") and web.wanted({"ssid": "61"}) == (b"a", "")
    for key in ("12345678", "1" * 63, "密码密", "密" * 21, "Ab" * 32, 'p&+%"<\\ '):
        assert wanted(key) == (b"a", key)
    for key in ("1234567", "1" * 65, "g" * 64, "密码", "密" * 22, "1" * 64 + "\n", " " * 64):
        assert str(raises(ValueError, wanted, key)) == "key"
    assert wanted(ssid="b7bf" * 16)[0] == b"\xb7\xbf" * 16
    assert wanted(ssid="", name="隐藏")[0] == wanted(name="隐藏")[0] == "隐藏".encode()
    assert wanted(name="a\r\nSet-Cookie: b")[0] == b"a\r\nSet-Cookie: b"  # bytes, which no head carries
    for ssid, name in (("", ""), ("6", ""), ("zz", ""), ("é", ""), ("61" * 33, ""), ("61", "密" * 11)):
        assert str(raises(ValueError, wanted, ssid=ssid, name=name)) == "ssid"


def test_a_name_of_a_network_is_text_never_markup():
    names = (
        b"<script>alert(1)</script>",
        b"\"'> x=&lt;&#60;",
        b"a\r\nb",
        b"&" * 32,
        b"\xbf\xcd\xcc\xfc",
        b"",
    )
    tail = b"".join(web.tail("t0k3n", [(name, -50, n) for n, name in enumerate(names[:2])], "idle"))
    assert tail == (
        b"<input type=hidden name=token value=t0k3n><select name=ssid>"
        b"<option value=3c7363726970743e616c6572742831293c2f7363726970743e>"
        b"&lt;script>alert(1)&lt;/script>"
        b"<option value=22273e20783d266c743b262336303b>"
        b"\"'> x=&amp;lt;&amp;#60;"
        b"</select></form><output data-state=idle>"
    )
    tail = b"".join(web.tail("t", [(name, -50, 1) for name in names], "refused"))
    # Each < is one of the page's own, and no & begins anything but an escape.
    assert tail.count(b"<") == 2 + len(names) + 3
    assert tail.count(b"&") == tail.count(b"&amp;") + tail.count(b"&lt;")
    assert b"<option value=bfcdccfc>bfcdccfc" in tail
    assert tail.endswith(b"<output data-state=refused>")


def test_the_page_is_one_gzip_of_the_file_and_what_is_live(tmp):
    with Visits(tmp) as visits:
        answer = visits.get()
        assert answer.status == 200 and visits.page.uses == 1
        assert unpacked(answer.body) == STATIC + live(visits.page)
        assert answer.headers == {
            b"Content-Type": b"text/html;charset=utf-8",
            b"Content-Encoding": b"gzip",
            b"Content-Length": b"%d" % len(answer.body),
            b"Connection": b"close",
            b"Cache-Control": b"no-store",
            b"X-Content-Type-Options": b"nosniff",
            b"X-Frame-Options": b"DENY",
        }
        bare = visits.get(method=b"HEAD")
        assert (bare.headers, bare.body) == (answer.headers, b"")
        visits.page.networks = [(b"&" * 32, -10, True)] * 20
        visits.page.state, visits.page.ssid = "refused", b"&" * 32
        assert unpacked(visits.get().body) == STATIC + live(visits.page)
        assert visits.get(host=b"192.168.4.1:80").status == 200


def test_what_changes_while_the_page_is_sent_does_not_tear_it(tmp):
    with Visits(tmp) as visits:
        page = visits.page
        expected = STATIC + live(page)
        visitor = visits.open(head(b"GET / HTTP/1.1", b"Host: 192.168.4.1"))
        visits.turns(2)
        page.networks, page.state, page.ssid = [], "reached", b"home"
        assert unpacked(visits.end(visitor).body) == expected
        assert unpacked(visits.get().body) == STATIC + live(page)


def test_how_things_stand_is_told_as_json(tmp):
    with Visits(tmp) as visits:
        answer = visits.get(b"/state")
        assert answer.status == 200 and answer.headers[b"Content-Type"] == b"application/json"
        networks = [[web.hexlify(ssid).decode(), dbm, int(lock)] for ssid, dbm, lock in NETWORKS]
        assert json.loads(answer.body) == {"state": "idle", "ssid": "", "tries": 20, "networks": networks}
        page = visits.page
        page.state, page.ssid, page.tries, page.networks = "trying", b'"\\<\xff', 3, []
        answer = visits.get(b"/state")
        assert json.loads(answer.body) == {"state": "trying", "ssid": "225c3cff", "tries": 3, "networks": []}
        assert visits.get(b"/state", b"HEAD").body == b""


def test_json_begins_to_join(tmp):
    with Visits(tmp) as visits:
        page = visits.page
        for refusal, status in ((None, 202), ("trying", 409), ("busy", 429)):
            page.refusal = refusal
            answer = visits.post(JSON, b"Application/JSON; charset=utf-8")
            assert answer.status == status
            assert answer.body == visits.get(b"/state").body
            assert page.submitted.pop() == (b"home", "correct horse")
        page.refusal = None
        keys = ("密码密码", 'a&b+c%d"\\', "\\u5bc6\\u7801\\u5bc6\\ud83d\\ude00")
        for key, meant in zip(keys, ("密码密码", 'a&b+c%d"\\', "密码密\U0001f600")):
            written = key if "\\u" in key else json.dumps(key)[1:-1]
            assert visits.post(('{"ssid":"61","key":"%s"}' % written).encode()).status == 202
            assert page.submitted.pop() == (b"a", meant)


def test_a_form_begins_to_join_without_javascript(tmp):
    with Visits(tmp) as visits:
        page = visits.page
        for refusal in (None, "trying", "busy"):
            page.refusal = refusal
            body = b"token=%s&ssid=bfcdccfc&name=&key=%%E5%%AF%%86%%E7%%A0%%81+%%26%%2B%%25" % TOKEN.encode()
            is_home(visits.post(body, FORM, more=b"Origin: http://192.168.4.1\r\n"), 303)
            assert page.submitted.pop() == (b"\xbf\xcd\xcc\xfc", "密码 &+%")
        is_home(visits.post(body + b"&name=%3Cb%3E+%E9%9A%90", FORM), 303)
        assert page.submitted.pop() == ("<b> 隐".encode(), "密码 &+%")
        # The longest that the page's own form can send.
        longest = b"token=%s&ssid=%s&name=%s&key=%s" % (TOKEN.encode(), b"61" * 32, b"%61" * 32, b"%5F" * 63)
        assert len(longest) <= 512
        is_home(visits.post(longest, FORM), 303)
        assert page.submitted.pop() == (b"a" * 32, "_" * 63)


def test_networks_are_looked_for_anew(tmp):
    with Visits(tmp) as visits:
        answer = visits.post(b"{}", target=b"/scan")
        assert answer.status == 202 and "networks" in json.loads(answer.body)
        is_home(visits.post(b"token=" + TOKEN.encode(), FORM, b"/scan"), 303)
        assert visits.page.scans == 2
        is_refused(visits.post(b"token=x", FORM, b"/scan"), "origin")
        is_home(visits.get(b"/scan"))
        assert visits.page.scans == 2 and not visits.page.submitted


def test_what_is_wrong_with_a_post_is_said(tmp):
    with Visits(tmp) as visits:
        is_refused(visits.post(b'{"ssid": "61", "key": "short"}'), "key")
        is_refused(visits.post(b'{"ssid": "6", "key": ""}'), "ssid")
        is_refused(visits.post(b"{}"), "ssid")
        is_refused(visits.post(b"{" + b" " * 511 + b"}"), "length")
        for body in (
            b"",
            b"[]",
            b"null",
            b"1",
            b'"a"',
            b"{",
            b'{"ssid": 61}',
            b'{"name": []}',
            b"\xff",
            b'{"ssid": "61", "key": null}',
            b'{"ssid": "61", "key": 12345678}',
            b'{"ssid": ["61"]}',
        ):
            answer = visits.post(body)
            assert answer.status == 400 and "error" in json.loads(answer.body), body
        assert not visits.page.submitted
        assert visits.get().status == 200


def test_no_other_site_can_send_the_form(tmp):
    token = b"token=%s&ssid=61&key=" % TOKEN.encode()
    with Visits(tmp) as visits:
        for origin in (
            b"http://evil.example",
            b"null",
            b"",
            b"https://192.168.4.1",
            b"http://192.168.4.1.evil.example",
            b"http://192.168.4.10",
            b"http://192.168.4.1:8080",
            b"HTTP://192.168.4.1",
        ):
            more = b"Origin: " + origin + b"\r\n"
            is_refused(visits.post(JSON, more=more), "origin")
            is_refused(visits.post(token, FORM, more=more), "origin")
        for kind in (
            b"",
            b"text/plain",
            b"multipart/form-data; boundary=a",
            b"application/jsonx",
            b"text/json",
            b"text/plain; application/json",
            b"application/json, text/plain",
        ):
            is_refused(visits.post(JSON, kind), "origin")
            assert visits.post(token, kind).status == 400
        for wrong in (
            b"",
            b"token=",
            b"token=0123&ssid=61",
            token.upper(),
            b"TOKEN" + token[5:],
            b"ssid=61&key=",
        ):
            is_refused(visits.post(wrong, FORM), "origin")
        # What would be asked before JSON from another site gets no leave.
        answer = visits.ask(
            head(
                b"OPTIONS / HTTP/1.1",
                b"Host: 192.168.4.1",
                b"Origin: http://evil.example",
                b"Access-Control-Request-Method: POST",
            )
        )
        is_home(answer)
        assert not any(name.lower().startswith(b"access-control") for name in answer.headers)
        assert not visits.page.submitted and not visits.page.scans


def test_another_host_learns_nothing(tmp):
    with Visits(tmp) as visits:
        hosts = (
            b"evil.example",
            b"192.168.4.1.evil.example",
            b"192.168.4.1:81",
            b"192.168.4.1:",
            b"192.168.4.10",
            b"evil@192.168.4.1",
            b"192.168.4.1, evil.example",
            b"",
            b"[::1]",
            b"127.0.0.1",
        )
        for host in hosts:
            for method, target in ((b"GET", b"/"), (b"GET", b"/state"), (b"HEAD", b"/"), (b"BREW", b"/pot")):
                answer = visits.get(target, method, host)
                assert answer.status == 302 and answer.headers[b"Location"] == HOME + b"/"
                assert TOKEN.encode() not in answer.data and b"686f6d65" not in answer.data
            is_home(
                visits.ask(
                    head(
                        b"POST / HTTP/1.1",
                        b"Host: " + host,
                        b"Content-Type: application/json",
                        b"Content-Length: %d" % len(JSON),
                    )
                    + JSON
                )
            )
        is_home(visits.ask(head(b"GET / HTTP/1.1")))
        is_home(visits.ask(head(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 1000000")))
        assert not visits.page.submitted and not visits.page.uses


def test_every_system_s_probe_is_led_to_the_page(tmp):
    with Visits(tmp) as visits:
        for _, version, host, target, _ in PROBES:
            is_home(
                visits.ask(
                    head(
                        *[
                            text.encode()
                            for text in (
                                "GET %s HTTP/%s" % (target, version),
                                "Host: " + host,
                                "User-Agent: x",
                                "Connection: close",
                            )
                        ]
                    )
                )
            )
        assert not visits.page.uses


def test_whatever_else_is_asked_of_the_board_is_led_to_the_page(tmp):
    with Visits(tmp) as visits:
        for method, target in (
            (b"GET", b"/favicon.ico"),
            (b"GET", b"/?a"),
            (b"GET", b"//"),
            (b"GET", b"/../setup.html.gz"),
            (b"GET", b"/%2e"),
            (b"GET", b"http://192.168.4.1/state"),
            (b"GET", b"http://captive.apple.com/hotspot-detect.html"),
            (b"CONNECT", b"www.apple.com:443"),
            (b"OPTIONS", b"*"),
            (b"DELETE", b"/"),
            (b"get", b"/"),
            (b"POST", b"/state"),
            (b"PUT", b"/scan"),
        ):
            is_home(visits.get(target, method))
        assert visits.get(b"/x", b"HEAD").body == b""


def test_a_smuggled_request_is_refused_and_never_answered(tmp):
    inner = head(b"GET /state HTTP/1.1", b"Host: 192.168.4.1")
    with Visits(tmp) as visits:
        for framing in (
            (b"Transfer-Encoding: chunked",),
            (b"Content-Length: 0", b"Transfer-Encoding: chunked"),
            (b"Content-Length: 0", b"Content-Length: %d" % len(inner)),
            (b"X: 1", b" Content-Length: 5"),
            (b"Content-Length : 5",),
        ):
            is_refused(visits.ask(head(b"POST / HTTP/1.1", b"Host: 192.168.4.1", *framing) + inner), "head")
        # Sent ahead: the first is answered, the connection closes.
        answer = visits.ask(inner * 3)
        assert answer.status == 200 and answer.data.count(b"HTTP/1.1") == 1
        assert json.loads(answer.body)["state"] == "idle"
        # What follows a body is no part of it.
        post = head(
            b"POST / HTTP/1.1",
            b"Host: 192.168.4.1",
            b"Content-Type: application/json",
            b"Content-Length: %d" % len(JSON),
        )
        assert visits.ask(post + JSON + inner).status == 202
        assert visits.page.submitted == [(b"home", "correct horse")]


def test_a_request_may_come_a_byte_at_a_time(tmp):
    with Visits(tmp) as visits:
        request = (
            head(
                b"POST / HTTP/1.1",
                b"Host: 192.168.4.1",
                b"Content-Type: application/json",
                b"Content-Length: %d" % len(JSON),
            )
            + JSON
        )
        visitor = visits.open()
        for n in range(len(request)):
            assert not visitor.came
            visitor.socket.send(request[n : n + 1])
            visits.turns(1)
        assert visits.end(visitor).status == 202


def test_a_request_has_five_seconds_however_it_drips(tmp):
    with Visits(tmp) as visits:
        drip = visits.open(b"GET / HTTP/1.1\r\n")
        idle = visits.open()
        body = visits.open(head(b"POST / HTTP/1.1", b"Host: 192.168.4.1", b"Content-Length: 9"))
        visits.turns()
        for visits.now in range(0, 5001, 500):
            drip.socket.send(b"A")
            visits.turns()
            assert not drip.ended and not idle.ended and not body.ended
        visits.now = 5002
        visits.turns()
        assert drip.ended and idle.ended and body.ended
        assert not drip.came and not idle.came and not body.came
        assert visits.get().status == 200


def test_the_fourth_drops_the_one_that_has_got_on_least_recently(tmp):
    with Visits(tmp) as visits:
        first, second, third = visits.open(b"GET"), visits.open(b"GET"), visits.open(b"GET")
        visits.turns()
        fourth = visits.open(b"GET")
        visits.turns()
        assert first.ended and not first.came
        assert not second.ended and not third.ended and not fourth.ended
        assert visits.get().status == 200
        assert second.ended and not third.ended and not fourth.ended


def test_one_honest_visitor_is_served_beside_twenty_slow_ones(tmp):
    with Visits(tmp) as visits:
        slow = []
        honest = None
        for n in range(20):
            slow.append(visits.open(b"GET / HTTP/1.1\r\nA: "))
            visits.turns(1)
            if n == 10:
                honest = visits.open(head(b"GET / HTTP/1.1", b"Host: 192.168.4.1"))
            for visitor in slow:
                try:
                    visitor.socket.send(b"b")
                except OSError:
                    pass
        assert unpacked(visits.end(honest).body) == STATIC + live(visits.page)
        assert sum(not visitor.ended for visitor in slow) <= 3
        assert visits.get().status == 200


def test_a_head_of_a_megabyte_is_refused_at_its_beginning(tmp):
    with Visits(tmp) as visits:
        visitor = visits.open(b"GET / HTTP/1.1\r\nHost: 192.168.4.1\r\nA: ")
        for _ in range(250):
            visitor.unsent = memoryview(b"b" * 4096)
            while len(visitor.unsent) and not visitor.ended:
                visits.turns(1)
        assert visitor.ended
        if visitor.came:  # the connection may be reset before it is read
            assert Answer(visitor.came).status == 400
        assert visits.get().status == 200


def test_one_who_does_not_read_holds_nobody_up_and_has_15_seconds(tmp, disk):
    with Visits(tmp) as visits:
        # More than the buffers of both sockets hold.
        with open(visits.page.file, "ab") as file:
            for _ in range(2000):
                file.write(bytes(4096))
        deaf = visits.open()
        deaf.socket.send(head(b"GET / HTTP/1.1", b"Host: 192.168.4.1"))
        visits.visitors.remove(deaf)
        while visits.server.turn():
            pass
        assert visits.get(b"/state").status == 200
        visits.now = 15000
        visits.turns()
        assert len(visits.server.clients) == 1
        visits.now = 15001
        visits.turns()
        assert not visits.server.clients
        deaf.close()


def test_what_resets_or_closes_ends_quietly(tmp):
    with Visits(tmp) as visits:
        for request in (b"", b"GET / HT", head(b"GET / HTTP/1.1", b"Host: 192.168.4.1")):
            for turns in range(4):
                visitor = visits.open()
                visitor.socket.send(request) if request else None
                # Closed with unread bytes, which resets.
                for _ in range(turns):
                    visits.server.turn()
                visits.visitors.remove(visitor)
                visitor.close()
                visits.turns(30)
                assert not visits.server.clients
        assert visits.get().status == 200


def test_who_is_not_in_the_board_s_own_network_is_turned_away(tmp):
    with Visits(tmp) as visits:
        visits.page.peers = False
        visitor = visits.open(head(b"GET / HTTP/1.1", b"Host: 192.168.4.1"))
        while not visitor.ended:
            visits.turns(1)
        assert not visitor.came and not visits.page.uses and not visits.server.clients
        # The unix port of MicroPython gives an address in bytes, the ESP32's as CPython does.
        assert visits.page.asked == [2 if MICROPYTHON else "127.0.0.1"]


def test_no_secret_is_in_any_answer(tmp):
    secrets = (b"ap-key-1234", b"correct horse", b"kept-password")
    with Visits(tmp) as visits:
        page = visits.page
        page.key, page.kept = "ap-key-1234", [("home", "kept-password")]
        for state in (
            "idle",
            "trying",
            "joined",
            "reached",
            "unreached",
            "refused",
            "absent",
            "silent",
            "failed",
            "busy",
        ):
            page.state = state
            answers = [visits.post(JSON), visits.get(), visits.get(b"/state"), visits.get(b"/x")]
            answers.append(visits.post(b"ssid=61&key=correct+horse&token=" + TOKEN.encode(), FORM))
            answers.append(visits.post(b'{"ssid": "61", "key": "correct horse'))
            answers.append(visits.post(b'{"ssid": "", "key": "correct horse"}'))
            for answer in answers:
                packed = answer.headers.get(b"Content-Encoding") == b"gzip"
                text = answer.data + (unpacked(answer.body) if packed else b"")
                assert not [secret for secret in secrets if secret in text]
                # The token is in the page alone.
                assert (TOKEN.encode() in text) == packed


def test_a_fault_ends_one_connection_only(tmp):
    with Visits(tmp) as visits:
        visitor = visits.open(b"GET /state HTTP/1.1\r\nHost: 192.168.4.1\r\n")
        visits.turns()
        for fault in (MemoryError(), RuntimeError("x"), OSError("x")):

            def broken(*_, fault=fault):
                raise fault

            with replaced(visits.page, submit=broken):
                failed = visits.open(
                    head(
                        b"POST / HTTP/1.1",
                        b"Host: 192.168.4.1",
                        b"Content-Type: application/json",
                        b"Content-Length: %d" % len(JSON),
                    )
                    + JSON
                )
                while not failed.ended:
                    visits.turns(1)
                assert not failed.came
        visitor.socket.send(b"\r\n")
        assert visits.end(visitor).status == 200


def test_a_place_that_is_taken_is_an_oserror_and_close_frees_it(tmp):
    with Visits(tmp) as visits:
        raises(OSError, web.Server, "127.0.0.1", visits.page, visits.port)
        visitor = visits.open(b"GET")
        visits.turns()
        visits.server.close()
        visitor.turn()
        assert visitor.ended
        visits.server = web.Server("127.0.0.1", visits.page, visits.port)
        assert visits.get().status == 200
        visits.page.file += "x"
        raises(OSError, web.Server, "127.0.0.1", visits.page, visits.port)


def test_an_idle_server_does_nothing(tmp):
    with Visits(tmp) as visits:
        assert visits.server.turn() is False
        visits.open(b"GET")
        assert visits.server.turn() is True
        assert visits.server.turn() is False


def test_random_requests_leave_it_serving(tmp):
    words = (
        b"GET",
        b"POST",
        b" ",
        b"/",
        b"/state",
        b"/scan",
        b" HTTP/1.1",
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"\0",
        b"Host: 192.168.4.1",
        b"Host:",
        b"Content-Length: 9",
        b"Content-Length:",
        b"Transfer-Encoding: chunked",
        b"Content-Type: application/json",
        b"Content-Type: " + FORM,
        b"{}",
        b"token=" + TOKEN.encode(),
        b"&",
        b"%",
        b"\xff",
        b"=",
        b":",
        b'{"ssid":',
        b'"61"',
        b"}",
        b"Origin: null",
    )
    with Visits(tmp) as visits:
        for _ in range(400):
            request = b"".join([random.choice(words) for _ in range(random.randrange(30))])
            if random.randrange(2):
                request = b"POST / HTTP/1.1\r\nHost: 192.168.4.1\r\n" + request
            visitor = visits.open(request)
            visits.turns(3)
            if not visitor.ended:
                visits.now += 5001
                visits.turns(3)
            visits.turns(20)
            assert visitor.ended
            visits.visitors.remove(visitor)
            visitor.close()
        assert visits.get().status == 200
