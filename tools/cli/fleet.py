"""python3 -m tools fleet: whole batches of devices into Baidu, Feishu and Coze, and out again."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.common.options import CommandGroup, NumberRange, SecretPath
from tools.fleet import output
from tools.fleet import profile as profiles
from tools.fleet.journal import DONE, FAILED, NOT_SENT, SENT, UNCONFIRMED, UNDONE

if TYPE_CHECKING:
    from tools.fleet.batch import Batch
    from tools.fleet.dispatcher import Dispatcher
    from tools.fleet.inventory import Inventory

Command = TypeVar("Command", bound=Callable[..., None])

SHOWN = 20  # failures, or requests of a dry run, that a person sees; --json, --csv and --failed have all

_GROUPS = {
    "Baidu": ("import", "list", "show", "enable", "disable", "delete"),
    "Feishu": ("register",),
    "Coze": ("bind",),
}
_KEYS = {
    "baidu": "access_key_id, secret_access_key, fc (the vendor), pk (the product)",
    "feishu": "app_id and app_secret; or token (a store app's tenant_access_token) and tenant_key",
    "coze": "token; or client_id, key_id and private_key (PEM) of an OAuth app",
}


class CloudGroup(CommandGroup):
    """Lists its commands under the cloud that they are for."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for cloud, names in _GROUPS.items():
            self.write_commands(cloud, names, ctx, formatter)


class CalledWrongly(click.ClickException):
    exit_code = 2


@contextlib.contextmanager
def called_wrongly() -> Iterator[None]:
    """What is wrong in here is so before anything was sent."""
    try:
        yield
    except ValueError as e:
        raise CalledWrongly(str(e)) from None


@click.group(cls=CloudGroup, context_settings={"help_option_names": ["-h", "--help"]})
def fleet() -> None:
    """The operator's side: whole batches of devices into Baidu, Feishu and Coze.

    FILE is a CSV with a header, in UTF-8; - is standard input. All of it is checked before the
    first call. A journal remembers what was done to each device of the account, whatever file it was
    in: a run that was interrupted or killed goes on where it stopped when the same command is given
    again, and nothing is done twice. What was changed in the cloud's console or on another computer it
    does not know. To begin anew, delete it: each summary names it, in ~/.local/state/muster/fleet.
    Import then asks which devices are there; the other commands do all again.

    Keys never stand on the command line. They come from the environment (MUSTER_BAIDU_ACCESS_KEY_ID
    and so on, see each command) or from a TOML file that only you can read (chmod 600):

    \b
      ca = "ca.pem"                     # only for a server of your own
      [baidu]
      access_key_id = "..."
      secret_access_key = "..."
      fc = "..."                        # the vendor
      pk = "..."                        # the product
      [feishu]
      app_id = "..."
      app_secret = "..."
      [coze]
      token = "..."

    Exit status: 0 all done, 1 something failed or is left, 2 called wrongly and nothing sent, 130
    ended by Ctrl-C.

    \b
    Example:
      python3 -m tools fleet import keys.csv --profile maker.toml
    """


_path = SecretPath(dir_okay=False, path_type=Path)
_everywhere = (
    click.option(
        "--profile",
        type=_path,
        help="TOML file with the keys, mode 600.",
    ),
    click.option("--json", "form", flag_value="json", help="Prints the devices as JSON on stdout."),
    click.option("--csv", "form", flag_value="csv", help="Prints the devices as CSV on stdout."),
)
_on_batches = (
    click.argument("file", type=SecretPath(exists=True, dir_okay=False, allow_dash=True, path_type=Path)),
    *_everywhere,
    click.option("--journal", type=_path, help="Remembers what was done to whom. [default: the account's]"),
    click.option(
        "--jobs", type=click.IntRange(1, 32), default=4, show_default=True, help="Calls at the same time."
    ),
    click.option("--failed", type=_path, help="CSV to write of what failed, and why."),
    click.option("--dry-run", is_flag=True, help="Shows what would be sent, and sends nothing."),
)


def _command(cloud: str, name: str, example: str, *options: Callable[[Command], Command]) -> Callable:
    """A command with options, and with an example and the cloud's keys at the end of its help."""
    variables = ", ".join(profiles.variable(cloud, key) for key in profiles.KEYS[cloud])
    epilog = (
        f"\b\nExample:\n  python3 -m tools fleet {name} {example}\n\n"
        f"Keys, under [{cloud}] of the --profile: {_KEYS[cloud]}; base_url for another server, and ca, above "
        f"all tables, for its CA. Without --profile from the environment: {variables}; MUSTER_CA."
    )

    def decorate(function: Callable[..., None]) -> click.Command:
        for option in reversed(options):
            function = option(function)
        return fleet.command(name, epilog=epilog)(function)

    return decorate


def _batch_command(cloud: str, name: str, example: str, rate: float | None = None) -> Callable:
    """A command on a FILE; `rate` in calls a second, where the cloud names one."""
    limit = click.option(
        "--rate",
        type=NumberRange(0.001, 1000),  # its limiter counts in milliseconds
        default=rate,
        show_default=rate is not None,
        help="Calls a second, at most.",
    )
    return _command(cloud, name, example, *_on_batches, limit)


@_batch_command("baidu", "import", "keys.csv --profile maker.toml")
def import_(**given: Any) -> None:
    """Imports devices into Baidu. Columns: ak, sk.

    They go in calls of 1000. Where an ak is there already, the device counts as done if its sk is
    the same, and as failed if it is another.
    """
    carry_out("import", **given)


@_batch_command("baidu", "enable", "repaired.csv --profile maker.toml")
def enable(**given: Any) -> None:
    """Lets disabled devices back to Baidu's services. Column: ak."""
    carry_out("enable", **given)


@_batch_command("baidu", "disable", "stolen.csv --profile maker.toml")
def disable(**given: Any) -> None:
    """Keeps devices from Baidu's services. Column: ak."""
    carry_out("disable", **given)


@_batch_command("baidu", "delete", "broken.csv --profile maker.toml --failed left.csv")
@click.option("--yes", is_flag=True, help="Does not ask; for scripts.")
def delete(yes: bool, **given: Any) -> None:
    """Deletes devices from Baidu. Column: ak. The quota that they used does not come back."""
    carry_out("delete", **given, ask=None if yes else ask)


def someone_there() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def ask(count: int, name: str) -> None:
    if not someone_there():
        raise CalledWrongly("delete asks before it deletes, and nobody is there to answer: add --yes")
    devices = f"{count:,} device{'s' * (count != 1)}"
    click.confirm(f"Delete {devices} of {name}? The quota used does not come back.", abort=True, err=True)


# Feishu permits 10 calls a second, and they arrive less evenly than they leave.
@_batch_command("feishu", "register", "laptops.csv --profile maker.toml --csv > records.csv", rate=9)
def register(**given: Any) -> None:
    """Creates device records in Feishu.

    Columns: device_system (1 Windows, 2 macOS, 3 Linux, 4 Android, 5 iOS, 6 OpenHarmony; an RTOS has no
    number of its own, so choose), device_ownership (0 unknown, 1 personal, 2 company),
    device_status (0 unknown, 1 trusted, 2 not trusted), and what the device is known by:
    serial_number, disk_serial_number or uuid, with a mac_address if you like, for 1 to 3;
    android_id for 4; idfv for 5; aaid for 6. A device that Feishu has already counts as done.
    """
    carry_out("register", **given)


@_batch_command("coze", "bind", "speakers.csv --connector-id 7350000000000000000 --profile maker.toml")
@click.option("--connector-id", required=True, help="The channel's id.")
@click.option("--key", default="device_id", show_default=True, help="As agreed on with Coze.")
@click.option("--user-id", help="Coze UID of the agent's developer.")
@click.option("--batch", type=click.IntRange(1), help="Devices in one call. [default: all]")
def bind(connector_id: str, key: str, user_id: str | None, batch: int | None, **given: Any) -> None:
    """Binds devices to a channel of Coze's. Columns: label, value (the device's id).

    Coze does not say whether a second call adds to the first or replaces it. So all devices of FILE
    go in one call, and all of them again as long as one is not bound; with --batch only the rest.
    """
    channel = (connector_id, key, user_id)
    carry_out("bind", **given, channel=channel, together=batch is None, size=batch or 1 << 31)


def carry_out(
    command: str,
    form: str | None,
    jobs: int,
    rate: float | None,
    failed: Path | None,
    dry_run: bool,
    ask: Callable[[int, str], None] | None = None,
    **how: Any,
) -> None:
    """Reads the batch, sends what is not done, says what came of it, and exits.

    Args:
        ask: is asked before anything is sent; takes the number of devices, and whose they are.
        how: the rest of batch.opened's arguments.
    """
    from tools.common.progress import steps
    from tools.fleet.batch import opened

    with contextlib.ExitStack() as stack:
        with called_wrongly():
            batch = stack.enter_context(opened(command, dry_run=dry_run, **how))
        if dry_run:
            _rehearse(batch, form)
            return
        if ask and batch.todo:
            ask(batch.todo, batch.account.name)
        failures = stack.enter_context(_created(failed)) if failed else None
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        with steps(console, batch.todo) as (tell, settled):
            run = batch.send(jobs, rate, tell, settled)
        if failures:
            output.write("csv", batch.columns, batch.outcomes(*UNDONE), failures)
        if form:
            output.write(form, [*batch.columns, *batch.operation.gives], batch.outcomes(), sys.stdout)
        left = _summarise(batch, run, sys.stderr if form else sys.stdout)
        if run.stopped:
            click.echo(f"Error: {run.stopped} The next run goes on where this one stopped.", err=True)
        sys.exit(130 if run.interrupted else int(left))


def _created(path: Path) -> TextIO:
    """The file for what fails, opened before the first call, so that an hour's work is not in vain."""
    try:
        return path.open("w", encoding="utf-8", newline="")
    except OSError as e:
        raise CalledWrongly(f"{path} cannot be written: {e.strerror}") from None


def _rehearse(batch: Batch, form: str | None) -> None:
    """Shows the requests that would be made."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    unknown = batch.looked_up()
    if unknown:
        console.print(f"Looked up first, because nobody knows whether they were sent: {unknown:,}.")
    made = batch.requests()
    shown = made if form else map(_brief, islice(made, SHOWN))
    count = output.write(form, ["method", "url", "body"], shown, sys.stdout) + sum(1 for _ in made)
    some = f", of which {SHOWN} are shown" if not form and count > SHOWN else ""
    whole = "" if form else " --json shows all, each of them whole."
    console.print(f"Nothing was sent; it would be {count:,} call{'s' * (count != 1)}{some}.{whole}")


def _brief(value: Any) -> Any:
    """A request for a person: of long lists the first and the last."""
    if isinstance(value, dict):
        return {name: _brief(one) for name, one in value.items()}
    if isinstance(value, list) and len(value) > 3:
        return [_brief(value[0]), f"… {len(value):,} in all …", _brief(value[-1])]
    return value


def _summarise(batch: Batch, run: Dispatcher, out: TextIO) -> bool:
    """Prints the summary and the first failures; returns whether a device is not done."""
    console = Console(file=out, highlight=False)
    table = Table(show_header=False)
    table.add_column(justify="right")
    table.add_column()
    done, counts = sum(run.done.values()), batch.journal.counts()
    for number, what, style in (
        *((number, note, "green") for note, number in sorted(run.done.items())),
        (counts[DONE] - done, f"done before, as {batch.path} remembers", ""),
        (counts[FAILED], "failed", "red"),
        (counts[UNCONFIRMED], "exist, key unconfirmed", "yellow"),
        (counts[SENT], "of unknown fate; the next run finds out", "yellow"),
        (counts[NOT_SENT], "not sent", "yellow"),
    ):
        if number:
            table.add_row(f"{number:,}", escape(what), style=style)
    console.print(table)
    if done:
        console.print(f"{done:,} in {run.seconds:.1f} s, {done / run.seconds:,.0f} a second")
    failed = [_short(one, batch) for one in islice(batch.outcomes(*UNDONE), SHOWN)]
    if failed:
        output.write(None, ["line", "device", "why"], failed, out)
        more = sum(counts[state] for state in UNDONE) - len(failed)
        if more:
            console.print(f"{more:,} more: --failed FILE writes all.")
    return counts.total() > counts[DONE]


def _short(one: dict[str, Any], batch: Batch) -> dict[str, Any]:
    """A device for a narrow table: by its first identifier."""
    device = next(str(one[name]) for name in batch.operation.shown_by if name in one)
    return {"line": one["line"], "device": device, "why": one["why"] or "its answer was lost"}


_reveal = click.option("--reveal", is_flag=True, help="Shows each sk.")


@_command("baidu", "list", "--state BAN --profile maker.toml", *_everywhere, _reveal)
@click.option("--state", type=click.Choice(["NOT_ACTIVE", "ACTIVATED", "BAN"]), help="Only these devices.")
@click.option("--order", type=click.Choice(["asc", "desc"]), help="By the time of their import.")
@click.option("--page", type=click.IntRange(1), help="Only this page. [default: all]")
@click.option(
    "--page-size", type=click.IntRange(1, 1000), default=100, show_default=True, help="Devices on a page."
)
def list_(profile: Path | None, form: str | None, reveal: bool, **which: Any) -> None:
    """Lists the product's devices at Baidu."""
    if not _write(_inventory(profile).devices(**which), form, reveal) and not form:
        click.echo("There are no devices to show.")


@_command("baidu", "show", "AI-0001 AI-0002 --profile maker.toml", *_everywhere, _reveal)
@click.argument("ak", nargs=-1, required=True)
def show(profile: Path | None, form: str | None, reveal: bool, ak: tuple[str, ...]) -> None:
    """Shows devices at Baidu, each by its ak."""
    missing: list[str] = []
    _write(_inventory(profile).some(ak, missing.append), form, reveal)
    if missing:
        raise click.ClickException(f"the product has no device {', '.join(missing)}.")


def _inventory(profile: Path | None) -> Inventory:
    from tools.fleet.accounts import account
    from tools.fleet.inventory import Inventory

    with called_wrongly():
        whose = account("baidu", profile)
    return Inventory(whose, functools.partial(click.echo, err=True))


def _write(devices: Iterator[dict[str, Any]], form: str | None, reveal: bool) -> int:
    """Writes devices to stdout, their keys only to be revealed; returns how many there were."""
    masked = (
        {name: "***" if name == "sk" and not reveal else device[name] for name in device}
        for device in devices
    )
    return output.write(form, ["ak", "sk", "state", "createTime", "updateTime"], masked, sys.stdout)
