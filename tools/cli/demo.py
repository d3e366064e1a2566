"""python3 -m tools demo."""

from __future__ import annotations

import sys

import click

from tools.common.options import vm_option


@click.command()
@vm_option
@click.option("--keep", is_flag=True, help="Leaves the clouds and a board on after it, until Ctrl-C.")
def demo(vm: str | None, keep: bool) -> None:
    """Shows the main job: a board enrols with the cloud, reports, loses its power, and carries on.

    Then it refuses a false server, talks to Coze, is given its buyer's Wi-Fi by a page of its own, takes an
    update, and undoes one that crashes.

    \b
    Examples:
      python3 -m tools demo
      python3 -m tools demo --keep
    """
    # Loaded here: it needs a pseudo-terminal, and the list of all commands does not.
    from tools.cli.story import tell

    sys.exit(0 if tell(vm, keep) else 1)
