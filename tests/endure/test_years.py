"""Device-years in virtual time, and whether the judge of them would notice."""

import json
import os
from collections import Counter
from types import SimpleNamespace

import pytest
from endure import years
from endure.world import HOUR, SECOND

FULL, SHARES = 2000, 40  # device-years; another seed has other devices
SHORT = range(3, 6)  # whatever the seed: of few others too few are without power to judge their delays


def pytest_generate_tests(metafunc):
    if "share" in metafunc.fixturenames:
        metafunc.parametrize("share", range(SHARES if metafunc.config.getoption("full") else 1))


@pytest.fixture(scope="module")
def elsewhere():
    with years.elsewhere() as process:
        yield process


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A folder for all processes that run these tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "years"
    folder.mkdir(exist_ok=True)
    return folder


def test_years(trial, elsewhere, shared, share):
    shares = SHARES if trial.full else 1
    devices = range(FULL * (trial.seed - 1), FULL * trial.seed)[share::SHARES] if trial.full else SHORT
    judges = elsewhere.submit(years.live, devices).result()
    trial.cases = len(judges)
    trial.failures += [failure for judge in judges for failure in judge.failures]
    trial.losses = sum(judge.counts["secret"] for judge in judges)
    lived = [[judge.counts, judge.highest, judge.delays] for judge in judges]
    written = shared / f"{share}.written"
    written.write_text(json.dumps(lived))
    written.rename(written.with_suffix(".json"))
    # Whether delays are spread shows in many of them: each share judges those before it too.
    done = [json.loads(path.read_text()) for path in shared.glob("*.json")]
    counts, most, delays = Counter(), Counter(), []
    for counts_of_one, most_of_one, delays_of_one in (life for lives in done for life in lives):
        counts.update(counts_of_one)
        most |= Counter(most_of_one)
        delays += delays_of_one
    trial.failures += years.uneven(delays)
    if len(done) == shares:
        trial.note = (
            f"{counts['reports']} reports, {years.excused(counts)} of them early with an excuse; at most "
            f"{most['requests']} requests in an hour and {most['writes']} flash writes in a year; "
            f"{counts['secrets']} secrets fetched; {counts['changed CAs']} CAs changed"
        )


def test_a_ca_that_changes_loses_no_device_that_has_the_next_root(elsewhere):
    for spare in (True, False):
        for judge in elsewhere.submit(years.live, (3, 7, 26), 8, True, spare).result():
            assert judge.counts["unverified"] == 0
            assert judge.counts["changed CAs"] == spare
            assert (judge.counts["late"] == 0) == spare, (judge.seed, judge.failures)


def test_leaping_over_the_pauses_changes_nothing(elsewhere):
    # Crystals that are not exact make a second's difference, so these worlds have exact ones.
    by_leaps, by_seconds = (
        elsewhere.submit(years.live, (7, 26), 1.5, leaps).result() for leaps in (True, False)
    )
    for leaping, waiting in zip(by_leaps, by_seconds, strict=True):
        assert len(leaping.history) > 2 and leaping.history == waiting.history
        assert leaping.counts == waiting.counts


def test_a_world_is_the_same_each_time_and_no_other(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with years.elsewhere() as process:
        histories = [process.submit(years.live, [seed], 20).result()[0].history for seed in (3, 3, 4)]
        assert not list(tmp_path.iterdir()), "ended from outside, the process would leave this behind"
    assert histories[0] == histories[1] != histories[2]


class Life:
    """A judge, and what it is told."""

    def __init__(self, policy="interval"):
        self.world = SimpleNamespace(
            now=0,
            born=0,
            policy=policy,
            ppm=0,
            flash_full=False,
            sends_dates=True,
            ntp=True,
            ahead=0,
            device_time=lambda: self.world.now + self.world.ahead,
        )
        self.judge = years.Judge(1)
        self.judge.watch(self.world)
        self.boot()
        self.judge.called()
        self.judge.fetched()
        self.judge.received_secret()
        self.write("record.0")
        self.report()

    def boot(self, told=True):
        self.judge.booted(cold=True, new_identity=False)
        self.judge.surroundings(True)
        if told:
            self.judge.offered(True)

    def after(self, hours):
        self.world.now += int(hours * HOUR)
        return self

    def report(self, answered=True):
        self.judge.called()
        self.judge.accepted()
        if answered:
            self.world.now += 300
            self.judge.received()
            self.write("schedule.0")

    def write(self, key):
        self.judge.writes(key)
        if not self.world.flash_full:
            self.judge.wrote()

    def off(self, hours, after_s=60):
        self.world.now += after_s * SECOND
        self.judge.stopped()
        self.after(hours)

    def verdict(self):
        self.judge.over()
        return {failure.partition(":")[0] for failure in self.judge.failures}

    def regular(self):
        """Two reports at their times: past the spread interval."""
        self.after(5).report()
        self.after(12).report()
        return self


def test_a_good_life_is_good():
    life = Life().regular()
    life.off(2)
    life.boot()
    life.after(10.1).report()
    life.off(40)
    life.boot()
    life.after(0.05).report()
    life.off(1, after_s=900)
    assert life.verdict() == set() and life.judge.delays == [(180 * SECOND, 900 * SECOND)]


def rebooted(life, after_s=60):
    life.off(1, after_s)
    life.boot()
    return life


@pytest.mark.parametrize(
    ("verdict", "story"),
    [
        pytest.param({"secret"}, lambda life: life.judge.fetched(), id="a second secret"),
        pytest.param({"early"}, lambda life: life.after(11.7).report(), id="too early"),
        pytest.param({"early"}, lambda life: rebooted(life).after(1).report(), id="too early after a reboot"),
        pytest.param({"unverified"}, lambda life: life.judge.trusted(False, False), id="a stranger"),
        pytest.param({"late"}, lambda life: life.after(13).report(), id="late though nothing was wrong"),
    ],
)
def test_what_must_not_be_is_seen(verdict, story):
    life = Life().regular()
    story(life)
    assert life.verdict() == verdict


def test_a_record_that_could_not_be_kept_excuses_an_early_report():
    life = Life().regular()
    life.after(12).report()
    rebooted(life, after_s=1).after(0.01).report()
    assert life.verdict() == set()


def test_a_secret_that_flash_could_not_keep_may_be_fetched_again():
    life = Life()
    life.world.flash_full = True
    life.judge.new_identity()
    life.judge.fetched()
    life.judge.received_secret()
    rebooted(life)
    life.judge.fetched()
    assert life.verdict() == set()


def test_a_lost_answer_excuses_an_early_report():
    life = Life().regular()
    life.after(12).report(answered=False)
    life.after(0.01).report()
    assert life.verdict() == set()
    assert life.judge.counts["excused: the answer before was lost"] == 1


def test_a_boot_without_the_time_excuses_an_early_report_only_if_nobody_could_be_asked():
    for asked in (False, True):
        life = Life().regular()
        life.world.sends_dates = asked
        life.off(1)
        life.boot(told=False)
        life.after(0.01).report()
        assert life.verdict() == ({"early"} if asked else set())


def test_a_late_report():
    life = Life().regular()
    life.judge.surroundings(False)
    life.after(23.5)
    life.judge.surroundings(True)
    life.after(0.26).report()  # 23.76 h
    life.judge.surroundings(False)
    life.after(23.7)
    life.judge.surroundings(True)
    life.after(0.25).report()  # a quarter of an hour before the deadline all was up
    assert life.verdict() == set()
    life.judge.surroundings(False)
    life.after(23.7)
    life.judge.surroundings(True)
    life.after(0.31).report()
    assert life.verdict() == {"late"}


def test_an_hour_of_requests():
    life = Life().regular().after(2)
    for _ in range(40):
        life.judge.called()
    assert not life.judge.failures
    life.judge.called()
    assert life.verdict() == {"burst"}


def test_a_write_that_no_answer_asked_for():
    life = Life().regular()
    life.judge.wrote()  # the secret's second slot
    assert life.verdict() == set()
    life.judge.wrote()
    assert life.verdict() == {"flash"}


def test_an_overdue_report_that_waits():
    for off_h, good, bad in ((13, 1.9, 2.1), (20.5, 1.4, 1.6), (40, 0.2, 0.3)):
        for after_h, verdict in ((good, set()), (bad, {"delay"})):
            life = Life().regular()
            life.off(off_h)
            life.boot()
            life.after(after_h).report()
            assert life.verdict() - {"late"} == verdict


def test_delays_that_are_not_spread():
    for most in (900 * SECOND, 2 * HOUR):
        spread = [(i * most // 100 + 5 * SECOND, most) for i in range(101)]
        assert years.uneven(spread) == []
        assert years.uneven([(5 * SECOND, most)] * 100) and years.uneven([(most, most)] * 100)
    assert years.uneven([])


def test_a_delay_counts_only_if_a_longer_one_had_its_time_too():
    for after_h, counted in ((1.5, 0), (2, 1)):
        life = Life().regular()
        life.off(13)
        life.boot()
        life.after(0.1).report()
        life.after(after_h).off(1)
        assert len(life.judge.delays) == counted


def test_a_first_use_that_does_not_report():
    life = Life("daily")
    life.after(20).judge.used()
    life.after(0.01).report()
    life.after(21).judge.used()
    life.after(0.7).report()
    assert life.verdict() == {"daily"}


def test_the_first_use_of_a_day_reports_whatever_came_before_and_a_second_does_not():
    life = Life("daily")
    life.after(22).report()
    life.after(1).judge.used()
    life.after(0.01).report()
    assert life.verdict() == set()
    life.after(0.1).judge.used()
    life.after(0.01).report()
    assert life.verdict() == {"early"}


def test_a_use_whose_record_was_not_kept_is_forgotten_at_a_reboot():
    for full in (True, False):
        life = Life("daily")
        life.after(22).report()
        life.after(19).judge.used()
        life.world.flash_full = full
        life.after(0.01).report()
        rebooted(life)
        if full:
            life.after(0.01).report()  # overdue, by the record of before
        life.after(1).judge.used()
        life.after(0.01).report()
        assert life.verdict() == (set() if full else {"early"})
        assert life.judge.counts["excused: the record before was not kept"] == full


def test_a_date_that_sets_the_clock_back_dates_a_use_back():
    for hours, expected in ((-3, set()), (-1, {"early"})):
        life = Life("daily")
        life.after(22).report()
        life.after(20).judge.used()  # two o'clock in Beijing
        life.world.ahead = hours * HOUR
        life.after(0.01).report()
        life.after(10).judge.used()
        life.after(0.01).report()
        assert life.verdict() == expected


def test_a_record_that_was_dated_ahead_makes_a_report_late_after_a_reboot():
    for ahead_h, expected in ((6, set()), (1, {"late"})):
        life = Life().regular()
        life.world.ahead = ahead_h * HOUR
        life.after(12).report()
        life.off(1)
        life.world.ahead = 0
        life.boot()
        life.after(27).report()
        assert life.verdict() - {"delay"} == expected
