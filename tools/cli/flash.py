"""python3 -m tools flash: firmware and product onto boards, with a table of what became of each."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text

from tools.common import boards, options
from tools.common.printable import printable

if TYPE_CHECKING:
    from tools.factory.ledger import Ledger
    from tools.factory.rack import BoardResult

# Of a port's name, beside how far its board is.
PORT_WIDTH = 24
# Seconds that enrolling may take.
ENROL_S = 60
# Seconds that a check may take.
CHECK_S = 60


@click.command()
@options.board("Without it each board's chip is asked.")
@options.ports
@click.option("--all", "everywhere", is_flag=True, help="Every USB serial port.")
@click.option(
    "--firmware",
    type=options.FILE,
    help="MicroPython's firmware. Without it only the file system is written.",
)
@options.config()
@options.roots()
@options.keys()
@options.release
@options.main
@click.option(
    "--mpy/--source", default=True, show_default=True, help="The library as compiled files (.mpy), or as .py."
)
@click.option(
    "--identities",
    type=options.SECRET_FILE,
    help="CSV of identities; each board gets the next free row, and keeps it.",
)
@click.option("--erase", is_flag=True, help="Erases the whole chip first, the device's secret with it.")
@click.option(
    "--baud",
    type=click.IntRange(9600, 5_000_000),
    default=460800,
    show_default=True,
    help="Bits a second on the line.",
)
@click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Waits until the devices have enrolled, or not."
)
@click.option(
    "--timeout",
    type=click.IntRange(1),
    default=ENROL_S,
    show_default=True,
    help="Seconds that enrolling may take.",
)
@click.option(
    "--check",
    type=options.FILE,
    help="A MicroPython program that each board must pass before it enrols: its last line is PASS, or FAIL "
    "and a reason.",
)
@click.option(
    "--check-s",
    type=click.IntRange(1),
    default=CHECK_S,
    show_default=True,
    help="Seconds that the check may take.",
)
@options.as_json
def flash(
    board: boards.BoardType | None,
    ports: tuple[str, ...],
    everywhere: bool,
    firmware: Path | None,
    config: Path,
    roots: tuple[Path, ...],
    keys: tuple[Path, ...],
    release: Path | None,
    main: Path | None,
    mpy: bool,
    identities: Path | None,
    erase: bool,
    baud: int,
    wait: bool,
    timeout: int,
    check: Path | None,
    check_s: int,
    as_json: bool,
) -> None:
    """Writes firmware and product onto one board or many at once, and waits until they have enrolled.

    Without --port and --all it takes the only board that is plugged in.

    The secret that a device keeps on flash outlives this, unless --erase says otherwise. Flashed again, it
    reports at once, which shows whether the platform takes its new configuration. With --json it prints a
    list of the boards: port, board, MAC, identity, what the check said, outcome (enrolled, flashed, failed,
    stopped), what was said of it, and its times in Unix seconds.

    The program of --check tries what the board has: lights, microphone, loudspeaker. It runs when all is
    written and nothing of the product has run. A board that does not pass does not enrol and does not start
    the product, also later; flashed again, it gets the same identity. firmware/examples/check.py is one.

    Example: python3 -m tools flash --all --erase --firmware FILE --config config.json --identities batch.csv
    """
    try:
        from tools.factory.keys import key_files
        from tools.factory.ledger import Ledger
        from tools.factory.linetest import Check
        from tools.factory.ports import the_port, usb_ports
        from tools.factory.rack import Rack, Settings, read_config
        from tools.factory.release import product

        if erase and firmware is None:
            raise click.UsageError("--erase leaves no firmware on the chip: give --firmware as well.")
        found = [one.port for one in usb_ports()] if everywhere else []
        places = list(dict.fromkeys([*ports, *found])) or [the_port(None)]
        content = None if firmware is None else boards.read_firmware(firmware, board)[0]
        configuration, _ = read_config(config, identities, len(places))
        taken = None
        if release is not None:
            options.refuse_beside("--release", "roots", "main", "mpy")
            taken = product(release, key_files(keys), configuration)
        settings = Settings(
            config,
            roots,
            board,
            content,
            erase,
            baud,
            wait=timeout if wait else 0,
            source=not mpy,
            keys=keys,
            release=taken,
            check=None if check is None else Check(check.read_bytes(), check_s),
            main=main,
        )
        console = Console(stderr=as_json, highlight=False, soft_wrap=True)
        with contextlib.ExitStack() as stack:
            ledger = stack.enter_context(Ledger(identities)) if identities is not None else None
            _warn_of_other_computers(ledger)
            display = _Display(console, places)
            rack = Rack(settings, configuration, places, ledger, display.show)
            try:
                with display.progress:
                    rack.flash()
            finally:
                if as_json:
                    report = [_report(result) for result in rack.results]
                    click.echo(json.dumps(report, ensure_ascii=False, indent=2))
                else:
                    console.print(table(rack.results))
        sys.exit(0 if all(result.done for result in rack.results) else 1)
    except KeyboardInterrupt:
        click.echo(
            "stopped: flash each board again that is not flashed, from this computer, which keeps its secret "
            "until then.",
            err=True,
        )
        sys.exit(130)


class _Display:
    """A line for each board that shows how far it is."""

    def __init__(self, console: Console, ports: Sequence[str]) -> None:
        one_line = Column(no_wrap=True)
        self.progress = Progress(
            TextColumn("{task.fields[port]}", markup=False, table_column=one_line),
            BarColumn(None, table_column=Column(ratio=1)),
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=3),
            ),
            console=console,
            expand=True,
        )
        self._tasks = {port: self.progress.add_task("", port=_short(port), total=None) for port in ports}

    def show(self, result: BoardResult, text: str, done: int, total: int) -> None:
        self.progress.update(
            self._tasks[result.port], description=printable(text), completed=done, total=total or None
        )


def _short(port: str) -> str:
    """The end of a long name is what tells it from others."""
    return port if len(port) <= PORT_WIDTH else "…" + port[1 - PORT_WIDTH :]


def _warn_of_other_computers(ledger: Ledger | None) -> None:
    if ledger is not None and not ledger.given:
        click.echo(
            f"{ledger.path}: no board has a row of it yet. If boards got some on another computer, stop, "
            f"and bring {ledger.path}.boards and {ledger.path}.last along from there.",
            err=True,
        )


def _report(result: BoardResult) -> dict:
    return {**dataclasses.asdict(result), "seconds": round(result.seconds, 1)}


def table(results: Sequence[BoardResult]) -> Text:
    """What became of each board, for people: a line for each, with its result at the end, however long."""
    rows = [("port", "MAC", "identity", "s")]
    rows += [
        (one.port, one.mac, next(iter(one.identity.values()), ""), f"{one.seconds:.1f}") for one in results
    ]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    shown = Text()
    for row, one in zip(rows, [None, *results], strict=True):
        for cell, width in zip(row, widths, strict=True):
            shown.append(set_cell_size(cell, width) + "  ")
        said = printable(f"{one.check}; {one.said}" if one.check else one.said) if one else "result"
        shown.append(said, "bold" if one is None else "green" if one.done else "red")
        shown.append("\n")
    shown.right_crop()
    return shown
