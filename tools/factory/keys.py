"""The keys of releases: the private one that signs them, and the public ones by which a board knows them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tools.common import files

FOLDER = "/keys/"
# Devices are in the field for ten years, and 2048 bits are held to be enough until 2030.
BITS = 3072
LEAST_BITS = 2048
BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)
PRIVATE = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")

Keys = Mapping[str, bytes | Path] | Sequence[Path]


def make_key(path: Path) -> Path:
    """Writes a new private key, which only its owner can read, and its public part beside it; returns where.

    Raises ValueError if one of the two files is there: a key that is lost cannot be made again.
    """
    public = path.with_name(path.stem + ".pub.pem")
    for file in (path, public):
        if file.exists():
            raise ValueError(f"{file} is there, and is never overwritten: name another file for the new key.")
    key = rsa.generate_private_key(65537, BITS)
    plain = serialization.NoEncryption()
    files.write(path, key.private_bytes(Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    files.write(public, public_pem(key.public_key()), 0o644)
    return public


def read_private(path: Path) -> rsa.RSAPrivateKey:
    """The key that signs releases. Raises ValueError if it is none, or if others can read it."""
    data = files.read_secret(path)
    try:
        key = serialization.load_pem_private_key(data, None)
    except TypeError:
        raise ValueError(
            f"{path} is encrypted: decrypt it first (openssl pkey -in {path} -out FILE)."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        hint = "it is a public key" if b"PUBLIC KEY-----" in data else "expected a private key in PEM"
        raise ValueError(f"{path} cannot sign: {hint}. `release key` makes one.") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(f"{path} is no RSA key, and boards verify no other: make one with `release key`.")
    _check_size(str(path), key.public_key())
    return key


def is_private(data: bytes) -> bool:
    """Whether a file holds a private key, in PEM among other things, or in DER alone."""
    if PRIVATE.search(data):
        return True
    try:
        serialization.load_der_private_key(data, None)
    except TypeError:  # it is encrypted
        return True
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def public_pem(key: rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_files(keys: Keys) -> dict[str, bytes]:
    """/keys/NAME.pem -> PEM of one public key. A name is the key's fingerprint: each is there once.

    keys: files in PEM, of which each may hold several, as paths (of folders too) or as name -> bytes or path.
    Raises ValueError for what is no public key of RSA, and for a private key above all.
    """
    found = {}
    for source, data in _read(keys):
        labels = [block[1] for block in BLOCK.finditer(data)]
        if is_private(data):
            raise ValueError(
                f"{source} holds a private key, which must never come near a board: "
                "give its public part, the .pub.pem that `release key` wrote beside it."
            )
        if not labels:
            raise ValueError(f"{source} is no public key: expected PEM, from -----BEGIN PUBLIC KEY----- on.")
        for block in BLOCK.finditer(data):
            pem = public_pem(_public(source, block[0]))
            found[f"{FOLDER}{hashlib.sha256(pem).hexdigest()[:16]}.pem"] = pem
    return found


def _read(keys: Keys) -> Iterator[tuple[str, bytes]]:
    """Where each file comes from, and what is in it."""
    if isinstance(keys, Mapping):
        for name, given in keys.items():
            yield repr(name), given.read_bytes() if isinstance(given, Path) else given
        return
    for path in keys:
        if not path.is_dir():
            yield str(path), path.read_bytes()
            continue
        inside = sorted(file for file in path.glob("*.pem") if not file.name.startswith("."))
        if not inside:
            raise ValueError(
                f"the folder {path} has no public keys: expected files in it whose names end in .pem."
            )
        for file in inside:
            yield str(file), file.read_bytes()


def _public(source: str, pem: bytes) -> rsa.RSAPublicKey:
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(
            f"{source} is no public key: expected PEM, from -----BEGIN PUBLIC KEY----- on."
        ) from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError(f"{source} is no RSA key, and boards verify no other: make one with `release key`.")
    _check_size(source, key)
    return key


def _check_size(source: str, key: rsa.RSAPublicKey) -> None:
    from muster.rsa import PublicKey

    numbers = key.public_numbers()
    try:
        PublicKey(numbers.n, numbers.e)  # what a board takes
    except ValueError as e:
        raise ValueError(f"{source}: {e}") from None
    if key.key_size < LEAST_BITS:
        raise ValueError(
            f"{source} has {key.key_size} bits, and can be broken: expected {LEAST_BITS} or more. "
            "Make one with `release key`."
        )
