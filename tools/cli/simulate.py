"""python3 -m tools simulate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from tools.simulate.load import Curve, World

_HOUR_S = 3600


class _Outage(click.ParamType):
    name = "START,HOURS,SHARE"

    def convert(
        self, value: object, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[float, float, float]:
        try:
            start, hours, share = map(float, str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not three numbers like 24,4,0.3.", parameter, context)
        if not (0 <= start < float("inf") and 0 < hours < float("inf") and 0 < share <= 1):
            self.fail(
                f"{value}: START is 0 or more, HOURS more than 0, SHARE above 0 up to 1.", parameter, context
            )
        return start, hours, share


def _png(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """A minute's work must not end in a folder that is not there."""
    if path and not (path.parent.is_dir() and os.access(path if path.exists() else path.parent, os.W_OK)):
        raise click.BadParameter(f"{path} cannot be written: expected a file in a folder that is there.")
    if path and path.suffix.lower() != ".png":
        raise click.BadParameter(f"{path} is drawn as PNG: end its name with .png.")
    return path


@click.command()
@click.option("--devices", type=click.IntRange(1, 10_000_000), default=100_000, show_default=True)
@click.option("--days", type=click.IntRange(1, 31), default=3, show_default=True)
@click.option(
    "--outage",
    type=_Outage(),
    help="Hours from the start, how many hours, for what share of the devices. "
    "By default after a third of the time, 4 hours, 0.3.",
)
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), callback=_png, help="Draws it, as this PNG."
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same figures.")
def simulate(
    devices: int, days: int, outage: tuple[float, float, float] | None, plot: Path | None, seed: int
) -> None:
    """Load on the platform, minute by minute, from the schedule that ships.

    Three strategies: a timer of 12 hours that starts with the power and remembers nothing; strategy 2 of
    the platform's document, 12 h ± 15 min, remembered; and muster's. Four scenes: a batch of new devices
    switched on within a minute; devices in the field, of which a share loses its power and gets it back
    all at once; the platform itself down for as long, for everyone; and down for 30 hours, beyond the
    deadline of every device.

    A million devices for three days take some minutes on two cores, in memory that does not grow with
    their number.
    """
    from tools.simulate.load import SCENES, STRATEGIES, World, curves

    start, hours, share = outage or (8.0 * days, 4.0, 0.3)
    if start + hours >= 24 * days:
        raise click.BadParameter(
            f"it ends after {start + hours:g} hours, and the {24 * days} that are simulated must be longer.",
            param_hint="--outage",
        )
    world = World(days, round(start * _HOUR_S), round((start + hours) * _HOUR_S), share)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("devices", total=devices * len(SCENES) * len(STRATEGIES))
        result = list(curves(devices, world, seed, lambda n: progress.advance(task, n)))
    _tell(result, devices, world)
    if plot:
        from tools.simulate.picture import draw

        plot.write_bytes(draw(result, devices, world))
        click.echo(f"\nDrawn: {plot}")


def _tell(result: list[Curve], devices: int, world: World) -> None:
    from tools.simulate.load import in_words, mean, titles

    even = mean(devices)
    how_many, reports = in_words(devices)
    click.echo(
        f"{how_many}, {world.days} day{'s' * (world.days != 1)}. Spread evenly over 12 hours that makes "
        f"{reports} reports\na minute: the mean that every peak is measured by."
    )
    for number, title in enumerate(titles(world)):
        click.echo(f"\n{title:32}   reports     unanswered   peak/min  peak/s  peak/mean")
        for curve in (c for c in result if c.scene == number):
            peak = int(curve.load.max())
            click.echo(
                f"  {curve.strategy.name:30}{curve.reports.sum():10,}{curve.unanswered.sum():15,}"
                f"{peak:11,}{curve.peak_second:8,}{peak / even:11,.1f}"
            )
    firsts = result[0].firsts
    click.echo(
        f"\nNot in these: the enrolments of the batch, {firsts.sum():,} in all, each followed at once by a "
        f"\nfirst report, {firsts.max():,} of each in the busiest minute, whatever the strategy."
    )
