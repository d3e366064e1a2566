"""HTTP over TLS: nothing leaves before the server is verified, and what comes is whole."""

import asyncio
import binascii
import errno
import hashlib
import sys

from helpers import failing, logged, raises, replaced
from muster import clock, http, log
from muster.errors import ConfigError, TransportError
from muster.net import aio
from muster.net import tls as tls_module
from muster.net.tls import MICROPYTHON
from scripts import OK, answer, go, host_of, refused, requests, say, say_in_turn, seen, until_left, until_said

# In seconds. What is to be reached within a timeout, and not only to be ended by it, has more of it.
TIMEOUT = 0.2
AMPLE = 1


def test_a_good_certificate(tls, named_tls):
    for server in (tls, named_tls):
        with http.Session(ca=server["ca"]) as session:
            for _ in range(2):
                r = session.post(say(server, OK), data=b"secret")
                assert r.text == "ok"
                assert r.not_after == (server["ends"] if MICROPYTHON else None)
        assert requests(server) == [2]
        until_left(server)
    assert http.get(tls["url"], ca=tls["ca"]).json()["head"].startswith("GET / HTTP/1.1")


def test_bad_certificates(bad_tls):
    clock._trusted = True  # else one of the future would tell a board the time
    for kind, reason in (
        ("expired", "has expired"),
        ("future", "not valid yet"),
        ("foreign", "no trusted root"),
        ("self-signed", "no trusted root"),
        ("misnamed", "another name"),
    ):
        server = bad_tls[kind]
        for _ in range(2):
            text = refused(
                server["url"], http.Session(server["ca"]), "POST", data=b"secret", auth=("me", "secret")
            )
            refusal = host_of(server["url"]) + ": its certificate was refused"
            assert refusal in text and reason in text, (kind, text)
        until_left(server)
        for seen_there in seen(server):
            assert seen_there["received"] == [] and seen_there["handshake"], (kind, seen_there)
    # Of two reasons at least one is named.
    for kind, reasons in (
        ("foreign future", ("no trusted root", "not valid yet")),
        ("misnamed future", ("another name", "not valid yet")),
        ("client's future", ("usage", "purpose", "not valid yet")),
    ):
        text = refused(bad_tls[kind]["url"], http.Session(bad_tls[kind]["ca"]), "POST", data=b"secret")
        assert [reason for reason in reasons if reason in text], text
        assert seen(bad_tls[kind])[0]["received"] == []


def test_refusals_in_words(odd_tls, server):
    for kind, on_a_board, on_a_laptop in (
        ("good", "", ""),
        ("a client's", "serverAuth", "serverAuth"),
        ("RSA-PSS", "RSA-PSS signature", ""),
        ("out of order", "and the server's chain in order", ""),
        ("TLS 1.3 only", "must allow TLS 1.2", ""),
        ("TLS 1.1 only", "its operator must allow 1.2", "its operator must allow 1.2"),
        ("asks", "to want a certificate of the client", "to want a certificate of the client"),
        ("asks in TLS 1.2", "to want a certificate of the client", "ask for no certificate of the client"),
    ):
        words = on_a_board if MICROPYTHON else on_a_laptop
        session = http.Session(odd_tls[kind]["ca"])
        if words:
            text = refused(odd_tls[kind]["url"], session, "POST", data=b"secret")
            assert words in text and text.startswith(host_of(odd_tls[kind]["url"]) + ": "), (kind, text)
            assert not [one for one in seen(odd_tls[kind]) if one["received"]], kind
        else:
            assert session.get(say(odd_tls[kind], OK)).text == "ok", kind
            session.close()


def test_one_bad_server_spoils_no_session(bad_tls, tls):
    with http.Session(tls["ca"]) as session:
        for kind in ("expired", "foreign", "misnamed"):
            refused(bad_tls[kind]["url"], session)
            r = session.get(say(tls, OK))
            assert r.text == "ok" and r.not_after == (tls["ends"] if MICROPYTHON else None)


def test_the_name_is_what_counts_not_the_address(named_tls):
    url = named_tls["url"].replace("localhost", "127.0.0.1")
    assert "another name" in refused(url, http.Session(named_tls["ca"]))


def test_roots(tls, roots):
    def read(name):
        with open(roots[name], "rb") as f:
            return f.read()

    for ca in (
        roots["pem"],
        roots["der"],
        roots["both"],
        roots["directory"],
        read("pem"),
        read("der"),
        read("both"),
        bytearray(read("pem")),
        memoryview(read("der")),
        [roots["other"], roots["pem"]],
        (read("other"), read("der")),
        [roots["other"], [read("pem")]],
    ):
        assert http.get(say(tls, OK), ca=ca).text == "ok", ca
    assert "no trusted root" in refused(tls["url"], http.Session(roots["other"]))


def test_roots_that_are_none(tls, roots, tmp):
    def write(name, data):
        with open(tmp + "/" + name, "wb") as f:
            f.write(data)
        return tmp + "/" + name

    with open(roots["der"], "rb") as f:
        der = f.read()
    pem = b"-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n"
    for ca in (
        tmp,
        tmp + "/nothing",
        b"",
        b"hello",
        b"0hello",
        der[:-10],
        der[:100],
        b"\x30\x03\x02\x01\x05",
        pem % b"",
        pem % b"aGVsbG8=",
        pem % b"MAMC",
        pem % b"a",
        pem[:40],
        [],
        [[]],
        [der, b"x"],
        write("a.pem", b""),
        write("b.der", der[:200]),
        tmp,
    ):
        text = str(raises(ConfigError, http.get, tls["url"], ca=ca))
        assert "CA certificate" in text
        if isinstance(ca, str):
            assert tmp in text, text
    assert seen(tls) == []


def test_one_bad_file_does_not_disable_the_other_roots(tls, roots, unusable_roots, tmp):
    def write(name, data):
        with open(tmp + "/" + name, "wb") as f:
            f.write(data)

    with open(roots["der"], "rb") as f:
        der = f.read()
    for name, data in (
        (".DS_Store", b"\0\0\0\1Bud1"),
        ("Thumbs.db", b"\xd0\xcf\x11\xe0"),
        ("empty.pem", b""),
    ):
        write(name, data)
    write("cut.der", der[:200])
    for name in unusable_roots:
        with open(unusable_roots[name], "rb") as f:
            write(name + ".der", f.read())
    text = str(raises(ConfigError, http.Session(tmp).get, tls["url"])) if MICROPYTHON else tmp
    assert tmp in text
    write("z.der", der)
    log._said.clear()
    with logged() as lines:
        for _ in range(2):
            assert http.get(say(tls, OK), ca=tmp).text == "ok"
    # OpenSSL takes what mbedTLS does not.
    bad = [".DS_Store", "Thumbs.db", "cut.der", "empty.pem"]
    bad += [name + ".der" for name in unusable_roots if MICROPYTHON]
    assert len(lines) == len(bad), lines
    for name in bad:
        assert [line for line in lines if tmp + "/" + name + " is no CA certificate" in line], (name, lines)


def test_memory_that_ran_out_is_not_called_a_bad_certificate(unusable_roots):
    # mbedTLS's answer is the same, so ESP-IDF is asked: (size, free, largest free, least ever free).
    class Esp32:
        HEAP_DATA = 4

        def idf_heap_info(self, capabilities):
            return [(9000, 3000, free[capabilities == 4], 0), (15000, 500, 400, 0)]

    if not MICROPYTHON:
        return
    sys.modules["esp32"] = Esp32()
    for largest, error, words in (
        (2000, TransportError, "no memory for the CA certificates"),
        (9000, ConfigError, "TLS cannot read it"),
    ):
        free = (0, largest)
        text = str(raises(error, tls_module.Trust, unusable_roots["ed25519"]))
        assert words in text, text


def test_a_board_without_roots_says_where_they_belong(tls, laptop):
    # A laptop has its system's.
    if MICROPYTHON:
        assert "/roots" in str(raises(ConfigError, http.get, tls["url"]))
        assert seen(tls) == []
    else:
        assert "no trusted root" in refused(tls["url"])


def test_a_small_request_is_one_record(tls):
    http.post(say(tls, OK), ca=tls["ca"], json={"key": "v" * 500}, headers={"A": "b" * 100})
    assert len(seen(tls)[0]["received"]) == 1


def test_bodies_of_all_sizes(tls):
    sent = bytes(range(256)) * 600
    digest = binascii.hexlify(hashlib.sha256(sent).digest()).decode()
    with http.Session(tls["ca"]) as session:
        for _ in range(2):
            assert session.post(tls["url"], data=sent).json()["sha256"] == digest
        assert session.post(tls["url"], data=iter([b"a", b"b" * 2000])).json()["body"][:8] == "1\r\na\r\n7d"
        for size in (0, 1, 127, 128, 129, 1024, 16384, 16385, 30000):
            assert session.get(
                say(tls, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, ["repeat", "x", size])
            ).content == (b"x" * size)
        head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert session.get(say(tls, ["drip", head + "2\r\nok\r\n0\r\n\r\n", 0.001])).text == "ok"
    # What is read from an iterator is not sent on trial: it got a new connection.
    assert requests(tls) == [2, 11]


def test_a_megabyte_in_little_memory(tls):
    head = "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n"
    buffer = bytearray(4096)
    total = 0
    with http.get(say(tls, head, ["repeat", "0123456789abcdef", 65536]), ca=tls["ca"], stream=True) as r:
        while True:
            n = r.raw.readinto(buffer)
            if not n:
                break
            total += n
    assert total == 1 << 20


def test_lines_come_as_they_arrive(tls):
    url = say(tls, "HTTP/1.1 200 OK\r\n\r\none\ntw", ["wait"], "o\nthree\n", ["wait"], "four", ["close"])
    came = []
    with http.get(url, ca=tls["ca"], stream=True) as r:
        for line in r.iter_lines():
            came.append(line)
            if line != b"two":
                go(tls)
    assert came == [b"one", b"two", b"three", b"four"]


def test_an_answer_is_whole_though_the_connection_is_cut(tls):
    # Many a server closes without TLS's goodbye: the length says that nothing is missing.
    for end in ("close", "cut", "reset"):
        for _ in range(5):
            assert http.get(say(tls, OK, [end]), ca=tls["ca"]).text == "ok"
            assert http.get(say(tls, answer("x" * 3000), [end]), ca=tls["ca"]).text == "x" * 3000
    until_left(tls)


def test_an_answer_that_is_not_whole(tls):
    start = "HTTP/1.1 200 OK\r\n\r\nok"
    assert http.get(say(tls, start, ["close"]), ca=tls["ca"]).text == "ok"
    for end in ("close", "cut", "reset"):
        refused(say(tls, answer("ok")[:-1], [end]), http.Session(tls["ca"]))
        refused(say(tls, [end]), http.Session(tls["ca"]))
    until_left(tls)


def test_what_follows_an_answer_is_never_taken_for_the_next(tls):
    with http.Session(tls["ca"]) as session:
        for steps in (
            [OK + "HTTP/1.1 666 Evil\r\nContent-Length: 4\r\n\r\nevil"],
            [answer("ok" * 1000) + "HTTP/1.1 666 Evil\r\nContent-Length: 4\r\n\r\nevil"],
            [OK, "HTTP/1.1 666 Evil\r\nContent-Length: 4\r\n\r\nevil"],
        ):
            assert session.get(say(tls, *steps)).text[:2] == "ok"
            until_said(tls)
    assert requests(tls) == [1, 1, 1]
    until_left(tls)


def test_a_kept_connection_that_was_closed_is_replaced(tls):
    for end in ("close", "cut", "reset"):
        with http.Session(tls["ca"]) as session:
            session.get(say(tls, OK, [end]))
            until_said(tls)
            assert session.post(say(tls, OK), data=b"x").text == "ok"
            # This one it closes only when the request is there.
            assert session.put(say_in_turn(tls, [[end]], [OK]), data=b"x").text == "ok"
    assert requests(tls) == [1, 2, 1] * 3
    until_left(tls)


def test_no_redirect_leaves_tls(tls, server):
    url = say(tls, answer("", "Location: " + server["url"] + "/x", status="302 x"))
    with http.Session(tls["ca"]) as session:
        assert "must not go" in refused(url, session)
    assert seen(server) == []


def test_a_redirect_into_tls(tls, server):
    url = say(server, answer("", "Location: " + say(tls, OK), status="301 x"))
    assert http.get(url, ca=tls["ca"]).text == "ok"


def test_a_handshake_that_drips(dripping_tls):
    text = refused(dripping_tls["url"], http.Session(dripping_tls["ca"]), timeout=AMPLE)
    assert "the TLS handshake did not end within 1 s" in text
    until_left(dripping_tls)


def test_a_handshake_that_is_all_warnings(warning_url, tls):
    session = http.Session(tls["ca"])
    turns = []
    session.idle = lambda: turns.append(1)
    text = refused(warning_url, session, timeout=AMPLE)
    assert "the TLS handshake" in text
    # mbedTLS would read them for ever; OpenSSL has enough of them soon.
    assert not MICROPYTHON or len(turns) >= 3, turns


def test_handshakes_that_go_wrong(server, deaf_url, tls):
    session = http.Session(tls["ca"])
    turns = []
    session.idle = lambda: turns.append(1)
    # A server without TLS that says nothing, and one that answers in plain text.
    text = refused(deaf_url.replace("http", "https"), session, timeout=AMPLE)
    assert "the TLS handshake did not end" in text
    assert len(turns) < 20, "it does not wait but spin"
    with http.Session(tls["ca"]) as plain:
        text = refused(server["url"].replace("http", "https"), plain, timeout=AMPLE)
        assert "TLS handshake" in text
    # And plain HTTP spoken to a TLS server.
    refused(tls["url"].replace("https", "http"), timeout=TIMEOUT)


def test_a_timeout_bounds_the_whole_exchange(tls):
    session = http.Session(tls["ca"])
    for steps in (
        [["silent"]],
        [["drip", answer("x" * 50), 0.1]],
        ["HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n", ["drip", "x" * 50, 0.1]],
    ):
        # Without a handshake to make first.
        assert session.get(say(tls, OK)).text == "ok"
        text = refused(say(tls, *steps), session, timeout=TIMEOUT)
        assert "did not end within 0.2 s" in text
    until_left(tls)


def test_an_interrupt_closes_the_connection(tls, dripping_tls):
    def interrupt():
        raise KeyboardInterrupt

    session = http.Session(tls["ca"])
    session.idle = interrupt
    raises(KeyboardInterrupt, session.get, dripping_tls["url"])
    raises(KeyboardInterrupt, session.get, say(tls, ["silent"]))
    until_left(tls)


def test_nothing_is_raised_inside_tls(tls):
    # mbedTLS would lose what it has allocated.
    if not MICROPYTHON:
        return
    wire = tls_module.Wire
    session = http.Session(tls["ca"])
    url = say(tls, ["silent"])
    inside = []
    for fault, expected, words in (
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
        (MemoryError(), TransportError, "no memory for the exchange"),
        (OSError(errno.ECONNRESET), TransportError, "ECONNRESET"),
    ):
        for at in (1, 3, 6):
            with replaced(tls_module, Wire=_failing(wire, at, fault, inside)):
                assert words in str(raises(expected, session.get, url))
    assert not inside, inside
    until_left(tls)


def _failing(wire, at, fault, inside):
    """A _Wire whose socket raises at that time that it is read from."""

    class Failing(wire):
        def __init__(self, raw):
            super().__init__(raw)
            self._read = failing(self._read, at, fault)

        def readinto(self, buffer):
            try:
                return super().readinto(buffer)
            except BaseException as e:
                inside.append(e)
                raise

    return Failing


def test_no_memory_for_a_certificate_that_tls_shows(tls):
    if not MICROPYTHON:
        return
    import micropython

    trust = tls_module.Trust(tls["ca"])
    shown = memoryview(bytes(900))
    micropython.heap_lock()
    try:
        answer = trust._see(shown, 0)
    finally:
        micropython.heap_unlock()
    assert answer == 0 and trust.validity() is None


def test_a_loop_keeps_turning_and_a_cancelled_exchange_closes_its_connection(tls, dripping_tls):
    async def main():
        session = http.Session(tls["ca"])
        for url in (say(tls, ["silent"]), dripping_tls["url"]):
            exchange = asyncio.create_task(aio.run_async(session.exchange("GET", url)))
            # A call that blocked would not come back before it had failed.
            for _ in range(30):
                await asyncio.sleep(0.005)
            exchange.cancel()
            try:
                await exchange
            except asyncio.CancelledError:
                pass
            else:
                assert False
        assert (await aio.run_async(session.exchange("GET", say(tls, OK)))).text == "ok"
        session.close()

    asyncio.run(main())
    until_left(tls)
