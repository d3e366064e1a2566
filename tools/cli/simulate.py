"""python3 -m tools simulate."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from tools.common.extras import need
from tools.common.options import as_json, refuse_beside
from tools.common.progress import steps

if TYPE_CHECKING:
    from tools.simulate.load import Outage

_HOUR_S = 3600


def _outage(context: click.Context, parameter: click.Parameter, value: str | None) -> list[float] | None:
    """START, HOURS and SHARE."""
    if value is None:
        return None
    try:
        start, hours, share = map(float, value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not three numbers like 24,4,0.3.") from None
    if not (0 <= start < float("inf") and 0 < hours < float("inf") and 0 < share <= 1):
        raise click.BadParameter(f"{value}: START is 0 or more, HOURS more than 0, SHARE above 0 up to 1.")
    return [start, hours, share]


def _png(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """A minute's work must not end in a folder that is not there."""
    if path and not (path.parent.is_dir() and os.access(path if path.exists() else path.parent, os.W_OK)):
        raise click.BadParameter(f"{path} cannot be written: expected a file in a folder that is there.")
    if path and path.suffix.lower() != ".png":
        raise click.BadParameter(f"{path} is drawn as PNG: end its name with .png.")
    return path


@click.command(
    epilog="\b\nExamples:\n  python3 -m tools simulate --devices 1000000 --outage 24,4,0.3 --plot load.png"
    "\n  python3 -m tools simulate --release --devices 1000000 --rollout 10"
)
@click.option(
    "--devices",
    type=click.IntRange(1, 10_000_000),
    default=100_000,
    show_default=True,
    help="How many devices there are.",
)
@click.option(
    "--days", type=click.IntRange(1, 31), default=3, show_default=True, help="How long they are followed."
)
@click.option(
    "--outage",
    metavar="START,HOURS,SHARE",
    callback=_outage,
    help="Hours from the start, how many hours, for what share of the devices. "
    "By default after a third of the time, 4 hours, 0.3.",
)
@click.option(
    "--release", is_flag=True, help="Shows instead how the devices take a release, and its server's load."
)
@click.option(
    "--rollout", type=click.IntRange(1, 100), help="Percent of the devices that take it. [default: 100]"
)
@click.option(
    "--period", type=click.IntRange(3600), help="Seconds, as in the configuration's updates. [default: 86400]"
)
@click.option("--files", type=click.IntRange(1), help="How many files of the release differ. [default: 2]")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_png,
    help="Draws the load into this PNG.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same figures.")
@as_json
def simulate(
    devices: int,
    days: int,
    outage: list[float] | None,
    release: bool,
    rollout: int | None,
    period: int | None,
    files: int | None,
    plot: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Shows the load on the platform, minute by minute, from the schedule that ships.

    It compares three strategies: a timer of 12 hours that starts with the power and remembers nothing;
    strategy 2 of the platform's document, 12 h ± 15 min, remembered; and muster's. Each has four scenes:
    a batch of new devices is switched on within a minute; of the devices in the field a share loses its
    power and gets it back all at once; the platform itself is down for as long, for everyone; and it is
    down for 30 hours, beyond the deadline of every device.

    A million devices for three days take some minutes on two cores, in memory that does not grow with
    their number.

    With --release it shows the looks for a release and the fetches of its files, for devices in the field
    and for such as are all switched on when it comes, and how many have it when.
    """
    if release:
        refuse_beside("--release", "outage")
        _release(devices, days, rollout or 100, period or 86400, files or 2, plot, seed, as_json)
        return
    if rollout or period or files:
        raise click.UsageError("--rollout, --period and --files are of a release: give --release as well.")
    start, hours, share = outage or (8.0 * days, 4.0, 0.3)
    if start + hours >= 24 * days:
        raise click.BadParameter(
            f"it ends after {start + hours:g} hours, and the {24 * days} that are simulated must be longer.",
            param_hint="--outage",
        )
    need("draw")
    from tools.simulate.load import SCENES, STRATEGIES, Outage, curves, parts, processors

    cut = Outage(days, round(start * _HOUR_S), round((start + hours) * _HOUR_S), share)
    total = len(SCENES) * len(STRATEGIES) * parts(devices)
    with steps(Console(stderr=True), total) as (_, done), processors(devices) as run:
        result = list(curves(devices, cut, seed, done, run))
    firsts = {"all": int(result[0].firsts.sum()), "busiest_minute": int(result[0].firsts.max())}
    figures = [curve.figures(cut, devices) for curve in result]
    if as_json:
        click.echo(json.dumps({"devices": devices, "days": days, "enrolments": firsts, "curves": figures}))
    else:
        _tell(figures, firsts, devices, cut)
    if plot:
        from tools.simulate.picture import draw

        plot.write_bytes(draw(result, devices, cut))
        click.echo(f"\nDrawn: {plot}", err=as_json)


def _release(
    devices: int,
    days: int,
    rollout: int,
    period: int,
    files: int,
    plot: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    need("draw")
    from tools.simulate.load import in_words
    from tools.simulate.release import MOST, Plan, courses

    plan = Plan(devices, days, period, rollout, files)
    result = courses(plan, seed)
    figures = [course.figures() for course in result]
    if as_json:
        click.echo(json.dumps({"devices": devices, "days": days, "mean": plan.mean, "scenes": figures}))
    else:
        click.echo(
            f"{in_words(devices)[0]}, {days} day{'s' * (days != 1)} after a release for {rollout}% of them. "
            f"Spread evenly over {period / 3600:g} h\nthat makes {plan.mean:,.3g} looks a minute: the mean."
            f"\n\n{'':20}     looks  peak/min  peak/mean   requests  peak/min    have it  half in  all in"
        )
        for one in figures:
            half, whole = (f"{one[name]:.1f} h" if one[name] else "-" for name in ("half_in_h", "all_in_h"))
            click.echo(
                f"{one['scene']:20}{one['looks']:10,}{one['peak_minute']:10,}{one['peak_to_mean']:11.2f}"
                f"{one['requests']:11,}{one['requests_peak_minute']:10,}{one['taken']:11,}{half:>9}{whole:>8}"
            )
        worst = max(course.peak_to_mean for course in result)
        click.echo(
            f"\nThe busiest minute has {worst:.2f} times the mean; that of a million devices at most {MOST}."
        )
    if plot:
        from tools.simulate.picture import draw_release

        plot.write_bytes(draw_release(result))
        click.echo(f"\nDrawn: {plot}", err=as_json)


def _tell(figures: list[dict[str, Any]], firsts: dict[str, int], devices: int, outage: Outage) -> None:
    from tools.simulate.load import in_words

    how_many, reports = in_words(devices)
    click.echo(
        f"{how_many}, {outage.days} day{'s' * (outage.days != 1)}. Spread evenly over 12 hours that makes "
        f"{reports} reports\na minute: the mean that every peak is measured by."
    )
    scene = None
    for one in figures:
        if one["scene"] != scene:
            scene = one["scene"]
            click.echo(f"\n{scene:32}   reports     unanswered   peak/min  peak/s  peak/mean")
        click.echo(
            f"  {one['strategy']:30}{one['reports']:10,}{one['unanswered']:15,}"
            f"{one['peak_minute']:11,}{one['peak_second']:8,}{one['peak_to_mean']:11,.1f}"
        )
    click.echo(
        f"\nNot in these: the enrolments of the batch, {firsts['all']:,} in all, each followed at once by a "
        f"\nfirst report, {firsts['busiest_minute']:,} of each in the busiest minute, whatever the strategy."
    )
