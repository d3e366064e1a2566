import os

from helpers import raises
from muster.schedule import Schedule

NOW = 1795305600
HOUR = 3600


def low(n):
    return bytes(n)


def high(n):
    return b"\xff" * n


def spread_of(attempts):
    return min(attempts), max(attempts)


def test_the_first_report_follows_enrolment_at_once():
    assert Schedule().first(NOW) == NOW


def test_the_interval_is_twelve_hours_and_a_quarter_either_way():
    schedule = Schedule(spread_s=0)
    intervals = [schedule.after_success(NOW) - NOW for _ in range(600)]
    low_end, high_end = spread_of(intervals)
    assert 12 * HOUR - 900 <= low_end < 12 * HOUR - 800
    assert 12 * HOUR + 800 < high_end <= 12 * HOUR + 900


def test_only_the_interval_from_first_to_second_report_is_spread():
    firsts, seconds = [], []
    for _ in range(300):
        schedule = Schedule()
        firsts.append(schedule.after_success(NOW) - NOW)
        seconds.append(schedule.after_success(NOW) - NOW)
    assert min(firsts) >= 1 and max(firsts) <= 12 * HOUR
    assert min(firsts) < HOUR and max(firsts) > 11 * HOUR
    assert min(seconds) >= 12 * HOUR - 900


def test_bounds_of_the_spread():
    # 2**64 - 1 is a multiple of 43199 plus a rest: the bounds themselves come from chosen bytes.
    assert Schedule(random=low).after_success(NOW) == NOW + 1
    most = (43199).to_bytes(8, "big")
    assert Schedule(random=lambda n: most).after_success(NOW) == NOW + 43200


def test_the_spread_stays_under_the_deadline():
    schedule = Schedule(period_s=60, jitter_s=10, deadline_s=71)
    intervals = []
    for _ in range(100):
        schedule.reports = 0
        intervals.append(schedule.after_success(NOW) - NOW)
    assert 1 <= min(intervals) < 35 < max(intervals) <= 70


def test_backoff_doubles_from_half_a_minute_to_an_hour_under_full_jitter():
    for failures, ceiling in enumerate((30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600)):
        waits = []
        for _ in range(200):
            schedule = Schedule()
            for _ in range(failures):
                schedule.backoff()
            waits.append(schedule.after_failure(NOW) - NOW)
        assert 1 <= min(waits) <= ceiling // 4
        assert ceiling * 3 // 4 <= max(waits) <= ceiling


def test_a_success_ends_the_backoff():
    schedule = Schedule(spread_s=0)
    for _ in range(9):
        schedule.after_failure(NOW)
    schedule.after_success(NOW)
    assert schedule.failures == 0
    assert max(schedule.after_failure(NOW) - NOW for _ in range(1)) <= 30


def test_failures_never_carry_it_over_the_deadline():
    for _ in range(50):
        schedule = Schedule(spread_s=0, random=os.urandom)
        now = schedule.after_success(NOW)
        tries_before_the_deadline = 0
        while now < NOW + 24 * HOUR:
            tries_before_the_deadline += 1
            now = schedule.after_failure(now)
        assert tries_before_the_deadline > 12
    # With a backoff of up to an hour and ten minutes left, the next try still comes in time.
    schedule = Schedule(spread_s=0, random=high)
    schedule.after_success(NOW)
    for _ in range(9):
        schedule.backoff()
    assert schedule.after_failure(NOW + 24 * HOUR - 600) < NOW + 24 * HOUR


def test_state_survives_a_reboot_and_nothing_is_early():
    schedule = Schedule()
    due = schedule.after_success(NOW)
    after = Schedule()
    after.restore(schedule.state())
    assert after.first(NOW + 1) == due
    assert after.last == NOW and after.reports == 1


def test_what_became_overdue_goes_out_after_a_short_random_delay():
    delays = []
    for _ in range(200):
        schedule = Schedule()
        schedule.restore({"last": NOW, "next": NOW + 100, "reports": 4})
        delays.append(schedule.first(NOW + 3 * HOUR) - (NOW + 3 * HOUR))
    assert 0 <= min(delays) < 30 and 270 < max(delays) <= 300


def test_times_that_only_a_wrong_clock_can_have_written_count_as_overdue():
    for last, due in ((NOW, NOW + 400 * 24 * HOUR), (NOW + 6 * HOUR, NOW + 12 * HOUR)):
        schedule = Schedule()
        schedule.restore({"last": last, "next": due, "reports": 4})
        assert schedule.first(NOW) <= NOW + 300


def test_a_clock_that_was_moved_moves_what_is_due():
    schedule = Schedule()
    due = schedule.after_success(NOW)
    schedule.shift(-500)
    assert schedule.next == due - 500 and schedule.last == NOW - 500


def test_rotten_state_is_ignored():
    for state in (
        None,
        {},
        {"last": "x", "next": 1, "reports": 1},
        {"last": 1.5, "next": 1, "reports": 1},
        {"next": 5},
    ):
        schedule = Schedule()
        schedule.restore(state)
        assert schedule.first(NOW) == NOW


def test_impossible_settings_are_refused():
    for settings in (
        {"period_s": 86400},
        {"period_s": 85500, "jitter_s": 900},
        {"period_s": 10, "jitter_s": 10},
        {"jitter_s": -1},
        {"period_s": 0, "jitter_s": 0},
    ):
        assert "jitter_s" in str(raises(ValueError, Schedule, **settings))


def test_every_time_is_an_int():
    schedule = Schedule()
    for value in (
        schedule.first(NOW),
        schedule.after_failure(NOW),
        schedule.after_success(NOW),
        schedule.next,
    ):
        assert type(value) is int
