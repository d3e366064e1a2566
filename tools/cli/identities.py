"""python3 -m tools identities: the CSV that hands every board of a batch its own numbers."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import click
from muster.redact import redacted

from tools.cli.cmei import TypeCode
from tools.cli.labels import drawn, paper, told
from tools.common import files, options
from tools.factory import batch, series
from tools.factory.sheet import Sheet


def _counted(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not series.Series.of("deviceNo", value).width:
        raise click.BadParameter(f"{value!r} does not end in digits, which could be counted up")
    return value


def _first(name: str, what: str) -> options.Decorator:
    return click.option(
        name, type=click.IntRange(0, series.MOST - 1), help=f"Serial number in the first {what}."
    )


@click.command()
@click.option("--count", type=click.IntRange(1, series.MOST), required=True, help="How many boards.")
@click.option(
    "--serial", callback=_counted, help="The first board's serial number; its last digits count up."
)
@click.option("--tui", type=TypeCode(), help="8 digits that China Mobile gave the product: makes CMEIs.")
@_first("--first-cmei", "CMEI")
@click.option("--tac", type=TypeCode(), help="8 digits of a cellular product's type: makes IMEIs.")
@_first("--first-imei", "IMEI")
@click.option(
    "--setup-keys",
    is_flag=True,
    help='A random key for each board\'s access point, of a product with "setup": the column setup.key.',
)
@click.option(
    "--earlier",
    type=options.SECRET_FILE,
    multiple=True,
    help="CSV of an earlier batch, whose numbers are taken; as often as needed.",
)
@click.option("--append", is_flag=True, help="Adds to the output, when it is there already.")
@click.option("-o", "--output", type=options.SECRET_OUTPUT, required=True, help="CSV to write.")
@click.option(
    "--labels", type=options.SECRET_OUTPUT, help="PDF to write of a label for each new board; needs --config."
)
@options.config("Needed for --labels, and only there.")
@paper
@options.as_json
def identities(
    count: int,
    serial: str | None,
    tui: str | None,
    first_cmei: int | None,
    tac: str | None,
    first_imei: int | None,
    setup_keys: bool,
    earlier: tuple[Path, ...],
    append: bool,
    output: Path,
    labels: Path | None,
    config: Path | None,
    on: Sheet,
    as_json: bool,
) -> None:
    """Makes the CSV of a batch: a row for each board, for flash --identities.

    Its columns are the keys of config.json that differ from board to board: deviceNo, and cmei or imei.
    Without --serial the CMEI or IMEI is the deviceNo too, as "deviceNoType" may have it.

    No number of an --earlier batch is given again. What is not said goes on after the highest in them:
    with --earlier or --append, --count alone will do. Else CMEIs and IMEIs begin with serial number 1.

    The keys of --setup-keys are secrets, ten letters and digits that are not mistaken for each other; only
    you can read the file. --labels prints them, each with the numbers of its board; the command `labels`
    does the same for a batch that is there.

    Example: python3 -m tools identities --count 5000 --serial AI-2611-00001 --tui 11123456 -o batch.csv
    """
    if (labels is None) != (config is None):
        raise click.UsageError("--labels and --config go together: give both, or neither.")
    # Two at once would give the same numbers.
    click.get_current_context().with_resource(files.lock(output.resolve()))
    there = output.exists()
    if there and not append:
        raise click.ClickException(
            f"{output} is there already, and boards may have its numbers: add to it with --append, "
            f"or name another and give this one as --earlier"
        )
    paths = (*earlier, output) if there else earlier
    batches = {path: batch.read(path, whole=path == output) for path in paths}
    before = [row for rows in batches.values() for row in rows]
    codes = {"cmei": (tui, first_cmei), "imei": (tac, first_imei)}
    _check_call(serial, codes, before)
    made = series.next_rows(count, serial, codes, before, setup_keys)
    series.refuse_taken(made, batches)
    kept = batches[output] if there else []
    if kept and set(kept[0]) != set(made[0]):
        raise click.ClickException(
            f"{output} has the columns {', '.join(kept[0])}, and what is to be added has {', '.join(made[0])}"
        )
    # Before the rows are on disk: what is wrong with the configuration costs no numbers.
    sheet = None if labels is None or config is None else drawn(output, made, config, on)
    text = io.StringIO()
    writer = csv.DictWriter(text, (kept or made)[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(kept + made)
    files.write(output, text.getvalue(), output.stat().st_mode & 0o777 if there else 0o600)
    if labels is not None and sheet is not None:
        files.write(labels, sheet)
    _tell(made, output, labels, as_json)


def _check_call(
    serial: str | None, codes: dict[str, tuple[str | None, int | None]], before: list[dict[str, str]]
) -> None:
    for column, (code, first) in codes.items():
        if first is not None and not (code or any(column in row for row in before)):
            raise click.UsageError(
                f"--first-{column} says where to begin, and nothing says in which type code"
            )
    if not (serial or before or any(code for code, _ in codes.values())):
        raise click.UsageError("say what the first board gets: --serial AI-2611-00001, or --tui, or --tac")


def _tell(made: list[dict[str, str]], output: Path, labels: Path | None, as_json: bool) -> None:
    first, last = made[0], made[-1]
    keyed = batch.SETUP_KEY in first
    settings: dict[str, object] = {"cellular": True} if "imei" in first else {}
    if series.is_coded(first):
        settings["deviceNoType"] = "CMEI" if first["deviceNo"] == first.get("cmei") else "IMEI"
    if keyed:
        settings["setup"] = {"name": "muster"}
    if as_json:
        ends = {"first": redacted(first), "last": redacted(last)}
        report = {"output": str(output), "count": len(made), **ends, "config": settings}
        report |= {} if labels is None else {"labels": str(labels)}
        click.echo(json.dumps(report, ensure_ascii=False))
        return
    spans = ", ".join(f"{name} {first[name]} to {last[name]}" for name in first if name != batch.SETUP_KEY)
    keys = f", a {batch.SETUP_KEY} each" if keyed else ""
    click.echo(f"{output}: {len(made):,} identities, {spans}{keys}")
    if labels is not None:
        click.echo(told(labels, made))
    if settings:
        click.echo(f"config.json needs {json.dumps(settings)[1:-1]}")
