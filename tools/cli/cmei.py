"""python3 -m tools cmei: CMEIs and IMEIs, made or checked."""

from __future__ import annotations

import json

import click
from muster import cmei as numbers

from tools.common import options
from tools.factory.series import MOST, Series


class TypeCode(click.ParamType):
    """8 digits: a TUI or a TAC."""

    name = "CODE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            numbers.make(value, 0)
        except ValueError:
            self.fail(f"{value!r} is no type code: expected 8 digits, such as 11123456.", param, ctx)
        return value


@click.command()
@click.argument("tui", required=False, type=TypeCode())
@click.option(
    "--first", type=click.IntRange(0, MOST - 1), default=1, show_default=True, help="Serial number."
)
@click.option("--count", type=click.IntRange(1, MOST), default=1, show_default=True, help="How many.")
@click.option(
    "--check", "number", metavar="NUMBER", help="Says what this number is, or what is wrong with it."
)
@options.as_json
def cmei(tui: str | None, first: int, count: int, number: str | None, as_json: bool) -> None:
    """Prints CMEIs of a TUI, the 8 digits that China Mobile gave the product; of a TAC, IMEIs.

    The last digit is the check digit of an IMEI, which a CMEI may have too.

    Example: python3 -m tools cmei 11123456 --count 100
    """
    if (tui is None) == (number is None):
        raise click.UsageError("give a TUI to make numbers of, or --check NUMBER")
    if number is None:
        made = Series("cmei", tui or "", 6).run(first, count)
        click.echo(json.dumps(made) if as_json else "\n".join(made))
        return
    numbers.check(number)
    kind, code = ("CMEI", "TUI") if number.startswith("11") else ("IMEI", "TAC")
    last, luhn = number[14], numbers.make(number[:8], int(number[8:14]))[14]
    if as_json:
        parts = {"kind": kind, code.lower(): number[:8], "serialNumber": number[8:14], "checkDigit": luhn}
        click.echo(json.dumps({"number": number, **parts}))
        return
    odd = "" if last == luhn else f" (a CMEI's may be any; the check digit is {luhn})"
    a = "a" if kind == "CMEI" else "an"
    click.echo(
        f"{number} is {a} {kind}: {code} {number[:8]}, serial number {number[8:14]}, last digit {last}{odd}"
    )
