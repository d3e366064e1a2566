"""Serial ports: which there are, and why one does not open."""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

import click
import serial
from serial.tools import list_ports

ESPRESSIF = 0x303A
VIRTUAL = "A virtual board's is DATA/port, such as /tmp/board/port, while it runs."


class Lost(RuntimeError):
    """The board cannot be reached, or not any more; the text says what to do."""


class Plugged(NamedTuple):
    """A serial port that a USB device makes. mac: of a chip whose own USB makes it, and which so tells it."""

    port: str
    description: str
    mac: str


def usb_ports() -> list[Plugged]:
    """The serial ports of USB devices; others are the computer's own."""
    found = [port for port in list_ports.comports() if port.vid is not None]
    return sorted(
        Plugged(one.device, one.description or "", _mac(one.vid, one.serial_number)) for one in found
    )


def the_port(port: str | None) -> str:
    """The port that was named, else that of the only board. Raises UsageError where there is not one."""
    found = [one.port for one in usb_ports()]
    if port is None and len(found) != 1:
        there = ", ".join(found) or f"none; is the board plugged in? {VIRTUAL}"
        raise click.UsageError(f"give --port. USB serial ports here: {there}")
    return port or found[0]


def refused(port: str, error: Exception) -> Lost:
    """Why a port did not open, as a sentence."""
    said, number = str(error), getattr(error, "errno", None)
    if number in (errno.ENOENT, errno.ENOTDIR) or "FileNotFoundError" in said:
        return Lost(f"there is no port {port}: is the board plugged in? The command `ports` lists them.")
    if any(word in said for word in ("lock", "busy", "PermissionError")):
        return Lost(f"the port {port} is in use by another program: close that first.")
    if number == errno.EACCES:
        group = f"join the group that owns it (ls -l {port} names it), and log in again"
        return Lost(f"you may not use the port {port}: {group}.")
    return Lost(f"the port {port} cannot be opened: {os.strerror(number) if number else said}.")


def opened(port: str, baud: int) -> serial.Serial:
    """The port, for this program alone. Raises Lost."""
    try:
        line = serial.serial_for_url(port, baud, exclusive=True, do_not_open=True)
        if os.name == "nt":
            line.rts = line.dtr = False  # else Windows resets the board when it opens the port
        line.open()
        return line
    except (OSError, ValueError) as e:
        raise refused(port, e) from None


def _mac(vendor: int, serial_number: str | None) -> str:
    return serial_number.lower() if vendor == ESPRESSIF and serial_number else ""
