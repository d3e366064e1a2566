"""python3 -m tools demo."""

from __future__ import annotations

import sys

import click

from tools.common.options import vm_option


@click.command()
@vm_option
def demo(vm: str | None) -> None:
    """Shows the main job: a board enrols with the cloud, reports, loses its power, and carries on.

    Then it refuses a false server, talks to Coze, is given its buyer's Wi-Fi by a page of its own, takes an
    update, and undoes one that crashes.

    \b
    Example:
      python3 -m tools demo
    """
    # Loaded here: it needs a pseudo-terminal, and the list of all commands does not.
    from tools.cli.story import tell

    sys.exit(0 if tell(vm) else 1)
