"""python3 -m tools chaos."""

from __future__ import annotations

import contextlib
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.__main__ import ROOT
from tools.board import find_micropython
from tools.progress import Tell, steps
from tools.ranges import NumberRange

from .verdict import SEED, Verdict

# Each a module of this package with run(full, tell, seed).
PARTS = ("power", "rot", "hostile", "fuzz", "clocks", "years", "soak", "loop", "storm")
MINUTES = 1.0

Result = tuple[str, Verdict, float]


@click.command()
@click.option("--full", is_flag=True, help="Tries everything, in tens of minutes, and prints one table.")
@click.option(
    "--part",
    "parts",
    type=click.Choice(PARTS),
    multiple=True,
    help="Only this part of it, as often as needed; its short form unless --full is given too.",
)
@click.option("--boards", type=click.IntRange(1, 50), help="Boards in the storm.  [default: 4]")
@click.option("--minutes", type=NumberRange(0.1, 1440), help="How long the storm lasts.  [default: 1]")
@click.option(
    "--seed",
    type=click.IntRange(1),
    default=SEED,
    help=f"Of all that is drawn: the same seed draws the same.  [default: {SEED}]",
)
@click.option(
    "--json",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also writes the table to this file.",
)
def chaos(
    full: bool,
    parts: tuple[str, ...],
    boards: int | None,
    minutes: float | None,
    seed: int,
    file: Path | None,
) -> None:
    """What a device must outlive, tried; exit status 1 if it did not, 130 after Ctrl-C.

    By itself a storm to watch: the clouds in a box and some virtual boards, with the power, the flash, the
    network, the clocks and the clouds failing at random; then calm, in which every board has to report again.

    With --full or --part the systematic trials, each of the shipped code: power cuts at every flash
    operation, rotten flash, hostile servers, fuzzing, clocks, years of virtual time, ten thousand
    heartbeats, an asyncio loop's stalls, and the storm.
    """
    from . import storm

    console = Console(highlight=False, soft_wrap=True)
    if file and not file.parent.is_dir():
        raise click.BadParameter(f"the folder of {file} is not there.", param_hint="--json")
    if not full and not parts:
        started = time.monotonic()
        verdict = storm.watch(boards or storm.BOARDS, minutes or MINUTES, seed, console)
        results = [("storm", verdict, time.monotonic() - started)]
    elif boards or minutes:
        raise click.UsageError("--boards and --minutes are for the storm by itself.")
    else:
        results = try_all([part for part in PARTS if not parts or part in parts], full, seed, console)
    tried = {"commit": commit(), "micropython": micropython()}
    console.print(f"commit {tried['commit']}, MicroPython {tried['micropython']}")
    show(results, console)
    if file:
        table = tried | {"parts": [as_json(*result) for result in results]}
        file.write_text(json.dumps(table, indent=2, ensure_ascii=False) + "\n")
    if any(verdict.interrupted for _, verdict, _ in results):
        sys.exit(130)
    sys.exit(1 if any(verdict.failures or verdict.losses for _, verdict, _ in results) else 0)


def try_all(parts: list[str], full: bool, seed: int, console: Console) -> list[Result]:
    """Each part's verdict and how many seconds it took. Ctrl-C ends it with what there is so far."""
    results: list[Result] = []
    with steps(console, len(parts)) as (tell, done):
        for part in parts:
            tell(part)
            started = time.monotonic()
            try:
                verdict = attempt(part, full, seed, tell)
            except KeyboardInterrupt:
                verdict = Verdict(part, failures=["interrupted"], interrupted=True)
            results.append((part, verdict, time.monotonic() - started))
            if verdict.interrupted:
                break
            done()
    return results


def attempt(part: str, full: bool, seed: int, tell: Tell) -> Verdict:
    """The part's verdict; one that crashes is a failure, not the end of the others."""
    try:
        return importlib.import_module(f"tools.chaos.{part}").run(full, tell, seed)
    except Exception as e:
        return Verdict(part, failures=[f"it crashed: {type(e).__name__}: {e}"])


def commit() -> str:
    """The short hash of what was tried, "+changes" if files differ from it; "unknown" without git."""
    with contextlib.suppress(OSError):
        command = ["git", "describe", "--always", "--exclude=*", "--dirty=+changes"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout.strip()
    return "unknown"


def micropython() -> str:
    """Its version, "none" where there is none."""
    found = find_micropython()
    if found is None:
        return "none"
    asked = "import sys; print('%d.%d.%d' % sys.implementation.version[:3])"
    return subprocess.run([*found.command, "-c", asked], capture_output=True, text=True).stdout.strip()


def show(results: list[Result], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("part", "tried", "failures", "losses", "time", ""):
        right = heading in ("tried", "failures", "losses", "time")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for part, verdict, seconds in results:
        colour = "red" if verdict.failures or verdict.losses else "green"
        table.add_row(
            f"[{colour}]{part}[/]",
            f"{verdict.cases:,}",
            str(len(verdict.failures)),
            str(verdict.losses),
            f"{seconds / 60:.1f} min" if seconds >= 100 else f"{seconds:.0f} s",
            escape(verdict.note),
        )
    console.print(table)
    for part, verdict, _ in results:
        for failure in verdict.failures:
            console.print(f"[red]{part}[/]: {escape(failure)}")


def as_json(part: str, verdict: Verdict, seconds: float) -> dict[str, object]:
    return {
        "part": part,
        "tried": verdict.cases,
        "failures": verdict.failures,
        "losses": verdict.losses,
        "seconds": round(seconds, 1),
        "note": verdict.note,
    }
