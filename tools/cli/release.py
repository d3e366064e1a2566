"""python3 -m tools release: signed updates for devices in the field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tools.common import options

if TYPE_CHECKING:
    from tools.factory.release import Release

DAYS = click.IntRange(1, 3650)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group(cls=options.CommandGroup, invoke_without_command=True)
@click.option("--key", type=options.SECRET_FILE, help="The private key that signs, as `release key` made it.")
@options.config("")
@options.roots()
@options.keys("By default the public part of --key alone; before another key signs, give both.")
@options.main
@click.option("--version", help="Of the product, for people and as firmwareVersion for the platform.")
@click.option("--build", type=click.IntRange(1), help="By default one more than that in the folder, or 1.")
@click.option(
    "--rollout",
    type=click.IntRange(0, 100),
    default=100,
    show_default=True,
    help="Percent of the devices that take it; `rollout` changes that.",
)
@click.option("--days", type=DAYS, help="How long it is taken; by default without end.")
@click.option(
    "--mpy/--source", default=True, show_default=True, help="The library as compiled files (.mpy), or as .py."
)
@click.option("-o", "--output", "folder", type=options.FOLDER, help="The folder, kept for the next release.")
@options.as_json
@click.pass_context
def release(
    context: click.Context,
    key: Path | None,
    config: Path | None,
    roots: tuple[Path, ...],
    keys: tuple[Path, ...],
    main: Path | None,
    version: str | None,
    build: int | None,
    rollout: int,
    days: int | None,
    mpy: bool,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Makes a signed update of the product in a folder, for any web server to offer.

    It holds what `image` writes, but for /config.json, which is each device's own. Devices look for
    it where "updates" in their configuration says, and verify it by the public keys that they got with
    their image. The folder is public: a file with a private key or a secret of the configuration is refused.

    What is in the folder already stays there, since devices may be fetching it, and says which number the
    build has and which files are to be removed from the devices.

    \b
    Examples:
      python3 -m tools release key -o release.pem
      python3 -m tools release --key release.pem --config config.json --version 1.1.0 -o DIR
      python3 -m tools release check DIR --keys release.pub.pem --config config.json
      python3 -m tools release rollout DIR 100 --key release.pem
    """
    if context.invoked_subcommand:
        return
    if not (key and config and version and folder):
        needed = {"--key": key, "--config": config, "--version": version, "--output": folder}
        missing = ", ".join(name for name, given in needed.items() if not given)
        raise click.UsageError(
            f"Missing {missing}: a release needs these; `key`, `check` and `rollout` are commands."
        )
    from tools.factory import keys as pairs
    from tools.factory import release as releases
    from tools.factory.product import board_files

    settings = _settings(config)
    private = pairs.read_private(key)
    public = keys or {"key": pairs.public_pem(private.public_key())}
    product = board_files(config, roots, source=not mpy, keys=public, main=main)
    made = releases.make(folder, private, product, settings, version, build, rollout, days)
    if as_json:
        more = {"changed": made.changed, "deflated": made.deflated}
        click.echo(json.dumps({"output": str(folder), **_report(made), **more}, ensure_ascii=False))
    else:
        _tell(made, folder, settings["updates"]["url"])


@release.command()
@click.option(
    "-o", "--output", type=options.SECRET_OUTPUT, required=True, help="The private key's file, in PEM."
)
@options.as_json
def key(output: Path, as_json: bool) -> None:
    """Makes the pair of keys that sign releases and verify them.

    Only you can read the private one. Keep it off the network, and a copy of it in a safe place: without it
    no device of yours takes an update any more, and whoever has it can change them all.

    Example: python3 -m tools release key -o release.pem
    """
    from tools.factory.keys import make_key

    public = make_key(output)
    if as_json:
        click.echo(json.dumps({"private": str(output), "public": str(public)}, ensure_ascii=False))
        return
    click.echo(
        f"{output}: the private key. It signs releases; keep it, and a copy, where nobody else can read it"
    )
    click.echo(f"{public}: the public key, for boards: image, flash and deploy take it with --keys")


@release.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@options.config()
@options.keys("Those that devices have.")
@options.as_json
def check(folder: Path, config: Path, keys: tuple[Path, ...], as_json: bool) -> None:
    """Verifies the release in a folder as a device does.

    Example: python3 -m tools release check DIR --keys release.pub.pem --config config.json
    """
    from tools.factory.keys import key_files
    from tools.factory.release import read

    found, wrong = read(folder, key_files(keys), _settings(config)["productId"])
    if as_json:
        click.echo(json.dumps({**_report(found), "wrong": wrong}, ensure_ascii=False))
    else:
        for path, why in wrong.items():
            click.echo(f"{path}: {why}", err=True)
        count = len(found.claims["files"])
        said = f"{len(wrong)} of its {count} files wrong" if wrong else f"all of its {count} files are right"
        click.echo(f"{_named(found)}: {said}")
    if wrong:
        click.get_current_context().exit(1)


@release.command()
@click.argument("folder", type=FOLDER, metavar="DIR")
@click.argument("percent", type=click.IntRange(0, 100))
@click.option(
    "--key", "private", type=options.SECRET_FILE, required=True, help="The private key that has signed it."
)
@click.option("--days", type=DAYS, help="How long it is taken; by default without end.")
@options.as_json
def rollout(folder: Path, percent: int, private: Path, days: int | None, as_json: bool) -> None:
    """Offers the release in a folder to so many percent of the devices from now on.

    It stays the same build: with more percent others follow, with fewer no other does, and those that have
    it keep it. With 0 nobody takes it any more.

    Example: python3 -m tools release rollout DIR 100 --key release.pem
    """
    from tools.factory.keys import read_private
    from tools.factory.release import offer

    offered = offer(folder, read_private(private), percent, days)
    if as_json:
        click.echo(json.dumps({"output": str(folder), **_report(offered)}, ensure_ascii=False))
    else:
        click.echo(f"{folder}: {_named(offered)}, for {percent}% of the devices")


def _settings(config: Path) -> dict[str, Any]:
    from muster import config as configuration

    from tools.factory import batch, series

    raw, problem = configuration.read(str(config))
    if problem:
        raise click.ClickException(problem)
    setup = raw.get("setup") if isinstance(raw, dict) else None
    if isinstance(setup, dict) and setup and "key" not in setup:
        # Each device has its own, which no file of the product's can hold.
        raw = batch.completed(raw, {batch.SETUP_KEY: series.random_keys(1, ())[0]})
    settings = configuration.check(raw)
    if not settings["updates"]:
        raise click.ClickException(
            f'{config} has no "updates", so that no device looks for releases: add '
            '"updates": {"url": "https://host/…/manifest.jwt"}.'
        )
    return settings


def _named(found: Release) -> str:
    return f"version {found.claims['version']}, build {found.claims['build']}"


def _report(found: Release) -> dict[str, Any]:
    claims = found.claims
    names = ("version", "build", "mpy", "rollout", "iat", "exp")
    sizes = {path: size for path, size, _ in claims["files"]}
    known = {name: claims[name] for name in names if name in claims}
    return {**known, "files": sizes, "remove": claims["remove"]}


def _tell(made: Release, folder: Path, url: str) -> None:
    claims = made.claims
    for path in made.changed:
        click.echo(f"{len(made.files[path]):8}  {path}")
    total = sum(map(len, made.files.values()))
    click.echo(f"{folder}: {_named(made)}, {len(made.files)} files, {total:,} bytes")
    click.echo(f"{len(made.changed)} new since the release before, {made.deflated:,} bytes to fetch")
    click.echo(f"for {claims['rollout']}% of the devices that look at {url}")
