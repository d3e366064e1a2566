"""What happened last, on a board that is a dict of causes and a record in a file."""

import os
import sys

from muster import board, last
from muster.store import FileStore

STATE = last.STATE
POWER, HARD, WATCHDOG, SLEEP, SOFT = 1, 2, 3, 4, 5
HAS_TRACEBACKS = hasattr(sys, "print_exception")


class Machine:
    """cause: of the last reset, as the port has it."""

    def __init__(self):
        self.cause = POWER
        self.resets = 0

    def reset_cause(self):
        return self.cause

    def reset(self):
        self.resets += 1
        self.cause = HARD


def switched_on(tmp):
    machine = sys.modules["machine"] = Machine()
    last.STATE = tmp + "/state/last"
    return machine


def teardown_function(_):
    last.STATE = STATE
    sys.modules.pop("machine", None)


def starts(machine, *causes):
    """What start() returns after each of these resets."""
    found = []
    for cause in causes:
        machine.cause = cause
        found.append(last.start())
    return found


def written(tmp):
    """How often a record has been written: the newest's sequence number."""
    found = 0
    for slot in "01":
        try:
            with open(tmp + "/state/last." + slot, "rb") as f:
                found = max(found, int.from_bytes(f.read()[4:8], "little"))
        except OSError:
            pass
    return found


def test_a_panic_and_a_watchdog_are_crashes_and_nothing_else_is(tmp):
    machine = switched_on(tmp)
    assert starts(machine, POWER, SLEEP, SOFT, 0) == [0, 0, 0, 0]
    assert written(tmp) == 0
    assert starts(machine, HARD, WATCHDOG, POWER, SLEEP, SOFT, 0, HARD) == [1, 2, 2, 2, 2, 2, 3]
    assert written(tmp) == 3
    last.success()
    last.success()
    assert written(tmp) == 4
    assert starts(machine, POWER, WATCHDOG) == [0, 1]


def test_a_reset_of_our_own_is_no_crash_and_excuses_one(tmp):
    machine = switched_on(tmp)
    board.reset()
    assert machine.resets == 1 and last.start() == 0 and last.read()["last_reset"] == "reset"
    assert starts(machine, HARD) == [1] and last.read()["last_reset"] == "crash"
    # At the prompt: a soft reset, then one of the board.
    last.asked()
    assert starts(machine, SOFT, HARD, HARD) == [1, 1, 2]
    # It never came.
    last.asked()
    assert starts(machine, POWER, HARD) == [2, 3]


def test_the_prompt_that_a_watchdog_ends_was_no_crash(tmp):
    machine = switched_on(tmp)
    last.asked()
    assert starts(machine, WATCHDOG) == [0] and last.read()["last_reset"] == "watchdog"


def test_the_cause_is_a_word(tmp):
    machine = switched_on(tmp)
    words = []
    for machine.cause in range(6):
        words.append(last.read()["last_reset"])
    assert words == ["other", "power", "crash", "watchdog", "sleep", "soft"]


def deep(n):
    if n:
        deep(n - 1)
    raise OSError('no\n  File "s3cret", line 12')


def test_an_exception_is_kept_with_its_place_and_without_its_words(tmp):
    machine = switched_on(tmp)
    try:
        deep(20)
    except OSError as e:
        last.ended(e)
    if not HAS_TRACEBACKS:
        assert written(tmp) == 0
        return
    machine.cause = WATCHDOG
    assert last.start() == 1
    record = last.read()
    kind, place = record.pop("last_exception").split(" ", 1)
    assert record == {"crashes": 1, "last_reset": "watchdog"}
    assert kind == "OSError" and "test_last.py, line " in place and "s3cret" not in place
    last.success()
    assert last.read()["last_exception"].startswith("OSError ")  # stays, for whoever asks


def test_a_record_stays_small(tmp):
    machine = switched_on(tmp)
    if not HAS_TRACEBACKS:
        return
    kind = type("AnExceptionWithANameThatIsMuchLongerThanAnybodyWouldWriteIt", (Exception,), {})
    try:
        raise kind("s3cret")
    except kind as e:
        last.ended(e)
    starts(machine, *[WATCHDOG] * 12)
    last.asked()
    sizes = [os.stat(tmp + "/state/last." + slot)[6] for slot in "01"]
    assert max(sizes) <= 100, sizes
    assert last.read()["crashes"] == 12


def test_whatever_flash_holds_it_starts(tmp):
    machine = switched_on(tmp)
    os.mkdir(tmp + "/state")
    for raw in (b"", b"rotten", b"\xff" * 200, b"{}"):
        for slot in "01":
            with open(tmp + "/state/last." + slot, "wb") as f:
                f.write(raw)
        assert starts(machine, POWER, WATCHDOG) == [0, 1] and last.read()["crashes"] == 1
    for strange in ({}, {"n": "1", "asked": 0}, {"n": None}, {"n": 1}, {"e": [], "asked": {}, "n": []}):
        store = FileStore(last.STATE)
        store.erase()
        store.save(strange)
        for cause in range(6):
            machine.cause = cause
            assert isinstance(last.start(), int)
        last.asked()
        last.success()
        last.ended(ValueError())
        assert isinstance(last.read(), dict)


def test_a_flash_that_takes_nothing_stops_nothing(tmp):
    machine = switched_on(tmp)
    last.STATE = "/proc/last"
    assert starts(machine, POWER, HARD, WATCHDOG) == [0, 1, 1]
    board.reset()
    assert machine.resets == 1


def test_without_a_board_it_does_nothing(tmp, laptop):
    switched_on(tmp)
    del sys.modules["machine"]
    if not HAS_TRACEBACKS:
        sys.modules["machine"] = None
    assert last.start() == 0 and last.read() == {}
    last.asked()
    last.success()
    last.ended(ValueError("s3cret"))
    assert os.listdir(tmp) == []
