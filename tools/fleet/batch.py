"""A command on a batch, from its input to its summary."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.cli.fleet import Options, called_wrongly

from . import columns, output
from . import journal as journals
from .accounts import Account
from .dispatcher import Run
from .dry_run import Rehearsal
from .journal import DONE, FAILED, SENT, UNCONFIRMED, Journal
from .operations import Work
from .retry import Caller, Session

SHOWN = 20  # failures, or calls of a dry run, that a person sees; --json, --csv and --failed have all

# What a journal's states are called.
_WORDS = {
    DONE: "done",
    FAILED: "failed",
    UNCONFIRMED: "unconfirmed",
    SENT: "unknown",
    None: "not sent",
}
_OPEN = (SENT, FAILED, UNCONFIRMED)


def carry_out(
    command: str,
    account: Account,
    kind: columns.Kind,
    make: Callable[[Caller, Any], Work],
    file: Path,
    options: Options,
    agreed: Callable[[int, str], None] = lambda count, name: None,
    together: bool = False,
) -> None:
    """Reads the batch, sends what is not done, tells what came of it, and exits.

    Args:
        make: one of work's classes, which it makes from a Caller and the account's client.
        agreed: is asked before anything is sent; takes the number of devices, and whose they are.
        together: all devices are sent again as long as one of them is not done.
    """
    piped = str(file) == "-"
    path = options.journal or journals.default(account.scope)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with journals.in_words(path), contextlib.closing(Journal()) as journal:
        with called_wrongly():
            if piped and sys.stdin is None:
                raise ValueError("FILE is -, and standard input is closed: pipe the CSV in, or name a file")
            with click.open_file(str(file), "rb") as opened:
                columns.read(opened, "standard input" if piped else str(file), kind, journal)
            # A dry run leaves no file behind.
            journal.open(path if path.exists() or not options.dry_run else None, account.scope, command)
        todo = journal.count(None, *_OPEN)
        again = together and todo > 0
        if options.dry_run:
            rehearse(journal, account, make, options, again, console)
            return
        if todo:
            agreed(todo, account.name)
        header = ["line", *_public(kind), "outcome", "code", "why"]
        with failures(options.failed) as failed:
            run = Run(journal, options.jobs, console)
            work = make(Caller(options.rate, run.stop, run.tell), account.client(session=Session(account.ca)))
            run.over(work, again)
            if failed:
                output.write("csv", header, told(journal, *_OPEN), failed)
        if options.form:
            output.write(options.form, [*header, *work.gives], told(journal), sys.stdout)
        summarise(journal, run, path, sys.stderr if options.form else sys.stdout)
        if run.stopped:
            click.echo(f"Error: {run.stopped} The next run goes on where this one stopped.", err=True)
        sys.exit(130 if run.interrupted else int(journal.count(None, *_OPEN) > 0))


@contextlib.contextmanager
def failures(path: Path | None) -> Iterator[TextIO | None]:
    """The file for what fails, opened before the first call, so that an hour's work is not in vain."""
    if path is None:
        yield None
        return
    with called_wrongly():
        try:
            file = path.open("w", encoding="utf-8", newline="")
        except OSError as e:
            raise ValueError(f"{path} cannot be written: {e.strerror}") from None
    with file:
        yield file


def _public(kind: columns.Kind) -> list[str]:
    return [column for column in (*kind.columns, *kind.optional) if column != "sk"]


def told(journal: Journal, *states: str | None) -> Iterator[dict[str, Any]]:
    """The devices in these states and what became of them, without secrets; of all without any."""
    for row, state, note, code, record in journal.outcomes(*states):
        known = {name: value for name, value in row.known.items() if name != "sk"}
        outcome = {"outcome": _WORDS[state], "code": code, "why": note or ""}
        yield {"line": row.line, **known, **outcome, **({"device_record_id": record} if record else {})}


def rehearse(
    journal: Journal,
    account: Account,
    make: Callable[[Caller, Any], Work],
    options: Options,
    again: bool,
    console: Console,
) -> None:
    """Shows the calls that would be made."""
    shown: list[dict[str, Any]] = []
    work = make(Caller(None, threading.Event()), account.client(session=Rehearsal(shown.append)))
    unknown = journal.count(SENT, UNCONFIRMED) if work.look else 0
    if unknown:
        console.print(f"Looked up first, because nobody knows whether they were sent: {unknown:,}.")
    states = [None, FAILED]
    if not work.look:
        states += [SENT, UNCONFIRMED]
    if again:
        states.append(DONE)
    calls = 0

    def calls_made() -> Iterator[dict[str, Any]]:
        nonlocal calls
        for batch in journal.batches(work.size, *states):
            for _ in work.send(batch):
                pass
            for call in shown:
                calls += 1
                yield call
            shown.clear()

    made = calls_made()
    first = made if options.form else map(_brief, islice(made, SHOWN))
    output.write(options.form, ["method", "url", "body"], first, sys.stdout)
    for _ in made:
        pass
    shown_of_them = f", of which {SHOWN} are shown" if not options.form and calls > SHOWN else ""
    whole = "" if options.form else " --json shows all, each of them whole."
    console.print(f"Nothing was sent; it would be {calls:,} call{'s' * (calls != 1)}{shown_of_them}.{whole}")


def _brief(value: Any) -> Any:
    """A call for a person: of long lists the first and the last."""
    if isinstance(value, dict):
        return {name: _brief(one) for name, one in value.items()}
    if isinstance(value, list) and len(value) > 3:
        return [_brief(value[0]), f"… {len(value):,} in all …", _brief(value[-1])]
    return value


def summarise(journal: Journal, run: Run, path: Path, out: TextIO) -> None:
    """The summary for people, and the first failures."""
    console = Console(file=out, highlight=False)
    table = Table(show_header=False)
    table.add_column(justify="right")
    table.add_column()
    done = sum(run.done.values())
    for note, number in sorted(run.done.items()):
        table.add_row(f"{number:,}", note, style="green")
    counted = (
        (journal.count(DONE) - done, f"done before, as {path} remembers", ""),
        (journal.count(FAILED), "failed", "red"),
        (journal.count(UNCONFIRMED), "exist, key unconfirmed", "yellow"),
        (journal.count(SENT), "of unknown fate; the next run finds out", "yellow"),
        (journal.count(None), "not sent", "yellow"),
    )
    for number, what, style in counted:
        if number:
            table.add_row(f"{number:,}", escape(what), style=style)
    console.print(table)
    if done:
        console.print(f"{done:,} in {run.seconds:.1f} s, {done / run.seconds:,.0f} a second")
    failed = list(islice(told(journal, *_OPEN), SHOWN))
    if failed:
        output.write(None, ["line", "device", "why"], map(_short, failed), out)
        left = journal.count(*_OPEN) - len(failed)
        if left:
            console.print(f"{left:,} more: --failed FILE writes all.")


def _short(one: dict[str, Any]) -> dict[str, Any]:
    """A device for a narrow table: by its first identifier."""
    device = next(str(one[name]) for name in (*columns.NAMES, "line") if name in one)
    return {"line": one["line"], "device": device, "why": one["why"] or "its answer was lost"}
