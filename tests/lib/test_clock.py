"""muster.clock, on a board whose real-time clock the test holds in its hands, and on a laptop."""

import asyncio
import sys
import time

from clock_board import EPOCH, LONG, RELEASED, ClockBoard, gmtime
from muster import clock, ntp
from muster.clock import ticks_diff, ticks_ms
from muster.net import aio

NEW_YEARS_EVE = 1798675200  # 2026-12-31T00:00:00Z


def test_unix():
    # Up to the year 2100, where the calendar of a chip's MicroPython ends.
    for second in range(0, 4102444800, 86400 * 13 + 3607):
        assert clock.unix(gmtime(second)) == second
    for parts, second in (
        ((1970, 1, 1, 0, 0, 0), 0),
        ((1969, 12, 31, 23, 59, 59), -1),
        ((2000, 1, 1, 0, 0, 0), 946684800),
        ((2000, 2, 29, 12, 0, 0), 951825600),
        ((2024, 2, 29, 23, 59, 59), 1709251199),
        ((2026, 11, 22, 0, 0, 0), RELEASED),
        ((2038, 1, 19, 3, 14, 8), 1 << 31),
        ((2100, 3, 1, 0, 0, 0), 4107542400),
        ((2106, 2, 7, 6, 28, 16), 1 << 32),
    ):
        assert clock.unix(parts) == second


def test_parse_date():
    assert clock.parse_date("Sun, 22 Nov 2026 04:41:21 GMT") == RELEASED + 4 * 3600 + 41 * 60 + 21
    assert clock.parse_date("Sun, 06 Nov 1994 08:49:37 GMT") == 784111777
    for text in (
        None,
        "",
        "now",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 08:49:37 CST",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Now 1994 08:49:37 GMT",
        "Sun, 06 anF 1994 08:49:37 GMT",
        "Sun, 06 JanFeb 1994 08:49:37 GMT",
        "Sun, 06  1994 08:49:37 GMT",
        "Sun, x Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov x 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49 GMT",
        "Sun, 06 Nov 1994 08:49:x GMT",
        "Sun, 06 Nov 1994 08:49:37:0 GMT",
        "\xe4, 06 Nov 1994 08:49:37 GMT ",
    ):
        assert clock.parse_date(text) is None, text


def test_now_is_an_int():
    assert isinstance(clock.now(), int) and abs(clock.now() - EPOCH - int(time.time())) <= 1
    with ClockBoard(5, 946684800):
        assert clock.now() == 5


def test_a_laptop_is_trusted_and_never_set(laptop):
    assert clock.trusted()
    assert not clock.set_floor(clock.now() + 1000000)
    clock._floor = clock.RELEASED


def test_set_floor():
    for epoch in (0, 946684800):
        with ClockBoard(946684800, epoch) as board:
            assert clock.set_floor(0) and board.now == clock.RELEASED
            assert not clock.set_floor(clock.RELEASED - 5) and board.set == 1
            assert clock.set_floor(NEW_YEARS_EVE) and board.now == NEW_YEARS_EVE
            assert not clock.set_floor(NEW_YEARS_EVE) and board.set == 2
            board.now -= 1
            assert clock.set_floor(clock.RELEASED) and board.now == NEW_YEARS_EVE
            assert not clock.trusted()


def test_a_floor_does_not_move_a_clock_that_has_been_told_the_time():
    with ClockBoard(NEW_YEARS_EVE) as board:
        assert clock.set_from_date("Thu, 31 Dec 2026 00:00:00 GMT")
        assert not clock.set_floor(NEW_YEARS_EVE + 86400)  # what begins tomorrow has not begun
        assert board.now == NEW_YEARS_EVE
        clock.distrust()
        assert clock.set_floor(NEW_YEARS_EVE + 5) and board.now == NEW_YEARS_EVE + 5


def test_a_clock_that_somebody_sets_is_put_back_once_it_has_been_told_the_time():
    for epoch in (0, 946684800):
        with ClockBoard(NEW_YEARS_EVE, epoch) as board:
            watch = clock.Watch(clock)
            assert watch.jumped() == 0
            board.now += 86400
            assert watch.jumped() == 86400 and board.set == 0  # whoever set it may know the time
            assert clock.set_from_date("Thu, 31 Dec 2026 00:00:00 GMT")
            assert abs(watch.jumped() + 86400) <= 1  # this module did
            for wrong in (-3, 3, 400, 315360000, -315360000):
                board.now += wrong
                sets = board.set
                assert watch.jumped() == 0 and board.set == sets + 1
                assert abs(board.now - NEW_YEARS_EVE) <= 1 and watch.jumped() == 0
            board.now += 1  # rounding
            assert watch.jumped() == 0 and board.now == NEW_YEARS_EVE + 1


class Foreign:
    """A program's own clock, with ticks or without."""

    time = NEW_YEARS_EVE

    def now(self):
        return self.time


def test_another_clock_is_watched_if_it_has_ticks_and_never_set():
    with ClockBoard(NEW_YEARS_EVE) as board:
        assert clock.set_from_date("Thu, 31 Dec 2026 00:00:00 GMT")
        theirs = Foreign()
        watch = clock.Watch(theirs)
        watch.jumped()
        theirs.time += 1000
        assert watch.jumped() == 0
        theirs.ticks_ms = ticks_ms
        watch = clock.Watch(theirs)
        watch.jumped()
        theirs.time += 1000
        assert watch.jumped() == 1000 and watch.jumped() == 0 and board.set == 1
        assert theirs.time == NEW_YEARS_EVE + 2000 and board.now == NEW_YEARS_EVE


def test_set_from_date():
    date = "Thu, 31 Dec 2026 00:00:00 GMT"
    for epoch in (0, 946684800):
        with ClockBoard(946684800, epoch) as board:
            assert not clock.trusted()
            for wrong in (None, "x", "Sat, 01 Jan 2000 00:00:00 GMT"):
                assert not clock.set_from_date(wrong) and not clock.trusted() and not board.set
            # The certificate of the server that says so has ended by then.
            assert not clock.set_from_date(date, NEW_YEARS_EVE - 1) and not board.set
            assert clock.set_from_date(date, NEW_YEARS_EVE) and clock.trusted()
            assert board.now == NEW_YEARS_EVE and board.set == 1
            # A Date is coarse: it corrects a clock that is wrong, not one that is right.
            for drift in (-30, -1, 0, 30):
                board.now = NEW_YEARS_EVE + drift
                assert clock.set_from_date(date) and board.set == 1
            for drift in (-31, 31):
                board.now = NEW_YEARS_EVE + drift
                assert clock.set_from_date(date) and board.now == NEW_YEARS_EVE
            assert board.set == 3
            clock.distrust()
            assert not clock.trusted()
            board.now += 1
            assert clock.set_from_date(date) and board.set == 4 and clock.trusted()


def test_sync(ntp):
    for epoch in (0, 946684800):
        with ClockBoard(946684800, epoch) as board:
            assert clock.sync([ntp["good"]]) and clock.trusted()
            assert (board.now, board.set) == (ntp["time"], 1)


def test_sync_in_the_era_after_2036(ntp):
    with ClockBoard(946684800) as board:
        assert clock.sync([ntp["2036"]]) and board.now == 2090000000


def test_sync_believes_no_bad_answer(ntp):
    with ClockBoard(946684800) as board:
        for name in (
            "other nonce",
            "no stratum",
            "stratum 16",
            "unsynchronised",
            "a client",
            "short",
            "past",
            "nothing",
        ):
            start = ticks_ms()
            assert not clock.sync([ntp[name]]), name
            assert ticks_diff(ticks_ms(), start) < LONG, name
        clock.set_floor(ntp["time"] + 1)
        assert board.set == 1
        assert not clock.sync([ntp["good"]])  # before what has certainly passed
        assert board.set == 1 and not clock.trusted()


def test_sync_goes_on_to_the_next_server(ntp, dead_url):
    nobody = dead_url[7:]
    with ClockBoard(946684800, wait=1000) as board:
        start = ticks_ms()
        assert not clock.sync([ntp["silent"]])
        assert 950 < ticks_diff(ticks_ms(), start) < LONG
        assert not clock.sync([]) and not clock.sync([nobody, "127.0.0.1:x", "nowhere.invalid", "a..b"])
        assert clock.sync([nobody, ntp["silent"], ntp["past"], ntp["good"], ntp["2036"]])
        assert board.now == ntp["time"]


class Addresses:
    """While in `with`, every name has these addresses: "host:port", None or an empty tuple."""

    def __init__(self, *addresses):
        import socket

        self._real = socket
        self._addresses = addresses
        self.socket = socket.socket
        self.SOCK_DGRAM = socket.SOCK_DGRAM

    def getaddrinfo(self, host, port, *more):
        found = []
        for address in self._addresses:
            host, _, port = (address or "127.0.0.1:123").partition(":")
            entry = self._real.getaddrinfo(host, int(port), *more)[0]
            found.append(entry if address else entry[:-1] + (address,))
        return found

    def __enter__(self):
        sys.modules["socket"] = ntp.socket = self

    def __exit__(self, *_):
        sys.modules["socket"] = ntp.socket = self._real


def test_each_address_of_a_time_server_is_asked(ntp, dead_url):
    nobody = dead_url[7:]
    for addresses, told in (
        ((ntp["silent"], ntp["good"]), True),
        ((None, (), nobody, ntp["good"]), True),
        ((ntp["stratum 16"], ntp["good"]), True),
        ((None, ()), False),
        ((), False),
    ):
        with ClockBoard(946684800, wait=2000) as board, Addresses(*addresses):
            assert clock.sync(["time.example"]) == told, addresses
            assert not told or board.now == ntp["time"]
    with ClockBoard(946684800, wait=300), Addresses(*[ntp["silent"]] * 3):
        start = ticks_ms()
        assert not clock.sync(["time.example"])
        assert ticks_diff(ticks_ms(), start) >= 290


def test_where_certificates_do_not_fit_the_next_server_is_asked_and_in_the_end_none(ntp):
    servers = [ntp["2036"], ntp["good"]]
    with ClockBoard(946684800, wait=1000) as board:
        clock.set_floor(NEW_YEARS_EVE)
        for told in (2090000000, ntp["time"]):
            assert clock.sync(servers) and board.now == told
            clock.distrust()
            assert clock.sync(servers) and board.now == told  # it was not the clock
            clock.distrust(True)
        assert not clock.sync(servers) and board.now == NEW_YEARS_EVE and not clock.trusted()
        assert clock.set_floor(NEW_YEARS_EVE + 60)  # what a certificate says then
        clock.distrust()
        assert clock.sync(servers) and board.now == 2090000000
        # Without servers there is nobody to do without.
        clock.distrust(True)
        assert not clock.sync([]) and board.now == 2090000000


def test_a_verified_date_is_what_has_certainly_passed(ntp):
    with ClockBoard(946684800) as board:
        clock.set_floor(2090000000)
        assert not clock.sync([ntp["good"]])
        assert clock.set_from_date("Thu, 31 Dec 2026 00:00:00 GMT")
        clock.distrust()
        assert clock.sync([ntp["good"]]) and board.now == ntp["time"]


def test_a_cancelled_sync_ends_at_once(ntp):
    async def main():
        asking = asyncio.create_task(aio.run_async(clock.synchronise([ntp["silent"]] * 9)))
        await asyncio.sleep(0.05)
        asking.cancel()
        try:
            await asking
        except asyncio.CancelledError:
            pass

    with ClockBoard(946684800) as board:
        start = ticks_ms()
        asyncio.run(main())
        assert ticks_diff(ticks_ms(), start) < LONG and not board.set


def test_what_asks_for_the_time_leaves_a_board_s_memory(ntp):
    with ClockBoard(946684800, wait=1000):
        for name in ("good", "nothing"):
            clock.sync([ntp[name]])
            assert ("muster.ntp" in sys.modules) == (sys.implementation.name == "cpython")


def test_ticks():
    start = ticks_ms()
    assert ticks_diff(clock.ticks_add(start, 1500), start) == 1500
    time.sleep(0.02)
    assert 15 < ticks_diff(ticks_ms(), start) < LONG
