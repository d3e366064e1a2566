"""The pictures: each strategy's load in each scene, all on one scale; and how a release is taken."""

from __future__ import annotations

import io
import textwrap
from typing import Any

import numpy
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MultipleLocator

from . import release
from .load import LONG_OUTAGE_S, SCENES, STRATEGIES, Curve, Outage, deadlines, in_words, mean, titles

SIZE = (1600, 1000)  # pixels
_DPI = 125
REPORTS, UNANSWERED, FIRSTS, DOWN = COLOURS = "#1f5fa8", "#d9730d", "#8a8a8a", "#f6e7d8"
_LOWEST, _HIGHEST = 0.1, 4000  # times the mean
_MEAN: dict[str, Any] = {"color": "black", "linewidth": 0.8, "linestyle": (0, (4, 3))}


def draw(curves: list[Curve], devices: int, outage: Outage) -> bytes:
    """The PNG."""
    figure = _canvas()
    panels = figure.subplots(len(SCENES), len(STRATEGIES), sharex=True, sharey=True)
    for curve, axes in zip(curves, panels.flat, strict=True):
        _panel(axes, curve, mean(devices), outage)
    for axes, strategy in zip(panels[0], STRATEGIES, strict=True):
        axes.set_title(strategy.name, fontsize=13, fontweight="bold", pad=10)
    for axes, title in zip(panels[:, 0], titles(outage), strict=True):
        label = textwrap.fill(title[0].upper() + title[1:], 14)
        axes.set_ylabel(label, fontsize=12, rotation=0, ha="left", va="center", labelpad=100)
    for axes in panels[-1]:
        axes.set_xlabel("hours", fontsize=11)
    how_many, even = in_words(devices)
    figure.suptitle(
        f"{how_many}: requests at the platform in each minute, as multiples of the mean ({even})", fontsize=14
    )
    legend = [
        Patch(color=REPORTS, label="reports"),
        Patch(color=UNANSWERED, label="reports not answered"),
        Patch(color=FIRSTS, label="enrolments, and as many first reports"),
        Patch(color=DOWN, label="outage"),
        Line2D([], [], label="mean", **_MEAN),
    ]
    return _png(figure, legend)


def _canvas() -> Figure:
    figure = Figure(figsize=(SIZE[0] / _DPI, SIZE[1] / _DPI), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure, legend: list[Any]) -> bytes:
    figure.legend(handles=legend, loc="outside lower center", ncols=len(legend), frameon=False, fontsize=11)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def draw_release(courses: list[release.Course]) -> bytes:
    """The PNG of a release."""
    plan = courses[0].plan
    figure = _canvas()
    hours = (numpy.arange(plan.days * 1440) + 1) / 60
    for axes, course in zip(figure.subplots(len(courses), 1, sharex=True, sharey=True), courses, strict=True):
        axes.plot(hours, course.requests / plan.mean, color=UNANSWERED, linewidth=1)
        axes.plot(hours, course.looks / plan.mean, color=REPORTS, linewidth=1)
        axes.axhline(1, **_MEAN)
        title = release.SCENES[course.scene]
        axes.set_title(
            f"{title[0].upper() + title[1:]}: busiest minute {course.peak_to_mean:.2f}× the mean", fontsize=13
        )
        axes.set_ylim(0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}×"))
        share = axes.twinx()
        share.plot(hours, 100 * course.taken / plan.devices, color=FIRSTS, linewidth=2)
        share.set_ylim(0, 105)
        share.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}%"))
        for one in (axes, share):
            one.tick_params(labelsize=10)
            one.spines[["top"]].set_visible(False)
    axes.set_xlim(0, 24 * plan.days)
    axes.xaxis.set_major_locator(MultipleLocator(12 if plan.days <= 4 else 24 * -(-plan.days // 7)))
    axes.set_xlabel("hours after the release", fontsize=11)
    figure.suptitle(
        f"{in_words(plan.devices)[0]}, a look every {plan.period / 3600:g} h, rollout {plan.rollout}%: "
        f"requests in each minute, as multiples of the mean of looks ({plan.mean:,.3g})",
        fontsize=14,
    )
    legend = [
        Patch(color=REPORTS, label="looks for a release"),
        Patch(color=UNANSWERED, label=f"these and fetches of files, {plan.files} a device"),
        Patch(color=FIRSTS, label="devices that have it"),
        Line2D([], [], label="mean of looks", **_MEAN),
    ]
    return _png(figure, legend)


def _panel(axes: Axes, curve: Curve, even: float, outage: Outage) -> None:
    if curve.scene:
        on = outage.off + LONG_OUTAGE_S if SCENES[curve.scene] is deadlines else outage.on
        axes.axvspan(outage.off / 3600, on / 3600, color=DOWN, linewidth=0)
    for counts, colour in ((curve.firsts, FIRSTS), (curve.reports, REPORTS), (curve.unanswered, UNANSWERED)):
        # Lines, since a minute is less than a pixel wide, and a bar of it would pale or vanish. They are one
        # path with gaps: vlines() would place each of the thousands by itself, which takes seconds.
        busy = numpy.flatnonzero(counts)
        ends = numpy.full((len(busy), 3), numpy.nan)
        ends[:, 0], ends[:, 1] = _LOWEST, counts[busy] / even
        hours = numpy.repeat(busy / 60, 3)
        axes.plot(hours, ends.ravel(), color=colour, linewidth=1, solid_capstyle="butt", snap=True)
    axes.axhline(1, **_MEAN)
    highest = int(curve.load.argmax())
    peak = curve.load[highest] / even
    axes.annotate(
        f"peak {peak:,.0f}×" if peak >= 10 else f"peak {peak:.1f}×",
        (highest / 60, peak),
        xytext=(5, 3) if highest < 0.7 * len(curve.load) else (-5, 3),
        ha="left" if highest < 0.7 * len(curve.load) else "right",
        textcoords="offset points",
        fontsize=12,
        fontweight="bold",
    )
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.set_ylim(_LOWEST, _HIGHEST)
    axes.set_xlim(-0.4 * outage.days, 24 * outage.days)
    axes.xaxis.set_major_locator(MultipleLocator(12 if outage.days <= 4 else 24 * -(-outage.days // 7)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,g}×"))
    axes.tick_params(labelsize=10)
    axes.spines[["top", "right"]].set_visible(False)
