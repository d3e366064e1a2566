"""python3 -m tools fleet: the commands, one short function each."""

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import click

from tools.common.options import NumberRange
from tools.fleet import profile as profiles

_KEYS = {
    "baidu": "access_key_id, secret_access_key, fc (the vendor), pk (the product)",
    "feishu": "app_id and app_secret; or token (a store app's tenant_access_token) and tenant_key",
    "coze": "token; or client_id, key_id and private_key (PEM) of an OAuth app",
}


def keys_of(cloud: str) -> str:
    variables = ", ".join(profiles.variable(cloud, key) for key in profiles.KEYS[cloud])
    return (
        f"Keys, under [{cloud}] of the --profile: {_KEYS[cloud]}; base_url for another server, and ca, above "
        f"all tables, for its CA. Without --profile from the environment: {variables}; MUSTER_CA."
    )


class CalledWrongly(click.ClickException):
    exit_code = 2


@contextlib.contextmanager
def called_wrongly() -> Iterator[None]:
    """What is wrong in here is so before anything was sent."""
    try:
        yield
    except ValueError as e:
        raise CalledWrongly(str(e)) from None


def valid(make: Callable[..., Any], *arguments: Any) -> Any:
    with called_wrongly():
        return make(*arguments)


@dataclass(frozen=True)
class Options:
    """What every command on a batch can be told."""

    profile: Path | None
    form: Literal["json", "csv"] | None
    journal: Path | None
    jobs: int
    rate: float | None
    failed: Path | None
    dry_run: bool


_path = click.Path(dir_okay=False, path_type=Path)
_everywhere = (
    click.option("--profile", type=_path, help="TOML file with the keys, mode 600."),
    click.option("--json", "form", flag_value="json", help="The devices as JSON on stdout."),
    click.option("--csv", "form", flag_value="csv", help="The devices as CSV on stdout."),
)
_on_batches = (
    click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)),
    *_everywhere,
    click.option("--journal", type=_path, help="What was done to whom. [default: the account's]"),
    click.option(
        "--jobs", type=click.IntRange(1, 32), default=4, show_default=True, help="Calls at the same time."
    ),
    click.option("--failed", type=_path, help="CSV to write of what failed, and why."),
    click.option("--dry-run", is_flag=True, help="Shows what would be sent, and sends nothing."),
)


def everywhere(function: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_everywhere):
        function = option(function)
    return function


def on_batches(rate: float | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Gives a command FILE and its options; `rate` in calls a second, where the cloud names one."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(file: Path, **given: Any) -> None:
            known = {name: given.pop(name) for name in Options.__dataclass_fields__}
            function(file, Options(**known), **given)

        limit = click.option(
            "--rate",
            type=NumberRange(0.001, 1000),  # its limiter counts in milliseconds
            default=rate,
            show_default=rate is not None,
            help="Calls a second, at most.",
        )
        for option in reversed((*_on_batches, limit)):
            command = option(command)
        return command

    return decorate


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
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
    """


@fleet.command("import", epilog=keys_of("baidu"))
@on_batches()
def import_(file: Path, options: Options) -> None:
    """Imports devices into Baidu. Columns: ak, sk.

    They go in calls of 1000. Where an ak is there already, the device counts as done if its sk is
    the same, and as failed if it is another.
    """
    from tools.fleet import accounts, columns, operations
    from tools.fleet.batch import carry_out

    account = valid(accounts.baidu, options.profile)
    carry_out("import", account, columns.IMPORT, operations.Import, file, options)


@fleet.command(epilog=keys_of("baidu"))
@on_batches()
def enable(file: Path, options: Options) -> None:
    """Lets disabled devices back to Baidu's services. Column: ak."""
    change("enable", file, options)


@fleet.command(epilog=keys_of("baidu"))
@on_batches()
def disable(file: Path, options: Options) -> None:
    """Keeps devices from Baidu's services. Column: ak."""
    change("disable", file, options)


@fleet.command(epilog=keys_of("baidu"))
@click.option("--yes", is_flag=True, help="Does not ask; for scripts.")
@on_batches()
def delete(file: Path, options: Options, yes: bool) -> None:
    """Deletes devices from Baidu. Column: ak. The quota that they used does not come back."""
    if yes:
        change("delete", file, options)
    else:
        change("delete", file, options, agreed=ask)


def change(
    command: str,
    file: Path,
    options: Options,
    agreed: Callable[[int, str], None] = lambda count, name: None,
) -> None:
    from tools.fleet import accounts, columns, operations
    from tools.fleet.batch import carry_out

    account = valid(accounts.baidu, options.profile)
    make = functools.partial(operations.Change, command=command)
    carry_out(command, account, columns.CHANGE, make, file, options, agreed)


def someone_there() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def ask(count: int, name: str) -> None:
    if not someone_there():
        raise CalledWrongly("delete asks before it deletes, and nobody is there to answer: add --yes")
    devices = f"{count:,} device{'s' * (count != 1)}"
    click.confirm(f"Delete {devices} of {name}? The quota used does not come back.", abort=True, err=True)


@fleet.command(epilog=keys_of("feishu"))
@on_batches(rate=9)  # Feishu permits 10, and calls arrive less evenly than they leave
def register(file: Path, options: Options) -> None:
    """Creates device records in Feishu.

    Columns: device_system (1 Windows, 2 macOS, 3 Linux, 4 Android, 5 iOS, 6 OpenHarmony; an RTOS has no
    number of its own, so choose), device_ownership (0 unknown, 1 personal, 2 company),
    device_status (0 unknown, 1 trusted, 2 not trusted), and what the device is known by:
    serial_number, disk_serial_number or uuid, with a mac_address if you like, for 1 to 3;
    android_id for 4; idfv for 5; aaid for 6. A device that Feishu has already counts as done.
    """
    from tools.fleet import accounts, columns, operations
    from tools.fleet.batch import carry_out

    account = valid(accounts.feishu, options.profile)
    carry_out("register", account, columns.REGISTER, operations.Register, file, options)


@fleet.command(epilog=keys_of("coze"))
@click.option("--connector-id", required=True, help="The channel's id.")
@click.option("--key", default="device_id", show_default=True, help="As agreed on with Coze.")
@click.option("--user-id", help="Coze UID of the agent's developer.")
@click.option("--batch", type=click.IntRange(1), help="Devices in one call. [default: all]")
@on_batches()
def bind(
    file: Path, options: Options, connector_id: str, key: str, user_id: str | None, batch: int | None
) -> None:
    """Binds devices to a channel of Coze's. Columns: label, value (the device's id).

    Coze does not say whether a second call adds to the first or replaces it. So all devices of FILE
    go in one call, and all of them again as long as one is not bound; with --batch only the rest.
    """
    from tools.fleet import accounts, columns, operations
    from tools.fleet.batch import carry_out

    account = valid(accounts.coze, options.profile, connector_id, key, user_id)
    make = functools.partial(
        operations.Bind, connector_id=connector_id, key=key, user_id=user_id, size=batch or 1 << 31
    )
    carry_out("bind", account, columns.BIND, make, file, options, together=batch is None)


@fleet.command("list", epilog=keys_of("baidu"))
@click.option("--state", type=click.Choice(["NOT_ACTIVE", "ACTIVATED", "BAN"]), help="Only these devices.")
@click.option("--order", type=click.Choice(["asc", "desc"]), help="By the time of their import.")
@click.option("--page", type=click.IntRange(1), help="Only this page. [default: all]")
@click.option("--page-size", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--reveal", is_flag=True, help="Shows each sk.")
@everywhere
def list_(
    profile: Path | None,
    form: str | None,
    state: str | None,
    order: str | None,
    page: int | None,
    page_size: int,
    reveal: bool,
) -> None:
    """Lists the product's devices at Baidu."""
    from tools.fleet import accounts, inventory

    account = valid(accounts.baidu, profile)
    if (
        not inventory.write(lambda: inventory.listed(account, state, order, page, page_size), form, reveal)
        and not form
    ):
        click.echo("There are no devices to show.")


@fleet.command(epilog=keys_of("baidu"))
@click.argument("ak", nargs=-1, required=True)
@click.option("--reveal", is_flag=True, help="Shows each sk.")
@everywhere
def show(profile: Path | None, form: str | None, ak: tuple[str, ...], reveal: bool) -> None:
    """Shows devices at Baidu, each by its ak."""
    from tools.fleet import accounts, inventory

    account = valid(accounts.baidu, profile)
    missing: list[str] = []
    inventory.write(lambda: inventory.got(account, ak, missing.append), form, reveal)
    if missing:
        raise click.ClickException(f"the product has no device {', '.join(missing)}.")
