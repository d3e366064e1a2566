"""The simulated load: what is simulated is what the agent does, and nothing is lost in counting it."""

import contextlib
import functools
import json
import random
import struct
from types import SimpleNamespace

import numpy
import pytest
from click.testing import CliRunner
from muster import agent as agents
from muster.errors import TransportError
from muster.schedule import Schedule

from tools.cli.simulate import simulate
from tools.simulate import load as loads

START = 1795305600
OUTAGE = loads.Outage(days=2, off=12 * 3600, on=17 * 3600, share=0.5)
FOUR_HOURS = loads.Outage(2, 16 * 3600, 20 * 3600, 0.3)
FIXED, _, MUSTER = loads.STRATEGIES
CONFIG = {"productId": "1", "productKey": "k", "deviceNo": "2", "cmei": "", "firmwareVersion": "3"}


class Street:
    """The real agent's surroundings: flash, a clock, and a platform that writes down who asks it when."""

    def __init__(self, dice):
        self.dice, self.now, self.flash, self.down, self.asked = dice, 0, None, range(0), []

    def agent(self):
        clock = SimpleNamespace(now=lambda: START + self.now, trusted=lambda: True, sync=lambda: True)
        store = SimpleNamespace(load=lambda: self.flash and json.loads(self.flash), save=self.save)
        known = {"feed": None, "connected": True, "addresses": [], "net_type": "wifi", "mac": b""}
        hardware = SimpleNamespace(**{name: functools.partial(dict.get, known, name) for name in known})
        return agents.Agent(CONFIG, SimpleNamespace(request=self.request), store, clock, hardware)

    def save(self, record):
        self.flash = json.dumps(record)

    def request(self, method, url, data, headers):
        self.asked.append((self.now, url.rsplit("/", 1)[1], self.now not in self.down))
        if self.now in self.down:
            raise TransportError("the platform is down")
        known = {"productId": "1", "deviceNo": "2", "deviceId": "d", "deviceSecret": "s"}
        answer = {"code": "200", "message": "", "success": True, "data": {**known, "protocolTypeTime": ""}}
        return SimpleNamespace(status_code=200, headers={}, json=lambda: answer, close=lambda: None)

    def put_in_the_field(self):
        """Enrolled long ago, and due when the model's device is."""
        agent, schedule = self.agent(), loads.in_the_field(MUSTER, self.dice)
        agent.enrol()
        schedule.shift(START)
        agent._schedule.restore(schedule.state())
        agent._records().keep_schedule(schedule.state(), agent._credentials)
        self.now, self.asked = -1, []

    def run(self, until):
        agent = self.agent()
        while self.now < until:
            self.now += agent.step()


def batch(street):
    street.now = street.dice.randrange(60)
    street.run(OUTAGE.end)


def power(street):
    street.put_in_the_field()
    if street.dice.random() < OUTAGE.share:
        street.run(OUTAGE.off)
        street.now = OUTAGE.on + street.dice.randrange(10)
    street.run(OUTAGE.end)


def platform(street, seconds=OUTAGE.on - OUTAGE.off):
    street.put_in_the_field()
    street.down = range(OUTAGE.off, OUTAGE.off + seconds)
    street.run(OUTAGE.end)


def deadlines(street):
    platform(street, loads.LONG_OUTAGE_S)


def seconds(counts):
    return numpy.repeat(numpy.arange(len(counts)), counts).tolist()


@pytest.mark.parametrize("scene", [batch, power, platform, deadlines])
def test_with_the_same_dice_the_real_agent_asks_in_the_same_seconds(scene, monkeypatch):
    for seed in range(10):
        dice = random.Random(seed)
        monkeypatch.setattr(agents, "Schedule", functools.partial(Schedule, random=dice.randbytes))
        street = Street(dice)
        scene(street)
        load = loads.Load(OUTAGE.end)
        getattr(loads, scene.__name__)(MUSTER, OUTAGE, random.Random(seed), load)
        fetched = [second for second, what, _ in street.asked if what == "info"]
        answered, unanswered = (
            [second for second, what, up in street.asked if (what, up) == ("report", wanted)]
            for wanted in (True, False)
        )
        assert seconds(load.firsts) == fetched, seed
        assert sorted(fetched + seconds(load.reports)) == answered, seed
        assert seconds(load.unanswered) == unanswered, seed
        assert max(answered + unanswered) > OUTAGE.end - 13 * 3600


@pytest.mark.parametrize("strategy", loads.STRATEGIES, ids=lambda strategy: strategy.name)
def test_every_report_is_counted_once(strategy):
    load, reports = loads.Load(OUTAGE.end), 0
    for seed in range(100):
        schedule = Schedule(random=random.Random(seed).randbytes, **strategy.settings)
        due, down = OUTAGE.off - 1 - seed, range(OUTAGE.off, OUTAGE.on)
        loads.follow(schedule, strategy, due, OUTAGE.end, load, down)
        reports += schedule.reports
    assert sum(load.firsts) == 100 and sum(load.firsts) + sum(load.reports) == reports
    # Switched on just before the outage, they are due again after it; only ours are spread into it.
    assert (sum(load.unanswered) > 0) == (strategy is MUSTER)


def simulated(devices, outage, seed=1):
    told = []
    with loads.processors(devices) as run:
        result = list(loads.curves(devices, outage, seed, lambda: told.append(1), run))
    assert len(told) == loads.parts(devices) * len(result)
    return {(curve.scene, curve.strategy.name): curve for curve in result}


def test_peaks_after_a_batch_a_power_cut_and_an_outage():
    curves = simulated(2000, FOUR_HOURS)
    fixed, document, muster = (strategy.name for strategy in loads.STRATEGIES)
    peak = {key: curve.load.max() / loads.mean(2000) for key, curve in curves.items()}
    for curve in curves.values():
        assert curve.firsts.sum() == (2000 if curve.scene == 0 else 0)
        assert (curve.unanswered.sum() > 0) == (curve.scene >= 2)
    # At 12, 24 and 36 hours, all of them in one minute.
    assert curves[0, fixed].reports.sum() == 3 * 2000 and peak[0, fixed] == 720
    assert 20 < peak[0, document] < 40 and peak[0, muster] < 6
    assert peak[1, fixed] > 180 and peak[1, fixed] > 8 * peak[1, muster]
    assert peak[1, document] > 3 * peak[1, muster]
    assert peak[2, fixed] > 200 and peak[2, fixed] > 8 * peak[2, muster]
    # Everybody's deadline has passed: a try within every 15 minutes, and no crowd in any of them.
    tries = curves[3, muster].unanswered[43 * 60 : 46 * 60]
    assert abs(tries.mean() - 2000 / 7.5) < 10 and tries.max() < 1.3 * 2000 / 7.5
    # Until the power fails, those in the field come evenly.
    two_hours = curves[1, muster].reports[: 16 * 60].reshape(-1, 120).sum(axis=1)
    assert numpy.abs(two_hours - 2000 / 6).max() < 90


@pytest.mark.parametrize(("scene", "most"), [(loads.power, 5), (loads.platform, 6)])
def test_the_herd_after_four_hours_is_no_crowd(scene, most):
    _, reports, unanswered = loads.count(loads.SCENES.index(scene), 2, 0, 10_000, FOUR_HOURS, 1)
    # Five minutes of these few are as even as one of a hundred thousand.
    assert (reports + unanswered).reshape(-1, 300).sum(axis=1).max() / (5 * loads.mean(10_000)) <= most


def same(one, other):
    kinds = ("firsts", "reports", "unanswered")
    return all(numpy.array_equal(getattr(one[key], k), getattr(other[key], k)) for key in one for k in kinds)


def test_the_seed_decides_on_one_processor_as_on_all(monkeypatch):
    monkeypatch.setattr(loads, "PART", 70)
    outage = loads.Outage(1, 8 * 3600, 12 * 3600, 0.3)
    on_all = simulated(200, outage, 5)
    assert on_all[0, FIXED.name].firsts.sum() == 200
    monkeypatch.setattr(loads, "processors", lambda devices: contextlib.nullcontext(map))
    assert same(on_all, simulated(200, outage, 5))
    assert not same(on_all, simulated(200, outage, 6))
    # Nor does a part repeat another.
    one, other = (loads.count(0, 0, part, 70, outage, 5) for part in (0, 1))
    assert not numpy.array_equal(one[0], other[0])


@pytest.fixture
def drawn(tmp_path):
    """Gives the command for two reports a minute, with more arguments; returns what it says and draws."""

    def drawn(*more):
        file = tmp_path / "load.png"
        arguments = ["--devices", "1440", "--days", "1", "--plot", str(file), *more]
        done = CliRunner().invoke(simulate, arguments)
        assert done.exit_code == 0, done.output
        return done, file

    return drawn


def test_the_command_tells_and_draws(drawn):
    # It takes a second, which who only collects these tests need not wait.
    from matplotlib import colors, image

    from tools.simulate import picture

    done, file = drawn()
    lines = done.output.splitlines()
    (fixed,) = [line.split() for line in lines if FIXED.name in line][:1]
    # reports, unanswered, peak/min: they come at 12 hours all at once.
    assert fixed[4:7] == ["1,440", "0", "1,440"] and fixed[8] == "720.0"
    assert "1,440 devices, 1 day. Spread evenly over 12 hours that makes 2.0 reports" in done.output
    assert "enrolments of the batch, 1,440 in all" in done.output
    assert "30% without power for 4 h" in done.output and max(map(len, lines)) <= 100
    content = file.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", content[16:24]) == picture.SIZE
    pixels = image.imread(file)[:-60, :, :3]  # without the legend
    for colour in picture.COLOURS:
        assert (numpy.abs(pixels - colors.to_rgb(colour)).max(axis=2) < 0.01).sum() > 100, colour


def test_the_command_prints_its_figures_for_programs(drawn):
    done, file = drawn("--json")
    told = json.loads(done.stdout)
    assert file.exists() and "Drawn" in done.stderr
    assert (told["devices"], told["days"]) == (1440, 1) and told["enrolments"]["all"] == 1440
    assert len(told["curves"]) == len(loads.SCENES) * len(loads.STRATEGIES)
    fixed = next(one for one in told["curves"] if one["strategy"] == FIXED.name)
    assert (fixed["reports"], fixed["peak_minute"], fixed["peak_to_mean"]) == (1440, 1440, 720.0)


def test_one_device_has_a_mean_too():
    assert loads.in_words(1) == ("1 device", "0.0014")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--devices", "0"], "0 is not in the range"),
        (["--devices", "many"], "not a valid integer"),
        (["--days", "400"], "400 is not in the range"),
        (["--outage", "24,4"], "three numbers"),
        (["--outage", "24,4,half"], "three numbers"),
        (["--outage", "24,nan,1"], "HOURS more than 0"),
        (["--outage", "24,4,1.5"], "SHARE above 0"),
        (["--outage", "inf,4,1"], "START is 0 or more"),
        (["--outage", "24,48,1"], "ends after 72 hours"),
        (["--plot", "/nowhere/load.png"], "cannot be written"),
        (["--plot", "load.jpg"], "end its name with .png"),
    ],
)
def test_what_is_called_wrongly_is_told_in_a_sentence(arguments, words):
    done = CliRunner().invoke(simulate, arguments)
    assert done.exit_code == 2, done.output
    assert words in " ".join(done.output.replace("│", " ").split()) and "Traceback" not in done.output
