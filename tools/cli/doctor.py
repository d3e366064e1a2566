"""python3 -m tools doctor: why is this board silent?"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING

import click
from rich.console import Console

from tools.common import options

if TYPE_CHECKING:
    from tools.factory.doctor.lines import Line


@click.command()
@options.port
@options.as_json
def doctor(port: str | None, as_json: bool) -> None:
    """Finds out why a board is silent.

    Asks the board and, from this computer, its platform, in the order in which a heartbeat comes about. The
    first bad line is the likely cause. Its program is stopped meanwhile, and starts again afterwards; a board
    that has no secret yet enrols, as it would by itself. No secret is shown.

    Example: python3 -m tools doctor
    """
    from tools.factory.doctor.facts import examine
    from tools.factory.doctor.lines import lines, verdict
    from tools.factory.ports import the_port

    console = Console(stderr=True, highlight=False)
    with console.status("") as shown:
        facts = examine(the_port(port), lambda what: shown.update(f"asking {what}"))
    found = lines(facts)
    cause = verdict(found)
    if as_json:
        told = {
            "lines": [dataclasses.asdict(line) for line in found],
            "verdict": cause and dataclasses.asdict(cause),
            "configuration": facts.config or None,
        }
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        _show(found, cause)
    sys.exit(1 if cause else 0)


def _show(found: list[Line], cause: Line | None) -> None:
    for line in found:
        state = line.state.upper() if line.state == "bad" else line.state
        click.echo(f"{state:<10} {line.name:<14} {line.found}")
        for text in line.more:
            click.echo(f"{'':<26}{text}")
        if line.todo:
            click.echo(f"{'':<26}-> {line.todo}")
    click.echo()
    if cause is None:
        unknown = [line.name for line in found if line.state != "good"]
        click.echo(f"Nothing is bad; not known: {', '.join(unknown)}." if unknown else "All is good.")
    else:
        click.echo(f"{cause.name}: {cause.found}.")
        if cause.todo:
            click.echo(f"What to do: {cause.todo}.")
