"""The CA roots that a board trusts, as files of their own in its /roots."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tools.common import vm

PEM = b"-----BEGIN "
LOAD = """
import sys, tls
for line in sys.stdin:
    try:
        tls.SSLContext(tls.PROTOCOL_TLS_CLIENT).load_verify_locations(bytes.fromhex(line.strip()))
        print(True)
    except ValueError:
        print(False)
"""

Roots = Mapping[str, bytes | Path] | Sequence[Path]


def root_files(roots: Roots) -> dict[str, bytes]:
    """/roots/NAME.der -> DER. Each certificate is there once; of several, the name has the fingerprint too.

    roots: certificates, PEM (of which a file may hold several) or DER, as paths (of folders too) or as
    name -> bytes or path. Of a folder, what is no certificate is left out, and said.
    Raises ValueError for a file that is none, a folder without any, and one that the board's TLS refuses.
    """
    found = [(name, source, der) for name, source, ders in _read(roots) for der in ders]
    named: dict[bytes, str] = {}
    for (name, source, der), taken in zip(found, _taken(tuple(der for *_, der in found)), strict=True):
        if not taken:
            raise ValueError(
                f"the board's TLS (mbedTLS) does not take the CA root {source}: leave it out, and trust "
                "your servers by another one."
            )
        named.setdefault(der, name.lstrip(".") or "root")
    count = Counter(named.values())
    unique = {
        der: name if count[name] == 1 else f"{name}-{hashlib.sha256(der).hexdigest()[:8]}"
        for der, name in named.items()
    }
    return {f"/roots/{name}.der": der for der, name in unique.items()}


def _read(roots: Roots) -> Iterator[tuple[str, str, list[bytes]]]:
    """The name that each file gets on the board, where it comes from, and its certificates as DER."""
    if isinstance(roots, Mapping):
        for name, given in roots.items():
            data = given.read_bytes() if isinstance(given, Path) else given
            yield name, repr(name), _ders(repr(name), data)
        return
    for path in roots:
        if not path.is_dir():
            yield path.stem, str(path), _ders(str(path), path.read_bytes())
            continue
        found = False
        for file in sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")):
            try:
                ders = _ders(str(file), file.read_bytes())
            except ValueError as e:
                _left_out(str(e))
                continue
            found = True
            yield file.stem, str(file), ders
        if not found:
            raise ValueError(
                f"the folder {path} has no CA roots: expected files in it, not in folders of its own, each "
                "with certificates in PEM or DER."
            )


@functools.cache
def _left_out(why: str) -> None:
    """Says it once, for however many boards."""
    click.echo(f"left out: {why}", err=True)


def _ders(source: str, data: bytes) -> list[bytes]:
    try:
        if PEM in data:
            loaded = x509.load_pem_x509_certificates(data)
        else:
            loaded = [x509.load_der_x509_certificate(data)]
    except ValueError:
        raise ValueError(
            f"the CA root {source} is not a certificate in PEM or DER: {len(data)} bytes."
        ) from None
    return [certificate.public_bytes(Encoding.DER) for certificate in loaded]


@functools.cache
def _taken(ders: tuple[bytes, ...]) -> list[bool]:
    """Whether the board's TLS takes each certificate; asked of MicroPython's mbedTLS where there is one."""
    micropython = vm.find_micropython()
    if micropython is None or not ders:
        return [True] * len(ders)
    said = vm.run(LOAD, stdin="".join(der.hex() + "\n" for der in ders)).stdout.split()
    if len(said) != len(ders) or not {"True", "False"}.issuperset(said):
        raise ValueError(f"{micropython.what} does not say whether its TLS takes a certificate.")
    return [word == "True" for word in said]
