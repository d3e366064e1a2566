"""python3 -m tools ports: which boards are plugged in."""

from __future__ import annotations

import json
import sys

import click

from tools.common import options


@click.command()
@click.option(
    "--ask",
    is_flag=True,
    help="Asks each chip for its name and its MAC. This resets the boards: they start anew.",
)
@options.ports
@options.as_json
def ports(ask: bool, ports: tuple[str, ...], as_json: bool) -> None:
    """Lists the serial ports of USB devices, each with its description.

    A chip that makes its USB port by itself tells its MAC there; --ask gets that of others, and the chip's
    name.

    Example: python3 -m tools ports --ask
    """
    from tools.factory.ports import VIRTUAL, Lost, Plugged, usb_ports

    found = {one.port: one for one in usb_ports()}
    if ports:
        found = {port: found.get(port, Plugged(port, "", "")) for port in ports}
    listed, failed = [], False
    for one in found.values():
        entry = {**one._asdict(), "chip": None, "mac": one.mac or None}
        if ask:
            from tools.factory.chip import identify

            try:
                entry["chip"], entry["mac"] = identify(one.port)
            except (Lost, ValueError) as e:
                entry["error"], failed = str(e), True
        listed.append(entry)
    if as_json:
        click.echo(json.dumps(listed, ensure_ascii=False, indent=2))
    elif not listed:
        plugged = "is the board plugged in, with a cable that carries data?"
        click.echo(f"No USB serial port was found: {plugged} {VIRTUAL}")
    else:
        for entry in listed:
            told = [entry["port"], entry["chip"], entry["mac"], entry["description"], entry.get("error")]
            click.echo("  ".join(word for word in told if word))
    sys.exit(1 if failed else 0)
