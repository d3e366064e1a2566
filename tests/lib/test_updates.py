"""What a board does with releases, good, bad and forged: an agent whose flash is a folder."""

import asyncio
import binascii
import os
import sys

from agent_world import CONFIG, SECRET
from helpers import logged, raises, replaced
from muster import clock, jwt, last, staging, trial, update
from muster.errors import Error, TransportError
from pem_keys import KEY, OTHER_KEY, OTHER_PUBLIC, PUBLIC
from update_world import (  # noqa: F401
    BEFORE,
    CRASH,
    DAY,
    ENOSPC,
    TRIAL,
    Board,
    ChipMachine,
    Restart,
    digest,
    got,
    signed,
    stored,
    teardown_function,
)


def nothing_left(board):
    return not [path for path in board.files() if path.startswith("/update/") or path.endswith("~")]


NEW = {"/main.py": b"# main of 2", "/lib/a.py": None, "/lib/a.mpy": b"M\x06", "/more/of/it": b"new"}


# A good one


def test_a_release_is_taken_whole_and_told(tmp):
    board = Board(tmp).heard()
    files = board.offer(2, NEW)
    assert board.status("build") == 1
    board.takes()
    assert board.files() == files and nothing_left(board)
    assert (board.status("build"), board.status("on_trial"), board.status("version")) == (2, False, "1.2")
    board.web.fetched()
    assert board.look() == "" and board.web.fetched() == []


def test_only_what_differs_is_fetched(tmp):
    board = Board(tmp).heard()
    files = board.offer(2, {"/lib/a.py": b"a = 2"})
    board.takes()
    changed = ("/boot.py", "/build.json", "/lib/a.py")
    assert sorted(board.web.fetched()) == sorted([digest(files[path]) for path in changed])


def test_a_person_need_not_wait_for_its_time(tmp):
    board = Board(tmp)
    agent = board.switch_on()
    # A trial must end with a heartbeat, and with no look for a release.
    raises(Error, agent.look)
    agent.report()
    files = board.offer(2, NEW)
    agent.look()
    board.clock.time = agent._schedule.wake  # a heartbeat comes first
    agent.step()
    raises(Restart, agent.step)
    board.switch_on()
    board.agent.step()
    assert board.files() == files


# Manifests that are not followed


def refuses(board, fragment, *fetched):
    before = board.files()
    said = board.look()
    assert said.startswith("warning: no update: ") and fragment in said, said
    assert board.web.fetched() == list(fetched)
    after = board.files()
    assert {path: after[path] for path in after if not path.startswith("/update/")} == before
    board.heard()


def test_an_older_build_is_not_taken_again(tmp):
    board = Board(tmp).heard()
    board.offer(2)
    old = board.web.files["manifest.jwt"]
    board.offer(3)
    board.takes()
    board.web.fetched()
    board.web.files["manifest.jwt"] = old
    board.web.etag = '"old"'
    refuses(board, "build 2 is offered, and build 3 was before")
    # Nor is one older than what was only seen.
    board.offer(9, rollout=0)
    assert board.look() == ""
    board.offer(8)
    refuses(board, "build 8 is offered, and build 9 was before")


def test_a_manifest_that_stays_the_same_for_long_shows_its_age(tmp):
    board = Board(tmp).heard()
    assert board.status("manifest_age") is None
    board.offer(1)
    for _ in range(3):
        board.look()
    assert board.status("manifest_age") > 2 * DAY * 3 // 4


def test_only_a_manifest_for_this_board_is_followed(tmp):
    board = Board(tmp).heard()
    others = {"aud": "muster", "product": "p2", "mpy": "6", "files": [], "rollout": 101}
    for name in others:
        board.offer(3, **{name: others[name]})
        refuses(board, "manifest's %s is not what" % name if name != "files" else "lacks /boot.py")
    if hasattr(sys.implementation, "_mpy"):
        board.offer(3, mpy=5)
        refuses(board, "build 3 wants .mpy files of version 5")
    board.offer(3, micropython=[9, 0])
    refuses(board, "build 3 wants MicroPython from 9.0 on")
    board.offer(3, {"/../x": b""})
    refuses(board, "must not name this path")


def test_only_a_makers_key_signs(tmp):
    board = Board(tmp).heard()
    board.offer(2, key=OTHER_KEY)
    refuses(board, "verified by none of the keys in /keys")
    board.offer(2)
    token = board.web.files["manifest.jwt"]
    for spoilt in (token[:-9], token[:40] + b"A" + token[41:], b"", b"\xff" * 60, b"<html>", b"." * 9000):
        board.web.files["manifest.jwt"], board.web.etag = spoilt, digest(spoilt)
        refuses(board, "manifest")
    os.remove(tmp + "/keys/maker.pem")
    before = board.look()
    assert "none of the keys in /keys: there is none" in before, before


def test_a_key_of_two_is_enough_and_what_is_none_does_not_harm(tmp):
    board = Board(tmp).heard()
    board.put("/keys/a.pem", b"no key")
    board.put("/keys/b.pem", OTHER_PUBLIC.encode())
    board.put("/keys/maker.pem.old~", b"not looked at")
    board.offer(2)
    board.tries()


def test_a_clock_that_is_wrong(tmp):
    board = Board(tmp).heard()
    board.offer(2, iat=clock.now() + 2 * DAY)
    refuses(board, "not valid yet (iat): is the clock right?")
    board.offer(2, exp=clock.now() - 2 * DAY)
    refuses(board, "has expired (exp)")
    board.offer(2, iat=clock.now() + DAY // 2, exp=clock.now() + DAY)
    board.tries()


# Bodies


def endless():
    return b"x" * 1024


def test_an_endless_manifest(tmp):
    board = Board(tmp).heard()
    board.web.instead["manifest.jwt"] = lambda request: (200, {}, endless)
    refuses(board, "the manifest is longer than 16384 bytes")


def test_a_manifest_that_is_not_there_is_asked_for_again_soon(tmp):
    board = Board(tmp).heard()
    for status, headers in ((404, {}), (500, {}), (301, {"location": "https://elsewhere/"})):
        board.web.instead["manifest.jwt"] = lambda request: (status, headers, b"")  # noqa: B023
        said = board.look()
        assert "answered %d" % status in said, said
        assert 1800 <= board.agent._look - board.clock.time <= 3600


BIG = bytes([n * n % 251 for n in range(6000)])  # longer than what is inflated in memory


def test_bodies_that_are_not_what_the_manifest_says(tmp):
    board = Board(tmp).heard()
    for number, data in enumerate((b"a = 2", BIG)):
        files = board.offer(2 + number, {"/lib/a.py": data})
        name = digest(data)
        good = board.web.files[name]
        for body in (
            good[:-1],  # cut short
            good[:-1] + b"?",
            b"",
            b"\xff" * len(good),  # garbage
            b"<html>captive portal</html>",
            stored(data + b"x"),  # longer
            stored(data[:-1]),
            endless,
            stored(bytes(20000)),
        ):
            board.web.instead[name] = lambda request: (200, {}, body)  # noqa: B023
            said = board.look()
            assert "no update: /lib/a.py is " in said, (said, body if body == endless else body[:9])
            left = os.listdir(tmp + "/update")
            assert not [n for n in left if n.startswith(name)], left
            assert len(left) < 5, left
        del board.web.instead[name]
        board.takes()
        assert board.files() == files


def test_a_bomb_fills_no_flash(tmp):
    board = Board(tmp).heard()
    board.offer(2, {"/lib/a.py": b"a = 2"})
    # 40,000 zeros.
    bomb = binascii.unhexlify(
        "edc13101000000c2a0f54fed650ba00000000000000000000000000000000000000000000000000000000000000000000000000000801b"
    )
    board.web.instead[digest(b"a = 2")] = lambda request: (200, {}, bomb)
    written = []
    fill = staging._fill

    def counting(path, stream, most=0xFFFFFF):
        written.append((yield from fill(path, stream, most)))
        return written[-1]

    with replaced(staging, _fill=counting):
        assert "/lib/a.py is not what the manifest says" in board.look()
    assert max(written) <= 1024


def interrupted(board, data):
    """A download of data that breaks off after 5,000 bytes."""
    pieces = [board.web.files[digest(data)][at : at + 1000] for at in range(0, 5000, 1000)]

    def piece():
        if not pieces:
            raise TransportError("the network is gone")
        return pieces.pop(0)

    board.web.instead[digest(data)] = lambda request: (200, {}, piece)
    assert "the network is gone" in board.look()
    del board.web.instead[digest(data)]


def test_a_long_download_goes_on_where_it_was_interrupted(tmp):
    board = Board(tmp).heard()
    files = board.offer(2, {"/lib/a.py": BIG})
    interrupted(board, BIG)
    board.switch_on()
    ranges = []
    answer = board.web.files[digest(BIG)]

    def range_(request):
        ranges.append(request.headers["Range"])
        first = int(ranges[-1][6:-1])
        return (
            206,
            {"content-range": "bytes %d-%d/%d" % (first, len(answer) - 1, len(answer))},
            answer[first:],
        )

    board.heard()
    board.web.instead[digest(BIG)] = range_
    board.takes()
    assert ranges == ["bytes=5000-"] and board.files() == files


def test_a_server_that_does_not_know_ranges_or_gives_a_wrong_one(tmp):
    board = Board(tmp).heard()
    for build, (status, headers, first, fragment) in enumerate(
        (
            (200, {}, 0, ""),
            (206, {"content-range": "bytes 0-6004/6005"}, 0, "answered 206, or another range"),
            (206, {}, 5000, "answered 206, or another range"),
            (206, {"content-range": "bytes 5000-6004/6005"}, 4000, "longer than the manifest says"),
            (416, {}, 6005, "answered 416"),
            (404, {}, 6005, "answered 404"),
        )
    ):
        data = bytes([build]) + BIG
        files = board.offer(2 + build, {"/lib/a.py": data})
        interrupted(board, data)
        answer = board.web.files[digest(data)]
        board.web.instead[digest(data)] = lambda request: (status, headers, answer[first:])  # noqa: B023
        if fragment:
            assert fragment in board.look()
            # What is wrong does not stay: the next try is from the beginning.
            assert not [name for name in os.listdir(tmp + "/update") if name.endswith(".z")]
            del board.web.instead[digest(data)]
        board.takes()
        assert board.files() == files
        board.heard()


# Flash


def test_flash_without_room_is_told_before_anything_is_fetched(tmp):
    board = Board(tmp).heard()
    board.offer(2, {"/lib/a.py": BIG})
    for free, total in ((7, 512), (4294967290, 512)):
        statvfs = lambda path: (4096, 4096, total, free, free)  # noqa: B023, E731
        with replaced(staging, os=Os(statvfs=statvfs)):
            assert "flash has no room for the release" in board.look()
    assert board.web.fetched() == []
    board.tries()


def test_flash_that_is_full_half_way_is_cleared_for_the_devices_own_records(tmp):
    board = Board(tmp).heard()
    board.offer(2, {"/lib/a.py": BIG})
    fill = staging._fill

    def full(path, stream, most=0xFFFFFF):
        yield from fill(path, stream, 100)
        raise OSError(ENOSPC)

    with replaced(staging, _fill=full):
        assert "no update: " in board.look()
    left = os.listdir(tmp + "/update")
    assert left == [], left
    board.tries()


class Os:
    """The module with something else in it."""

    def __init__(self, **names):
        for name in names:
            setattr(self, name, names[name])

    def __getattr__(self, name):
        return getattr(os, name)


def test_a_folder_in_a_files_place_and_the_reverse(tmp):
    board = Board(tmp).heard()
    board.put("/data/x", b"1")
    board.put("/file", b"1")
    board.offer(2, {"/data": b"1"})
    assert "/data is in the way" in board.look()
    board.offer(3, {"/file/x": b"1"})
    assert "/file is in the way" in board.look()
    assert board.web.fetched() == []


# An asyncio program


def test_an_asyncio_programs_loop_turns_all_the_while(tmp):
    """Judged by what another task has done: it has a turn with every request and every buffer."""
    board = Board(tmp)
    board.heard()
    many = {"/more/%d" % n: b"file %d" % n for n in range(12)}
    files = board.offer(2, dict(many, **{"/lib/a.py": BIG}))
    board.clock.time = board.agent._look
    turns, at_request, at_buffer = [0], [], []

    def noting(function, turns_then):
        def call(*args):
            turns_then.append(turns[0])
            return function(*args)

        return call

    class Noted:
        def __init__(self, stream):
            self.readinto = noting(stream.readinto, at_buffer)

    inflating = staging._inflating

    async def others():
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    async def main():
        other = asyncio.create_task(others())
        try:
            await board.agent.task()
        except Restart:
            other.cancel()

    board.web.send = noting(board.web.send, at_request)
    with replaced(staging, _inflating=lambda stream: Noted(inflating(stream))):
        asyncio.run(main())
    for turns_then in (at_request, at_buffer):
        assert len(turns_then) >= 14
        assert len(set(turns_then)) == len(turns_then), turns_then
    board.switch_on(CRASH)
    board.agent.step()
    assert board.files() == files


# When a build has failed


def crashes(board):
    """A build that crashes three times on trial; the one before is back then."""
    board.tries()
    for cause in (CRASH, CRASH, CRASH):
        board.switch_on(cause)
    assert trial.on_trial()
    board.switch_on(CRASH)


def test_a_build_that_crashes_is_never_taken_again_and_the_next_is(tmp):
    board = Board(tmp).heard()
    board.offer(2, NEW)
    with logged() as lines:
        crashes(board)
    assert "build 2 crashed: the one before is back" in "\n".join(lines)
    files = board.files()
    assert {path: files[path] for path in BEFORE} == BEFORE and len(files) == len(BEFORE)
    board.agent.step()
    assert (board.status("build"), board.status("refused_build")) == (1, 2)
    for _ in range(3):
        assert board.look() == ""
    files = board.offer(3, NEW)
    board.takes()
    assert board.files() == files and board.status("build") == 3


def test_two_builds_do_not_follow_each_other_for_ever(tmp):
    """2 crashes, 3 crashes; with 2 offered again, and 3 again, nothing is taken."""
    board = Board(tmp).heard()
    tokens = []
    for build in (2, 3):
        board.offer(build)
        tokens.append(board.web.files["manifest.jwt"])
        crashes(board)
        board.agent.step()
    board.web.fetched()
    for n in range(4):
        board.web.files["manifest.jwt"], board.web.etag = tokens[n % 2], str(n)
        assert not board.look().endswith("restarts")
        board.heard()
    assert board.web.fetched() == [] and board.status("build") == 1


def is_not_heard(board):
    """A trial that ends after six hours in which the network was there."""
    board.web.up = False
    board.tries()
    board.switch_on(CRASH)
    for _ in range(35):
        board.agent.step()
        board.ten_minutes()
    raises(Restart, board.ten_minutes)
    board.switch_on(CRASH)


def test_a_build_that_is_not_heard_is_refused_if_the_one_before_is_heard(tmp):
    for hours, refused in ((1, 2), (7, None)):
        board = Board(tmp).heard()
        board.put("/build.json", BEFORE["/build.json"])
        board.offer(2)
        is_not_heard(board)
        assert board.status("build") == 1 and nothing_left(board)
        board.clock.time += hours * 3600
        board.web.up = True
        board.agent.report()
        assert board.status("refused_build") == refused
        for slot in "01":
            os.remove("%s/state/update.%s" % (tmp, slot))


def test_a_heartbeat_on_trial_clears_what_was_counted(tmp):
    board = Board(tmp).heard()
    board.offer(2, {"/keys/other.pem": OTHER_PUBLIC.encode()})
    board.tries()
    board.switch_on(CRASH)
    board.switch_on(CRASH)
    assert trial.read("/update/starts") == "0c"
    board.agent.report()
    assert trial.read("/update/starts") == "0" and trial.on_trial()


# Keys


def test_a_build_with_other_keys_stays_once_it_has_verified_a_manifest(tmp):
    board = Board(tmp).heard()
    files = board.offer(2, {"/keys/other.pem": OTHER_PUBLIC.encode(), "/keys/maker.pem": None}, key=KEY)
    old = board.web.files["manifest.jwt"]
    board.tries()
    board.switch_on(CRASH)
    board.agent.step()
    assert trial.on_trial()
    # Signed by the key that is gone, it says nothing.
    assert "verified by none" in board.look() and trial.on_trial()
    claims = jwt.decode(old.decode(), PUBLIC, "RS256")
    board.web.files["manifest.jwt"] = signed(claims, OTHER_KEY)
    board.web.etag = '"by the other"'
    board.look()
    assert not trial.on_trial() and board.files() == files


def test_a_build_whose_keys_verify_nothing_goes_back(tmp):
    board = Board(tmp).heard()
    board.offer(2, {"/keys/maker.pem": OTHER_PUBLIC.encode()})
    board.tries()
    board.switch_on(CRASH)
    board.agent.step()
    for _ in range(35):
        board.ten_minutes()
    raises(Restart, board.ten_minutes)
    board.switch_on(CRASH)
    assert board.status("build") == 1 and board.files() == BEFORE


# Programs, shares, successions


def test_a_program_that_is_not_ready_is_not_disturbed(tmp):
    board = Board(tmp)
    answers = [False]
    board.ready = lambda: answers[0]
    board.heard()
    board.offer(2)
    assert board.look() == "" and board.web.asked == []
    assert board.agent._look - board.clock.time == 60
    # It is, and no more when all is there.
    answers[0] = True
    calls = []
    board.agent.ready = lambda: not calls.append(1) and len(calls) < 2
    assert "restarts" not in board.look()
    assert board.web.fetched()
    board.agent.ready = lambda: True
    assert board.look().endswith("restarts") and board.web.fetched() == []


def test_what_one_release_has_fetched_serves_the_next(tmp):
    board = Board(tmp).heard()
    board.offer(2, {"/lib/a.py": BIG, "/lib/b.py": b"b = 2"})
    asked = []
    board.agent.ready = lambda: not asked.append(1) and len(asked) < 2
    assert "restarts" not in board.look()
    assert digest(BIG) in board.web.fetched()
    board.agent.ready = None
    files = board.offer(3, {"/lib/a.py": BIG, "/lib/b.py": b"b = 3"})
    board.takes()
    assert digest(BIG) not in board.web.fetched() and board.files() == files


def test_a_share_of_the_devices_grows_and_never_shrinks(tmp):
    board = Board(tmp).heard()
    agent, shares = board.agent, []
    for rollout in (0, 1, 30, 60, 100):
        taking = set()
        for number in range(300):
            agent._device_no = "n%d" % number
            if update._turn(agent, {"build": 7, "rollout": rollout}):
                taking.add(number)
        assert not shares or taking >= shares[-1]
        shares.append(taking)
    assert not shares[0] and len(shares[4]) == 300 and 60 < len(shares[2]) < 120 < len(shares[3]) < 240
    # Another build has others first.
    others = set()
    for number in range(300):
        agent._device_no = "n%d" % number
        if update._turn(agent, {"build": 8, "rollout": 30}):
            others.add(number)
    assert others != shares[2]


def test_a_share_that_is_not_this_ones_yet_is_asked_for_cheaply(tmp):
    board = Board(tmp).heard()
    board.offer(2, rollout=0)
    assert board.look() == ""
    board.web.files["manifest.jwt"] = b"not sent again"
    assert board.look() == "" and board.web.fetched() == []
    files = board.offer(2, rollout=100)
    board.takes()
    assert board.files() == files


def test_after_a_return_the_manifest_is_read_again(tmp):
    board = Board(tmp).heard()
    board.offer(1)
    board.look()
    assert update._record()["etag"] == board.web.etag
    board.offer(2)
    crashes(board)
    assert update._record()["etag"] == ""


# The User-Agent


def test_the_user_agent_tells_the_maker_how_it_is(tmp):
    board = Board(tmp).heard()

    def happened(reset, exception):
        return lambda: {"last_reset": reset, "crashes": 2, "last_exception": exception}

    with replaced(last, read=happened("watchdog", "OSError m\u00e4in.py, line 12")):
        told = update.user_agent({"refused": 4}, True)
        words = "build/1 refused/4 (watchdog; crashes 2; OSError m?in.py, line 12)"
        assert told == "muster/%s %s" % (version(), words)
        with replaced(last, read=happened("x" * 60, "\r\nX: y" + "z" * 90)):
            told = update.user_agent({"refused": 999999999}, True)
        assert len(told) <= 120 and "\r" not in told and "\n" not in told
        assert update.user_agent({"refused": 4}, False) == "muster/" + version()
    board.look()
    assert board.web.agents[-1].startswith("muster/%s build/1" % version())
    for secret in (
        CONFIG["deviceNo"] + " ",
        SECRET["deviceId"],
        SECRET["deviceSecret"],
        CONFIG["productKey"],
    ):
        assert secret not in board.web.agents[-1]
    quiet = Board(tmp)
    quiet.config["updates"]["tell"] = False
    quiet.heard().look()
    assert quiet.web.agents == ["muster/" + version()]


def version():
    from muster import __version__

    return __version__


# Files that somebody has deleted


def test_a_staged_file_that_is_gone_is_fetched_again(tmp):
    board = Board(tmp).heard()
    files = board.offer(2, {"/lib/a.py": BIG})
    asked = []
    board.agent.ready = lambda: not asked.append(1) and len(asked) < 2
    board.look()
    board.web.fetched()
    for name in os.listdir(tmp + "/update"):
        if name.startswith(digest(BIG)):
            os.remove(tmp + "/update/" + name)
    board.agent.ready = None
    board.takes()
    assert board.web.fetched() == [digest(BIG)] and board.files() == files


def test_an_old_file_that_is_gone_leaves_the_new_build(tmp):
    board = Board(tmp).heard()
    files = board.offer(2, {"/lib/a.py": b"a = 2"})
    board.tries()
    board.switch_on(CRASH)
    os.remove(tmp + "/lib/a.py.old~")
    for _ in range(4):
        board.switch_on(CRASH)
    # It cannot go back whole, and goes on with what is whole.
    assert trial.on_trial() and got(tmp + "/lib/a.py") == b"a = 2"
    board.agent.report()
    assert board.files() == files


def test_a_trial_goes_on_without_its_program_by_the_librarys(tmp):
    board = Board(tmp).heard()
    files = board.offer(2)
    board.tries()
    os.remove(tmp + "/update/" + TRIAL)
    path = list(sys.path)
    sys.modules["machine"] = ChipMachine(board)
    exec(trial.STUB, {})
    assert sys.path == path
    board.switch_on(CRASH)
    board.agent.step()
    assert board.files() == files


def test_a_trial_without_its_plan_ends_in_the_new_build(tmp):
    board = Board(tmp).heard()
    files = board.offer(2, {"/lib/a.py": b"a = 2"})
    board.tries()
    board.switch_on(CRASH)
    os.remove(tmp + "/update/plan")
    for _ in range(4):  # it cannot go back whole
        board.switch_on(CRASH)
    board.agent.report()
    after = board.files()
    assert not trial.on_trial() and {path: after[path] for path in files} == files
    board.offer(3)
    board.takes()
    assert board.status("build") == 3


def test_a_trial_whose_new_boot_py_is_gone_goes_back(tmp):
    board = Board(tmp).heard()
    before = board.files()
    board.offer(2, {"/lib/a.py": b"a = 2"})
    board.tries()
    board.switch_on()
    os.remove(tmp + "/update/boot.new")
    board.agent.report()  # which cannot end the trial any more
    board.switch_on()
    board.switch_on()
    assert board.files() == before and not trial.on_trial()


def test_a_trial_whose_old_boot_py_is_gone_stays(tmp):
    board = Board(tmp).heard()
    files = board.offer(2, {"/lib/a.py": b"a = 2"})
    board.tries()
    board.switch_on(CRASH)
    os.remove(tmp + "/update/boot.old")
    for _ in range(4):
        board.switch_on(CRASH)
    board.agent.report()
    assert board.files() == files
