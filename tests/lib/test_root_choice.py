"""However many roots a board has, TLS holds those of one host, and every host is verified as by all."""

import asyncio
import os

from helpers import logged, raises
from muster import clock, http, log
from muster.errors import ConfigError
from muster.net.tls import MICROPYTHON
from scripts import OK, answer, host_of, refused, requests, say, seen, show, until_left

# (what the server shows, the files of ManyRoots by which a board verifies it)
GOOD = (
    ("00", ["00"]),
    ("03", ["03"]),
    ("by-the-root-itself", ["03"]),
    ("04", ["04", "05"]),
    ("05", ["04", "05"]),
    ("07", ["07"]),
    ("other-strings", ["07"]),
    ("under-08", ["08", "09"]),
    ("cross-signed-newer", ["10"]),
    ("cross-signed-older", ["11"]),
    ("cross-signed-both", ["12"]),
    ("12", ["12"]),
)
STRANGE = ("stranger", "imitator", "authority-for-a-root", "without-its-authority", "imitator-in-future")


def get(server, session):
    """Sends one request over a connection of its own."""
    r = session.post(say(server, answer("ok", "Connection: close")), data=b"secret")
    assert r.text == "ok"


def handshakes(server, since=0):
    """Of each connection whether TLS was made."""
    until_left(server)
    return [bool(connection["received"]) for connection in seen(server)[since:]]


def paths(server, names):
    return [server["folder"] + "/" + name + ".der" for name in names]


def loaded(session):
    return session._trust.roots


def noted(server, session):
    return session.roots["https", host_of(server["url"]), int(server["url"].rpartition(":")[2])]


def copy(names, server, folder):
    """The files of those names, put into a folder under the names that follow."""
    for name, new in names:
        with open(server["folder"] + "/" + name + ".der", "rb") as f:
            data = f.read()
        with open(folder + "/" + new, "wb") as f:
            f.write(data)


def test_a_host_is_verified_by_the_roots_that_fit_it_alone(moving_tls):
    server = moving_tls
    for kind, names in GOOD:
        show(server, kind)
        before = len(seen(server))
        with http.Session(server["folder"]) as session:
            get(server, session)
            if MICROPYTHON:
                assert noted(server, session) == paths(server, names), (kind, noted(server, session))
            session.close()
            for _ in range(2):
                get(server, session)
                if MICROPYTHON:
                    assert loaded(session) == paths(server, names), kind
        # The first root was tried, in vain. Now it is known which it is.
        in_vain = [False] if MICROPYTHON and names != ["00"] else []
        assert handshakes(server, before) == in_vain + [True] * 3, kind


def test_a_ca_may_change_at_any_time(moving_tls):
    server = moving_tls
    session = http.Session(server["folder"])
    # From each to each other that is not verified by the same.
    for kind, names in GOOD:
        show(server, kind)
        get(server, session)
        if MICROPYTHON:
            assert noted(server, session) == paths(server, names), (kind, noted(server, session))
    changes = sum(GOOD[i][1] != GOOD[i - 1][1] for i in range(1, len(GOOD)))
    assert handshakes(server).count(False) == (changes if MICROPYTHON else 0)


def test_who_is_verified_by_none_is_refused(moving_tls):
    server = moving_tls
    for known in ("03", "12"):
        session = http.Session(server["folder"])
        show(server, known)
        get(server, session)
        before = len(seen(server))
        for kind in STRANGE:
            show(server, kind)
            assert "no trusted root" in refused(say(server, OK), session, "POST", data=b"secret"), kind
        # Those that bear a name which is known have one try more.
        shakes = handshakes(server, before)
        assert True not in shakes
        more = 2 if MICROPYTHON and known != "03" else 0
        assert len(shakes) == len(STRANGE) + more, (known, shakes)
        show(server, known)
        get(server, session)
        assert handshakes(server, before)[len(shakes) :][-1:] == [True]


def test_an_expired_root_is_no_reason_to_go_on(moving_tls):
    show(moving_tls, "06")
    session = http.Session(moving_tls["folder"])
    assert "expired" in refused(moving_tls["url"], session)
    assert True not in handshakes(moving_tls)


def test_one_root_costs_no_second_handshake(moving_tls, tmp):
    server = moving_tls
    copy([("03", "ours.der")], server, tmp)
    for ca in (tmp, tmp + "/ours.der", [tmp + "/ours.der"], [[tmp]]):
        before = len(seen(server))
        session = http.Session(ca)
        show(server, "03")
        get(server, session)
        show(server, "04")
        assert "no trusted root" in refused(server["url"], session)
        assert handshakes(server, before) == [True, False], ca


def test_lists_of_files_and_bytes(moving_tls, tmp):
    server = moving_tls
    with open(paths(server, ["12"])[0], "rb") as f:
        der = f.read()
    show(server, "03")
    for ca in (
        paths(server, ["01", "02", "03"]),
        [der, server["folder"]],
        [tmp] + paths(server, ["03", "02"]),
    ):
        session = http.Session(ca)
        get(server, session)
        if MICROPYTHON:
            assert loaded(session) == paths(server, ["03"]), ca
    # Bytes are in memory anyway: they are loaded all, and need no second handshake.
    show(server, "12")
    before = len(seen(server))
    get(server, http.Session(paths(server, ["01", "02"]) + [der]))
    assert handshakes(server, before) == [True]


def test_two_hosts_with_two_roots(moving_tls, other_moving_tls):
    hosts = moving_tls, other_moving_tls
    session = http.Session(moving_tls["folder"])
    for host, kind in zip(hosts, ("03", "11")):
        show(host, kind)
    for _ in range(3):
        for host, kind in zip(hosts, ("03", "11")):
            get(host, session)
            if MICROPYTHON:
                assert loaded(session) == paths(host, [kind])
    for host in hosts:
        assert handshakes(host) == [False] * MICROPYTHON + [True] * 3
    # Neither takes its connection from the other.
    for _ in range(3):
        for host in hosts:
            assert session.get(say(host, OK)).text == "ok"
    for host in hosts:
        assert requests(host)[-1] == 3
    session.close()
    # A host of the same root needs nothing else.
    show(other_moving_tls, "03")
    with http.Session(moving_tls["folder"]) as session:
        get(moving_tls, session)
        before = len(seen(other_moving_tls))
        get(other_moving_tls, session)
        assert handshakes(other_moving_tls, before) == [True]


def test_two_hosts_at_a_time(moving_tls, other_moving_tls):
    hosts = moving_tls, other_moving_tls
    for host, kind in zip(hosts, ("05", "12")):
        show(host, kind)

    async def main():
        async with http.AsyncSession(moving_tls["folder"]) as session:
            answers = await asyncio.gather(*[session.get(say(host, OK)) for host in hosts * 2])
            assert [r.text for r in answers] == ["ok"] * 4
            if MICROPYTHON:
                for host, names in zip(hosts, (["04", "05"], ["12"])):
                    assert noted(host, session) == paths(host, names)

    asyncio.run(main())
    for host in hosts:
        until_left(host)


def test_no_more_hosts_are_remembered_than_a_board_can_hold(moving_tls):
    session = http.Session(moving_tls["folder"])
    session.roots = {n: ["x"] for n in range(100)}
    get(moving_tls, session)
    assert len(session.roots) == (1 if MICROPYTHON else 100)


def test_files_that_an_update_has_replaced_are_no_roots(moving_tls, tmp):
    server = moving_tls
    copy([("03", "a.der.old~")], server, tmp)
    show(server, "03")
    assert tmp in str(raises(ConfigError, http.Session(tmp).get, server["url"]))
    for name in ("01", "02"):
        copy([(name, name + ".der")], server, tmp)
    log._said.clear()
    with logged() as lines:
        assert "no trusted root" in refused(server["url"], http.Session(tmp))
    assert not lines and True not in handshakes(server)


def test_a_root_that_has_gone_and_one_that_is_damaged(moving_tls, tmp):
    server = moving_tls
    copy([("02", "a.der"), ("03", "c.der")], server, tmp)
    show(server, "03")
    session = http.Session(tmp)
    get(server, session)
    os.remove(tmp + "/c.der")
    copy([("03", "d.der"), ("04", "e.der")], server, tmp)
    with open(tmp + "/b.der", "wb") as f:
        f.write(b"0nothing")
    session.close()
    log._said.clear()
    with logged() as lines:
        get(server, session)
    assert len([line for line in lines if "b.der" in line]) == 1, lines
    if MICROPYTHON:
        assert loaded(session) == [tmp + "/d.der"]


def test_a_clock_that_is_behind_and_a_root_that_is_not_known(moving_tls):
    server = moving_tls
    was = clock.set_floor
    floors = []

    def set_floor(t):
        floors.append(t)
        return False

    clock.set_floor = set_floor
    try:
        for kind, times in (("imitator-in-future", []), ("future", [server["starts"]])):
            show(server, kind)
            text = refused(server["url"], http.Session(server["folder"]))
            assert ("no trusted root" in text) == (not times), text
            assert ("not valid yet" in text) or not times, text
            # By nobody else's word is a clock set.
            assert floors == (times if MICROPYTHON else []), (kind, floors)
    finally:
        clock.set_floor = was
    assert True not in handshakes(server)
