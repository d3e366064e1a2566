"""machine.Timer of the virtual board, and time that passes at once."""

import re

from programs import ask, image, needs_micropython, stop

from tools.board import Board

pytestmark = needs_micropython

# What a program does while timers ring.
WAITS = """
import gc, select, time
from machine import WDT, Timer
rang = [0, 0]
def ring(timer):
    rang[timer is not fast] += 1
def work(wait):
    rang[:] = 0, 0
    fast.init(period=10, callback=ring)
    once.init(mode=Timer.ONE_SHOT, period=20, callback=ring)
    kept = []
    while rang[0] < 20:
        kept = [bytearray(50) for _ in range(50)] + kept[:10]
        assert all(len(b) == 50 for b in kept)
        gc.collect()
        wait()
    fast.deinit()
    before = rang[0]
    time.sleep_ms(50)
    print("rang", rang[0] - before, rang[1])
def ring_in(wait):
    rang[:] = 0, 0
    fast.init(period=10, callback=ring)
    wait()
    fast.deinit()
    print("rang", rang[0] > 1)
fast, once, poll, watchdog = Timer(0), Timer(1), select.poll(), WDT(timeout=60000)
for wait in (time.ticks_ms, watchdog.feed, lambda: time.sleep_ms(1), lambda: poll.poll(1)):
    work(wait)
for wait in (lambda: time.sleep(0.3), lambda: time.sleep_ms(300), lambda: poll.poll(300)):
    ring_in(wait)
print("done")
"""


def test_timers_ring_where_a_program_looks_at_the_time_or_waits(tmp_path):
    with Board(tmp_path, image(WAITS), heap=160_000) as board:
        board.wait_for("rang 0 1\n" * 4 + "rang True\n" * 3 + "done\n")


def test_timers_ring_under_cpython_where_the_watchdog_is_fed(tmp_path):
    main = """
from machine import WDT, Timer
rang = []
Timer(0, period=10, callback=rang.append)
watchdog = WDT(timeout=60000)
while len(rang) < 3:
    watchdog.feed()
print("rang")
"""
    with Board(tmp_path, image(main), vm="cpython") as board:
        board.wait_for("rang\n")


def test_ctrl_c_leaves_the_heap_to_the_prompt_whatever_the_program_does(tmp_path):
    main = """
import gc, machine
timer = machine.Timer(3, period=20, callback=lambda timer: None)
print("runs")
while True:
    gc.collect()
"""
    with Board(tmp_path, image(main)) as board:
        for _ in range(5):
            board.wait_for("runs")
            stop(board)
            assert ask(board, "len([bytearray(n) for n in range(100)])") == "100"
            board.write(b"\x04")


def test_a_timer_is_as_the_port_has_it(board):
    board.write(b"from machine import Timer\r")
    for wrong, error in (
        ("Timer(4)", "invalid Timer number"),
        ("Timer(0).value()", "timer not set"),
        ("Timer(0, hard=True)", "not implemented"),
    ):
        board.write(wrong.encode() + b"\r")
        board.wait_for("ValueError: ")
        board.wait_for(error)
    # A second object is the same timer.
    board.write(b"a = Timer(0, freq=0.001); b = Timer(0)\r")
    assert int(ask(board, "b.value()")) < 20_000
    board.write(b"b.deinit(); a.value()\r")
    board.wait_for("timer not set")


HOURLY = """
import time
from machine import RTC, Timer
begun, rang = (RTC().datetime()[2:6], time.ticks_ms()), 0
def ring(_):
    global rang
    rang += 1
    passed = time.ticks_diff(time.ticks_ms(), begun[1]) // 3600_000
    print("rang", rang, "after", passed, begun[0][0], begun[0][2], RTC().datetime()[4])
Timer(3, period=3600_000, callback=ring)
print("ready")
while True:
    time.sleep_ms(20)
    if rang == 3:
        rang = 4
        print("quiet")
"""


def test_hours_pass_at_once(tmp_path):
    with Board(tmp_path, image(HOURLY), rtc=1790000000) as board:
        board.wait_for("ready\n")
        board.pass_time(3 * 3600)
        for n in (1, 2, 3):
            found = board.wait_for(re.compile(rf"rang {n} after 3 (\d+) (\d+) (\d+)\n"))
            assert (int(found[3]) - int(found[2])) % 24 == 3
        board.wait_for("quiet\n")  # in its callback a Ctrl-C would be lost
        stop(board)
        board.write(b"\x04")  # a soft reset ends it
        board.wait_for("ready\n")
        board.pass_time(1800)
        board.pass_time(1801)
        board.wait_for("rang 1 after 1")


def test_a_panic_is_a_hard_reset(tmp_path):
    main = "import machine, time\nprint('cause', machine.reset_cause())\nwhile True: time.sleep_ms(20)\n"
    with Board(tmp_path, image(main)) as board:
        board.wait_for("cause 1\n")
        board.panic()
        board.wait_for("Guru Meditation")
        board.wait_for("cause 2\n")


def test_ctrl_c_is_the_programs_whatever_timers_run(tmp_path):
    main = """
import machine, time
timers = [machine.Timer(n, period=20, callback=lambda timer: None) for n in range(4)]
try:
    print("runs")
    while True:
        time.sleep_ms(100)
except KeyboardInterrupt:
    print("stopped")
"""
    with Board(tmp_path, image(main)) as board:
        for _ in range(10):
            board.wait_for("runs")
            board.write(b"\x03")
            board.wait_for("stopped")
            board.write(b"\x04")
