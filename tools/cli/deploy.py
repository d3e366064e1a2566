"""python3 -m tools deploy: the files that have changed onto a running board."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from tools.common import options
from tools.common.printable import printable

if TYPE_CHECKING:
    from tools.factory.deploy import Changes


@click.command()
@options.port
@options.config("By default its own is left as it is.")
@options.roots("By default its own stay.")
@options.keys("By default its own stay.")
@options.main
@click.option(
    "--mpy/--source",
    default=None,
    help="The library as compiled files (.mpy), or as .py; by default as the board has it.",
)
@click.option(
    "--via",
    type=click.Choice(["mpremote", "ampy"]),
    default="mpremote",
    show_default=True,
    help="What carries them; ampy is slower.",
)
@click.option(
    "--prune",
    is_flag=True,
    help="Removes what is in /lib/muster, with --roots in /roots, with --keys in /keys, and should not be "
    "there any more.",
)
@click.option("--dry-run", is_flag=True, help="Only tells what would be sent and removed.")
@click.option(
    "--reset/--no-reset",
    default=True,
    show_default=True,
    help="Starts the board anew in the end, or leaves it at its prompt.",
)
@options.as_json
def deploy(
    port: str | None,
    config: Path | None,
    roots: tuple[Path, ...],
    keys: tuple[Path, ...],
    main: Path | None,
    mpy: bool | None,
    via: str,
    prune: bool,
    dry_run: bool,
    reset: bool,
    as_json: bool,
) -> None:
    """Puts the files that have changed onto a running board, and resets it.

    The board compares them itself, by SHA-256. Its program stops meanwhile. What the device wrote, such as
    its secret, is not touched, nor are files that the product does not have. If the power goes, the board
    starts with all of the old files or all of the new ones.

    Example: python3 -m tools deploy --config config.json
    """
    from tools.factory import deploy as line
    from tools.factory import programs
    from tools.factory.ports import the_port
    from tools.factory.raw_repl import RawRepl
    from tools.factory.stopped import stopped

    def clean(board: RawRepl) -> None:
        board.run(programs.CLEAN)

    if config is not None:
        from muster import config as configuration

        configuration.load(str(config))
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    started = time.monotonic()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    try:
        with (
            stopped(the_port(port), via, reset, clean) as board,
            Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        ):
            task = progress.add_task("")

            def told(path: str, count: int, total: int) -> None:
                progress.update(task, description=path, advance=count, total=total)

            changes = line.deploy(board, told, config, roots, mpy, prune, dry_run, keys, main)
    except KeyboardInterrupt:
        click.echo("Stopped: the board has all of its files as they were, or all of the new ones.", err=True)
        sys.exit(130)
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(changes), "dryRun": dry_run}, ensure_ascii=False))
    else:
        _tell(changes, dry_run, time.monotonic() - started)


def _tell(changes: Changes, dry_run: bool, seconds: float) -> None:
    for path, size in changes.sent.items():
        click.echo(f"{size:>9,}  {path}")
    for path in changes.removed:
        click.echo(f"{'remove' if dry_run else 'removed':>9}  {printable(path)}")
    count = len(changes.sent)
    total = f"{count} file{'' if count == 1 else 's'}, {sum(changes.sent.values()):,} bytes"
    if not changes.sent and not changes.removed:
        click.echo("nothing to send: the board has it all")
    elif dry_run:
        click.echo(f"{total} to send")
    else:
        click.echo(f"{total} sent in {seconds:.1f} s")
    if not changes.configured:
        click.echo("the board has no /config.json: give it one with --config, and --roots as well")
    if changes.hidden:
        click.echo(
            f"the board takes muster from {printable(changes.home)}, not from /lib/muster/: what was put "
            "there does not run. Its firmware carries muster, or a file or a folder beside main.py has that "
            "name."
        )
