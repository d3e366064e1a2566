import os

from helpers import raises
from muster.schedule import Schedule

NOW = 1795305600
HOUR = 3600


def low(n):
    return bytes(n)


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


def waits_after(failures, now, last=NOW, asked=0):
    """The least and the most seconds from now to the next try, of many devices that last reported then."""
    waits = []
    for _ in range(200):
        schedule = Schedule()
        if last is not None:
            schedule.restore({"last": last, "next": last + 12 * HOUR, "reports": 4})
        schedule.failures = failures
        waits.append(schedule.after_failure(now, asked) - now)
    return spread_of(waits)


def is_uniform(spread, ceiling):
    return 1 <= spread[0] <= ceiling // 4 and ceiling * 3 // 4 <= spread[1] <= ceiling


def test_backoff_grows_from_half_a_minute_as_far_as_the_deadline_allows_under_full_jitter():
    now = NOW + 12 * HOUR
    for failures, ceiling in enumerate((30, 240, 1920, 15360, 10 * HOUR, 10 * HOUR)):
        assert is_uniform(waits_after(failures, now), min(ceiling, 10 * HOUR))
    assert is_uniform(waits_after(1000, NOW + 21 * HOUR), HOUR)


def test_close_to_the_deadline_and_ever_after_tries_are_uniform_within_a_quarter_of_an_hour():
    for hours in (22, 23, 23.9, 24, 25, 100, 5000):
        for failures in (0, 1, 3, 100):
            assert is_uniform(waits_after(failures, NOW + int(hours * HOUR)), 900)
    assert is_uniform(waits_after(9, NOW + 22 * HOUR - 5), 900)


def test_without_a_known_deadline_the_backoff_grows_to_a_quarter_of_an_hour():
    for failures, ceiling in enumerate((30, 240, 900, 900)):
        assert is_uniform(waits_after(failures, NOW, None), ceiling)
    schedule = Schedule()
    schedule.restore({"last": NOW, "next": NOW, "reports": 4})
    schedule.failures = 9
    assert max(schedule.backoff() for _ in range(100)) <= 900


def test_what_a_server_asks_to_wait_comes_before_the_backoff():
    now = NOW + 12 * HOUR
    for asked, wait in ((1, 1), (120, 120), (3600, 3600), (86400, 3600), (10**9, 3600)):
        least, most = waits_after(0, now, asked=asked)
        assert wait < least <= wait + 8 and wait + 22 < most <= wait + 30
    least, most = waits_after(0, NOW, None, 600)
    assert least > 600 and most <= 630
    # After the deadline there is nothing left to lose.
    assert waits_after(9, NOW + 25 * HOUR, asked=3600)[0] > 3600


def test_what_a_server_asks_to_wait_never_crosses_the_deadline():
    for left in (2 * HOUR, HOUR, 1800, 1000, 901):
        least, most = waits_after(9, NOW + 24 * HOUR - left, asked=3600)
        assert least > min(3600, left - 900) and most <= left
    assert waits_after(9, NOW + 24 * HOUR - 900, asked=3600)[1] <= 900


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
            tries_before_the_deadline += now >= NOW + 22 * HOUR
            now = schedule.after_failure(now)
        assert tries_before_the_deadline >= 7


def test_a_short_deadline_is_kept_in_proportion():
    for _ in range(50):
        schedule = Schedule(period_s=400, jitter_s=10, deadline_s=960, spread_s=0)
        now = schedule.after_success(NOW)
        tries_before_the_deadline = 0
        while now < NOW + 960:
            tries_before_the_deadline += now >= NOW + 880
            now = schedule.after_failure(now)
        assert tries_before_the_deadline >= 7


def test_state_survives_a_reboot_and_nothing_is_early():
    schedule = Schedule()
    due = schedule.after_success(NOW)
    after = Schedule()
    after.restore(schedule.state())
    assert after.first(NOW + 1) == due
    assert after.last == NOW and after.reports == 1


def test_what_became_overdue_is_spread_over_what_the_deadline_allows():
    for off_h, most in ((13, 7200), (19, 7200), (21, 3600), (22, 900), (24, 900), (72, 900)):
        delays = []
        for _ in range(200):
            schedule = Schedule()
            schedule.restore({"last": NOW, "next": NOW + 12 * HOUR, "reports": 4})
            now = NOW + off_h * HOUR
            delays.append(schedule.first(now) - now)
            assert schedule.last == NOW
        assert 0 <= min(delays) < most // 10 and most * 9 // 10 < max(delays) <= most


def test_a_device_that_has_slept_until_it_was_due_waits_no_longer():
    schedule = Schedule()
    schedule.after_success(NOW)
    due = schedule.after_success(NOW + 43200)
    for late in (0, 60, 7200):
        woken = Schedule()
        woken.restore(schedule.state())
        assert woken.first(due + late, True) == due
        woken.restore(schedule.state())
        assert woken.first(due - 400, True) == due  # its clock was fast
    woken.restore({"last": NOW + 999999, "next": NOW + 1043199, "reports": 3})
    assert NOW <= woken.first(NOW, True) <= NOW + 900  # what it remembers is of another clock


def test_times_that_only_a_wrong_clock_can_have_written_count_as_long_overdue():
    for last, due in ((NOW, NOW + 400 * 24 * HOUR), (NOW + 6 * HOUR, NOW + 12 * HOUR)):
        schedule = Schedule()
        schedule.restore({"last": last, "next": due, "reports": 4})
        assert schedule.first(NOW) <= NOW + 900
        # Nobody knows the deadline then.
        schedule.failures = 9
        assert schedule.after_failure(NOW) <= NOW + 900


def test_a_try_that_is_far_off_is_not_taken_for_another_clocks():
    schedule = Schedule()
    schedule.after_success(NOW)
    schedule.failures = 9
    while schedule.after_failure(NOW + 60) < NOW + 13 * HOUR:
        pass
    assert schedule.plausible(NOW + 60)


def test_a_first_report_is_due_at_once_whatever_was_due_before():
    schedule = Schedule()
    schedule.first(NOW)
    assert schedule.first(NOW + 60) == NOW + 60


def test_a_clock_that_was_moved_moves_what_is_due():
    schedule = Schedule()
    due = schedule.after_success(NOW)
    schedule.shift(-500)
    assert schedule.next == schedule.wake == due - 500 and schedule.last == NOW - 500
    # What nobody has asked about yet is another clock's: only the attempt is this one's.
    schedule.shift(100, due=False)
    assert schedule.next == due - 500 and schedule.last == NOW - 500 and schedule.wake == due - 400


def test_the_next_attempt_comes_with_the_next_report():
    schedule = Schedule()
    assert schedule.wake == 0
    for due in (schedule.first(NOW), schedule.after_success(NOW), schedule.due_at(NOW + 7)):
        assert type(due) is int
        assert schedule.next == schedule.wake
    assert schedule.next == NOW + 7
    schedule.after_failure(NOW + 8)
    assert schedule.next == schedule.wake > NOW + 8


def test_what_fails_before_a_report_is_due_leaves_it_where_it_was():
    schedule = Schedule()
    due = schedule.after_success(NOW)
    waits = [schedule.after_failure(NOW, due=False) - NOW for _ in range(9)]
    assert schedule.next == due and min(waits) >= 1 and 30 < max(waits) <= 900


def test_a_network_is_looked_for_every_five_minutes_and_the_report_waits_its_time():
    attempts, reports = [], []
    for _ in range(200):
        schedule = Schedule()
        schedule.restore({"last": NOW, "next": NOW + 12 * HOUR, "reports": 4})
        schedule.failures = 9
        now = NOW + 12 * HOUR
        assert schedule.after_failure(now, offline=True) == schedule.wake <= schedule.next
        attempts.append(schedule.wake - now)
        reports.append(schedule.next - now)
    assert max(attempts) == 300 and max(reports) > 5 * HOUR


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
