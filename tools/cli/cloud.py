"""python3 -m tools cloud: the clouds in a box until Ctrl-C, and the accounts for those who call them."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shlex
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import click

from tools.common import files, options
from tools.common.options import SECRET_FILE

if TYPE_CHECKING:
    from tools.cloud import Cloud, Device

EXAMPLE_PRODUCT = "1234567890123"
EXAMPLE_NO = "MUSTER-0001"
EXAMPLE_CHANNEL = "1"
OTHERS = (
    "Whoever is in the network can call the clouds and read the page; only /misbehave wants the token.\n"
    "If a board or a phone does not get through, open the port in this computer's firewall.\n"
)
NO_ADDRESS = "This computer's address was not found: give it with --host, so that the certificate names it.\n"


class Described(click.Command):
    """click's, whose help ends in what the box can be told to get wrong."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from tools.cloud.misbehave import fields

        with formatter.section('What /misbehave takes, as JSON such as {"connection": "close", "times": 1}'):
            formatter.write_dl(list(fields()))


@click.command(cls=Described)
@click.option(
    "--devices",
    type=SECRET_FILE,
    help="CSV of the devices that are imported: a batch, with its product's --config; or with the columns "
    "productId,productKey,deviceNoType,deviceNo[,cellular].",
)
@options.config("It has the product of the batch in --devices; without these, its own device is imported.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Where others reach it too, boards and phones: 0.0.0.0 is every network that this computer is in; "
    "or one address of it.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="TCP port; by default a free one.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the state and the CA, kept for the next time; by default nothing is kept.",
)
@click.option(
    "--release",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that `release` makes, offered at /release/ for trying updates.",
)
def cloud(
    devices: Path | None,
    config: Path | None,
    host: str,
    port: int,
    data: Path | None,
    release: Path | None,
) -> None:
    """Runs the clouds in a box until Ctrl-C. Its page shows the devices and their heartbeats.

    With --host other computers reach it: whoever is in these networks can call the clouds and read the page,
    which shows no secrets. Only who has the token that it prints can tell it to misbehave. It prints the
    command that does.

    \b
    Examples:
      python3 -m tools cloud --data /tmp/cloud --port 8443
      python3 -m tools cloud --data /tmp/cloud --port 8443 --devices batch.csv --config config.json
      python3 -m tools cloud --data /tmp/cloud --port 8443 --host 0.0.0.0
    """
    from rich.console import Console
    from rich.markup import escape

    from tools.cloud import Cloud

    console = Console(highlight=False)

    def say(text: str) -> None:
        # A call waits for its line, and is answered even if nobody reads on.
        with contextlib.suppress(OSError, SystemExit):
            # Soft wrapping leaves a long path in one piece, for a person or a program to take.
            console.print(text, soft_wrap=True)

    def say_call(row: dict[str, Any]) -> None:
        clock = time.strftime("%H:%M:%S", time.localtime(row["time"]))
        colour = "green" if row["code"] in ("200", "0", "206", "304") else "red"
        verdict = " ".join(str(part) for part in (row["code"], row["reason"]) if part)
        called = f"{row['device'] or '-':<16}  {row['path']}"
        say(f"[dim]{clock}[/]  {escape(called)}  [{colour}]{escape(verdict)}[/]")

    imported = read_imported(devices, config)
    # A shell that starts it in the background makes it ignore SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        Cloud(imported, data, port, host, on_call=say_call, release=release) as box,
    ):
        if not imported:
            key = add_example(box)
            say("No --devices and no --config, so here is an example device for a configuration:")
            say(f"  productId {EXAMPLE_PRODUCT}   productKey {key}   deviceNoType SN   deviceNo {EXAMPLE_NO}")
        count = len(box.state()["devices"])
        say(f"The clouds in a box, {count} device{'s' * (count != 1)}. Ctrl-C ends it.")
        say(f"  platform  [bold]{box.url}[/]")
        for url in box.urls[1:]:
            say(f"  network   [bold]{url}[/]  (the same, for boards and phones)")
        say(f"  page      [bold]{box.url}/[/]")
        if release is not None:
            say(f"  updates   [bold]{box.url}/release/manifest.jwt[/]  (the configuration's updates.url)")
        maker, tokens, coze = (escape(str(path)) for path in keep_accounts(box))
        say(f"  fleet     [bold]{maker}[/]  (--profile; bind with --connector-id {EXAMPLE_CHANNEL})")
        say(f"  Coze      [bold]{coze}[/]  (what Coze() takes, for the board)")
        say(f"  AI tokens [bold]{tokens}[/]  (productId, token)")
        say(f"  CA        [bold]{escape(str(box.ca_pem))}[/]  (ca.der beside it, for the board)")
        misbehave = escape(misbehave_command(box))
        say(f"  misbehave [bold]{misbehave}[/]  (-d null ends it; cloud --help has more)\n")
        if box.token:
            say(OTHERS if len(box.urls) > 1 else NO_ADDRESS)
        while True:
            time.sleep(1)  # short, because a longer one would hold up Ctrl-C on Windows


def read_imported(devices: Path | None, config: Path | None) -> list[Device]:
    """What is imported: the rows of a CSV, of a batch with its product's configuration, or its one device.

    Raises ValueError or ConfigError, as `flash` does for the same two files.
    """
    from tools.cloud import Device, read_devices

    if config is None:
        return read_devices(devices) if devices else []
    from tools.factory import batch
    from tools.factory.rack import read_config

    _, first = read_config(config, devices, 1)
    boards = [batch.completed(first, row) for row in batch.read(devices)] if devices else [first]
    if boards[0]["deviceNo"] == "auto":
        raise ValueError(
            f'{config} has "deviceNo": "auto", which a board makes from its MAC: the clouds cannot know it. '
            "Give them --devices with the column deviceNo."
        )
    return [
        Device(*(board[name] for name in ("productId", "productKey", "deviceNoType", "deviceNo", "cellular")))
        for board in boards
    ]


def misbehave_command(box: Cloud) -> str:
    """What a person types to see devices under a bad server."""
    token = f"-H 'Authorization: Bearer {box.token}' " if box.token else ""
    return (
        f"""curl --cacert {shlex.quote(str(box.ca_pem))} {box.misbehave_url} {token}-d '{{"status": 500}}'"""
    )


def add_example(box: Cloud) -> str:
    """Imports the example device, and returns the key of its product."""
    key = box.product_key(EXAMPLE_PRODUCT) or token_hex(16)
    box.add_device(product_id=EXAMPLE_PRODUCT, product_key=key, device_no_type="SN", device_no=EXAMPLE_NO)
    return key


def keep_accounts(box: Cloud) -> tuple[Path, Path, Path]:
    """Opens the accounts that are not there yet; returns the files beside `ca.pem` that they all stand in."""
    names = ("maker.toml", "ai-tokens.csv", "coze.json")
    maker, tokens, coze = (box.ca_pem.with_name(name) for name in names)
    accounts: dict[str, Callable[[], dict[str, str]]] = {
        "baidu": partial(box.add_baidu_account, token_hex(3), token_hex(4)),
        "feishu": box.add_feishu_app,
        "coze": partial(box.new_coze_app, may_bind=True),
    }
    known = _keep_profile(maker, box.url, accounts)
    app = {name: known["coze"][name] for name in ("client_id", "key_id", "private_key")}
    files.write(coze, json.dumps({**app, "base_url": box.urls[-1]}, indent=2))
    box.add_coze_channel(EXAMPLE_CHANNEL)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("productId", "token"), *box.ai_tokens()])
    files.write(tokens, text.getvalue().encode())
    return maker, tokens, coze


def _keep_profile(
    file: Path, base_url: str, accounts: dict[str, Callable[[], dict[str, str]]]
) -> dict[str, dict[str, str]]:
    """Writes what `fleet --profile` reads: an earlier start's keys if the file has them, else new ones.

    Args:
        base_url: the box, which may have another port than at its last start.
        accounts: how to open each cloud's account; returns the keys.

    Returns: each cloud's keys.

    Raises:
        ValueError: the file is there, and is not such a profile.
    """
    from tools.fleet import profile

    if file.exists():
        try:
            known = {cloud: profile.load(cloud, file) for cloud in accounts}
        except ValueError as error:
            raise ValueError(f"{error}\nMend {file}, or delete it for new accounts.") from None
    else:
        known = {cloud: make() for cloud, make in accounts.items()}
    lines = ['ca = "ca.pem"']
    for cloud, keys in known.items():
        lines.append(f"\n[{cloud}]")
        # A string of JSON is one of TOML as well.
        named = {**keys, "base_url": base_url}
        lines += [f"{key} = {json.dumps(value)}" for key, value in named.items() if key != "ca"]
    files.write(file, "\n".join([*lines, ""]).encode())
    return known
