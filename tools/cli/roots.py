"""python3 -m tools roots: which CA root a server's certificate ends in."""

from __future__ import annotations

import contextlib
import datetime
import json
import sys
from pathlib import Path
from typing import Any

import certifi
import click
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import crypto

from tools.common import options
from tools.common.printable import printable
from tools.factory.roots import FOLDER, Finding, ca_name, common, ends_soon, examine, keep, load, name_of

LONGEST_S = 3600


@click.command()
@click.argument("hosts", nargs=-1, metavar="HOST[:PORT]...")
@click.option(
    "--store",
    type=options.FILE,
    help="PEM file of the roots to choose from, as a company's CA; needs -o. [default: Mozilla's]",
)
@click.option(
    "-o",
    "--output",
    "folder",
    type=options.FOLDER,
    help="Where the root is written. [default: firmware/roots]",
)
@click.option("--show", is_flag=True, help="Writes nothing.")
@click.option("--common", "with_common", is_flag=True, help="Writes the roots that many servers end in.")
@click.option(
    "--timeout",
    type=options.NumberRange(0, LONGEST_S, min_open=True),
    default=10,
    show_default=True,
    help="Seconds for each host.",
)
@options.as_json
def roots(
    hosts: tuple[str, ...],
    store: Path | None,
    folder: Path | None,
    show: bool,
    with_common: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Finds the CA root that a server's certificate ends in, for the board to trust.

    Shows the certificates that each HOST sends (port 443 unless told), writes the root, and connects
    once more trusting nothing else: in MicroPython where there is one, so with the TLS of the board.

    Example: python3 -m tools roots ivs.chinamobiledevice.com:11443
    """
    if not (hosts or with_common):
        raise click.UsageError("name a HOST, or give --common.")
    if store and folder is None and not show:
        raise click.UsageError(
            "give -o FOLDER with --store: every later product trusts what lies in firmware/roots, and a CA "
            "of your own may be for this one only. `flash --roots FOLDER` then brings it. For the clouds in "
            "a box `flash --roots DATA/ca.pem` is enough."
        )
    folder = folder or FOLDER
    trusted = load(store or Path(certifi.where()))
    whose = str(store) if store else f"Mozilla's store (certifi {certifi.__version__})"
    report: list[dict[str, Any]] = []
    for root in common(trusted) if with_common else []:
        file, new = (None, False) if show else keep(root, folder)
        report.append(
            {
                "root": _described(root),
                "file": file and str(file),
                "new": new,
                "warning": ends_soon(root) or None,
            }
        )
        if not as_json:
            valid = f"valid to {root.not_valid_after_utc:%Y-%m-%d}"
            click.echo(_kept(file, new) if file else f"{ca_name(root)}: {_key(root)}, {valid}")
            _warn(root)
    status = 0
    for host in hosts:
        found = examine(host, timeout, trusted, whose, None if show else folder)
        report.append(_report(found))
        if not as_json:
            _tell(found, whose)
        if found.error:
            click.echo(f"Error: {found.error}", err=True)
            status = max(status, 2 if found.wrong_call else 1)
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
    sys.exit(status)


def _tell(found: Finding, whose: str) -> None:
    if found.sent:
        click.echo(f"{found.host} sends")
    for i, certificate in enumerate(found.sent):
        _show(_described(certificate, "" if i or not found.misnamed else found.host))
    if found.root is not None:
        click.echo(f"which ends in a root of {whose}:")
        _show(_described(found.root))
        _warn(found.root)
    if found.file is not None:
        click.echo(_kept(found.file, found.new))
    if found.judges:
        click.echo(f"{found.judges} the server with that root alone.")


def _report(found: Finding) -> dict[str, Any]:
    return {
        "host": found.host,
        "sent": [
            _described(certificate, "" if i or not found.misnamed else found.host)
            for i, certificate in enumerate(found.sent)
        ],
        "root": found.root and _described(found.root),
        "file": found.file and str(found.file),
        "new": found.new,
        "warning": (ends_soon(found.root) or None) if found.root else None,
        "judges": found.judges,
        "error": found.error or None,
    }


def _described(certificate: x509.Certificate, other_than: str = "") -> dict[str, Any]:
    """What people want to know of a certificate. other_than: the host that it should be for, and is not."""
    now = datetime.datetime.now(datetime.timezone.utc)
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    wrong = []
    if last < now:
        wrong.append(f"it expired on {last:%Y-%m-%d %H:%M} UTC")
    if first > now:
        wrong.append(f"it is not valid before {first:%Y-%m-%d %H:%M} UTC, by this computer's clock")
    if other_than:
        wrong.append(f"it is for {_names(certificate)}, not for {other_than.rpartition(':')[0]}")
    signature = crypto.X509.from_cryptography(certificate).get_signature_algorithm().decode()
    return {
        "subject": name_of(certificate.subject),
        "issuer": name_of(certificate.issuer),
        "signature": signature,
        "key": _key(certificate),
        "notBefore": f"{first:%Y-%m-%d}",
        "notAfter": f"{last:%Y-%m-%d}",
        "wrong": wrong,
    }


def _show(one: dict[str, Any]) -> None:
    click.echo(f"  {one['subject']}")
    click.echo(f"    signed by {one['issuer']}, {one['signature']}")
    click.echo(f"    {one['key']}, valid from {one['notBefore']} to {one['notAfter']}")
    for wrong in one["wrong"]:
        click.echo(f"    WRONG: {wrong}")


def _warn(root: x509.Certificate) -> None:
    if warning := ends_soon(root):
        click.echo(f"Warning: {warning}", err=True)


def _kept(path: Path, new: bool) -> str:
    with contextlib.suppress(ValueError):
        path = path.resolve().relative_to(Path.cwd())
    return f"{path}: {'written' if new else 'was there already'}"


def _key(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "a key of a kind unknown here"
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}"
    return type(key).__name__.removesuffix("PublicKey")


def _names(certificate: x509.Certificate) -> str:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return "no host"
    names = [str(name) for kind in (x509.DNSName, x509.IPAddress) for name in found.get_values_for_type(kind)]
    return printable(", ".join(names[:5]) + (" …" if len(names) > 5 else "")) or "no host"
