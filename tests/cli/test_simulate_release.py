"""A release and the devices that look for it: spread, complete, and the same for the same seed."""

import json
import struct

import numpy
import pytest
from click.testing import CliRunner

from tools.cli.simulate import simulate
from tools.simulate import release

PLAN = release.Plan(devices=100_000, days=3, period=86400, rollout=100, files=2)


@pytest.fixture(scope="module")
def courses():
    return release.courses(PLAN, 1)


def hourly(course):
    """Looks in each hour, as multiples of the mean: of so few devices a minute is mostly chance."""
    return course.looks.reshape(-1, 60).sum(axis=1) / (60 * PLAN.mean)


def test_no_hour_is_much_busier_than_another(courses):
    for course in courses:
        assert hourly(course).min() > 0.9 and hourly(course).max() < 1.1
        assert abs(course.looks.sum() - 3 * PLAN.devices) < 0.02 * PLAN.devices
    # So that of a million, in whose minutes chance has a part of 4%, the busiest stays below the bound.
    assert (
        hourly(courses[1]).max() + 5 * (release.Plan(1_000_000, 3, 86400, 100, 2).mean ** -0.5) < release.MOST
    )


def test_each_device_takes_it_once_within_a_look(courses):
    for course in courses:
        assert course.taken[-1] == PLAN.devices and (numpy.diff(course.taken) >= 0).all()
        assert 11 < course.hours(0.5) < 13 and 29 < course.hours(1) <= 30.02
        assert course.requests.sum() == course.looks.sum() + 2 * PLAN.devices


def test_a_rollout_is_that_share_and_grows(courses):
    plans = [release.Plan(100_000, 1, 86400, rollout, 1) for rollout in (1, 10, 50, 100)]
    shares = [release.chosen(plan) for plan in plans]
    for plan, share, more in zip(plans, shares, [*shares[1:], shares[-1]], strict=True):
        assert abs(share.mean() - plan.rollout / 100) < 0.004
        assert not (share & ~more).any()  # who has it stays among those that do
    few = release.courses(plans[1], 1)[0]
    assert few.taken[-1] <= shares[1].sum() and few.hours(1) <= 24


def test_the_seed_decides(courses):
    again, other = (release.courses(PLAN, seed) for seed in (1, 2))
    for one, same, another in zip(courses, again, other, strict=True):
        assert numpy.array_equal(one.requests, same.requests) and not numpy.array_equal(
            one.looks, another.looks
        )


def run(*more, status=0):
    done = CliRunner().invoke(simulate, ["--release", "--devices", "2000", "--days", "2", *map(str, more)])
    assert done.exit_code == status and "Traceback" not in done.output, done.output
    return done


def test_the_command_tells_and_draws(tmp_path):
    # It takes a second, which who only collects these tests need not wait.
    from matplotlib import colors, image

    from tools.simulate import picture

    file = tmp_path / "release.png"
    said = run("--plot", file).stdout
    assert "2,000 devices, 2 days after a release for 100% of them." in said and "1.39 looks a minute" in said
    for scene in release.SCENES:
        assert any(line.startswith(scene) and " 2,000 " in line for line in said.splitlines())
    assert (
        "times the mean; that of a million devices at most 1.5." in said
        and max(map(len, said.splitlines()[:-1])) <= 100
    )
    content = file.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", content[16:24]) == picture.SIZE
    pixels = image.imread(file)[:-60, :, :3]  # without the legend
    for colour in (picture.REPORTS, picture.UNANSWERED, picture.FIRSTS):
        assert (numpy.abs(pixels - colors.to_rgb(colour)).max(axis=2) < 0.01).sum() > 100, colour


def test_the_command_prints_its_figures_for_programs():
    told = json.loads(run("--json", "--rollout", 25, "--period", 3600, "--files", 40).stdout)
    assert (told["devices"], told["days"], [one["scene"] for one in told["scenes"]]) == (
        2000,
        2,
        [*release.SCENES],
    )
    for one in told["scenes"]:
        assert 400 < one["taken"] < 600 and one["all_in_h"] < 1.3
        assert one["requests"] == one["looks"] + 40 * one["taken"] and one["looks"] > 95_000


def test_few_devices_are_told_too():
    # None of so few is of the first percent.
    said = run("--devices", 1, "--rollout", 1).stdout
    assert "1 device, " in said and " - " in said


def test_what_is_called_wrongly_is_told():
    assert "--outage says nothing beside --release" in run("--outage", "1,2,0.3", status=2).output
    for option in ("--rollout", "--period", "--files"):
        done = CliRunner().invoke(simulate, [option, "100" if option != "--period" else "3600"])
        assert done.exit_code == 2 and "give --release as well" in done.output
    assert "0 is not in the range" in run("--rollout", 0, status=2).output
    assert "3599 is not in the range" in run("--period", 3599, status=2).output
