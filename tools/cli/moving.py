"""Where the commands lie that do not lie in a file of their name yet.

This file goes with the last of them; then get_command in tools/cli/main.py ends in

    return getattr(importlib.import_module(f"tools.cli.{cmd_name}"), cmd_name)
"""

from __future__ import annotations

import importlib

import click

ELSEWHERE = {
    "flash": "tools.cli.image",
    "deploy": "tools.factory.deploy",
    "repl": "tools.factory.deploy",
    "roots": "tools.factory.roots",
    "cmei": "tools.factory.identities",
    "identities": "tools.factory.identities",
}


def command(name: str) -> click.Command | None:
    try:
        module = importlib.import_module(f"tools.cli.{name}")
    except ModuleNotFoundError as e:
        if e.name != f"tools.cli.{name}":
            raise
    else:
        if isinstance(getattr(module, name, None), click.Command):
            return getattr(module, name)
    return getattr(importlib.import_module(ELSEWHERE[name]), name) if name in ELSEWHERE else None
