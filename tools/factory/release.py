"""Releases: a folder that any web server can offer, of files by their SHA-256 and a manifest that is signed.

The manifest is a JWT, RS256, whose claims muster.manifest.check() describes. Files lie there deflated, each
by its SHA-256 in hex. What earlier releases need stays in the folder: devices may be fetching it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from muster import Error, jwt, manifest

from tools.common import files as on_disk
from tools.factory.keys import FOLDER as KEYS
from tools.factory.keys import is_private, public_pem
from tools.factory.library import OLDEST, PAGE
from tools.factory.programs import LIBRARY, WINDOW

MANIFEST = "manifest.jwt"
BUILD = "/build.json"
CONFIG = "/config.json"
MPY = 6  # of MicroPython 1.26, for a release without compiled files
LONGEST = 16384  # characters of a token that a board takes
PUBLIC = 0o644
DAY_S = 86400


@dataclass(frozen=True)
class Release:
    """What a folder offers.

    claims: of its manifest. files: path -> content. changed: the paths whose files the build before did not
    have. deflated: bytes that a device fetches for them.
    """

    claims: dict[str, Any]
    files: dict[str, bytes]
    changed: tuple[str, ...] = ()
    deflated: int = 0


def make(
    folder: Path,
    key: rsa.RSAPrivateKey,
    product: Mapping[str, bytes],
    config: Mapping[str, Any],
    version: str,
    build: int | None = None,
    rollout: int = 100,
    days: int | None = None,
) -> Release:
    """Makes a release in a folder, its manifest last.

    product: the files of a board. config: its configuration, whose productId the release is for and whose
    secrets no file may hold. version: for people. build: by default one more than the folder's, or 1.
    rollout: percent of the devices. days: until the manifest is followed no longer; None for ever.
    Raises ValueError for what must not be released, OSError for a folder that cannot be written.
    """
    last = _last(folder)
    if last and last["product"] != config["productId"]:
        raise ValueError(
            f"{folder} has releases of the product {last['product']}, and the configuration is of "
            f"{config['productId']}: name another folder."
        )
    plain = {path: data for path, data in product.items() if path != CONFIG}
    number = _number(plain, version, build, last)
    files = {**plain, BUILD: _build(version, number)}
    _check_keys(key, files)
    _check_public(files, config)
    claims: dict[str, Any] = {
        "aud": "muster-update",
        "product": config["productId"],
        "version": version,
        "build": number,
        "mpy": _mpy(files),
        "micropython": [*OLDEST],
        "files": _listed(files),
        "remove": _removed(files, last),
        **_terms(rollout, days),
    }
    token = _signed(claims, key)
    folder.mkdir(parents=True, exist_ok=True)
    for data in files.values():
        _keep(folder / _digest(data), data)
    on_disk.write(folder / MANIFEST, token, PUBLIC)
    there = {digest for _, _, digest in last["files"]} if last else set()
    changed = [path for path, _, digest in claims["files"] if digest not in there]
    fetched = {_digest(files[path]) for path in changed}
    deflated = sum((folder / digest).stat().st_size for digest in fetched)
    return Release(claims, files, tuple(changed), deflated)


def offer(folder: Path, key: rsa.RSAPrivateKey, rollout: int, days: int | None = None) -> Release:
    """Offers the release that is in a folder to another share of the devices, or for another time.

    It stays the same build, which no device takes twice. rollout, days: see make().
    Raises ValueError unless all of it is there, signed by this key.
    """
    last = _last(folder)
    if last is None:
        raise ValueError(f"{folder / MANIFEST} is not there: `release` makes it, after all the other files.")
    # One that has ended can be offered again.
    found, wrong = read(folder, {"key": public_pem(key.public_key())}, last["product"], last["iat"])
    _refuse_wrong(folder, wrong)
    claims = {name: value for name, value in found.claims.items() if name != "exp"} | _terms(rollout, days)
    on_disk.write(folder / MANIFEST, _signed(claims, key), PUBLIC)
    return Release(claims, found.files)


def read(
    folder: Path, keys: Mapping[str, bytes], product: str, now: int | None = None
) -> tuple[Release, dict[str, str]]:
    """Returns a folder's release, verified as a board does it, and path -> what is wrong with that file.

    keys: name -> PEM of a public key. product: the configuration's productId. now: Unix seconds.
    Raises ValueError for a manifest that no board follows.
    """
    path = folder / MANIFEST
    try:
        token = path.read_bytes().decode("ascii", "replace")
    except FileNotFoundError:
        raise ValueError(f"{path} is not there: `release` makes it, after all the other files.") from None
    claims = _verified(token, keys, path, int(time.time()) if now is None else now)
    try:
        manifest.check(claims, product)
    except Error as e:
        raise ValueError(f"{path}: {e}") from None
    files, wrong = {}, {}
    for name, size, digest in claims["files"]:
        try:
            files[name] = _inflated(folder / digest, size, digest)
        except ValueError as e:
            wrong[name] = str(e)
    if BUILD in files and files[BUILD] != _build(claims["version"], claims["build"]):
        wrong[BUILD] = "it does not tell the manifest's version and build"
    compiled = {name: data for name, data in files.items() if name.endswith(".mpy")}
    wrong |= {
        name: f"it is no .mpy file of version {claims['mpy']}, as the manifest says"
        for name, data in compiled.items()
        if data[:2] != b"M" + bytes([claims["mpy"]])
    }
    return Release(claims, files), wrong


def product(folder: Path, keys: Mapping[str, bytes], config: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a folder's release, verified, for boards that shall begin with it.

    config: a board's configuration. Raises ValueError for a release that boards would not take.
    """
    if not config.get("updates"):
        raise ValueError('the configuration has no "updates", which a board with a release needs: add it.')
    found, wrong = read(folder, keys, config["productId"])
    _refuse_wrong(folder, wrong)
    if config.get("setup") and PAGE not in found.files:
        raise ValueError(
            f'the configuration has "setup", and {folder} no set-up page: make the release with "setup" too.'
        )
    return found.files


def _refuse_wrong(folder: Path, wrong: Mapping[str, str]) -> None:
    for path, why in wrong.items():
        raise ValueError(f"{folder}: {path}: {why}. `release check` tells all that is wrong.")


def _last(folder: Path) -> dict[str, Any] | None:
    """The claims of the manifest that is in the folder; None if there is none.

    An earlier key may have signed it, which is not known here.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        part = path.read_bytes().split(b".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
        manifest.check(claims, claims["product"])
    except (ValueError, LookupError, TypeError, Error) as e:
        why = f" ({e})" if isinstance(e, Error) else ""
        raise ValueError(f"{path} is no manifest of an earlier release{why}: name another folder.") from None
    return claims


def _number(
    files: Mapping[str, bytes], version: str, build: int | None, last: Mapping[str, Any] | None
) -> int:
    """The build's number. It rises, and no two builds in a row are the same but where that is asked for."""
    if last is None:
        return build or 1
    if build is not None and build > last["build"]:
        return build
    if _listed({**files, BUILD: _build(version, last["build"])}) == last["files"]:
        raise ValueError(
            f"nothing has changed since build {last['build']}, so that no other was made. `release rollout` "
            "offers it to more devices, or for longer; a higher --build makes another all the same."
        )
    if build is not None:
        raise ValueError(
            f"the folder has build {last['build']} already, and boards take only higher ones: leave out "
            f"--build for {last['build'] + 1}."
        )
    return last["build"] + 1


def _build(version: str, build: int) -> bytes:
    return json.dumps({"version": version, "build": build}, ensure_ascii=False).encode()


def _listed(files: Mapping[str, bytes]) -> list[list[Any]]:
    return [[path, len(data), _digest(data)] for path, data in sorted(files.items())]


def _removed(files: Mapping[str, bytes], last: Mapping[str, Any] | None) -> list[str]:
    """The sources that would be loaded in place of compiled files, and all that earlier releases had."""
    gone = {path.removesuffix(".mpy") + ".py" for path in files if path.endswith(".mpy")}
    if last:
        gone |= {*last["remove"], *(path for path, _, _ in last["files"])}
    return sorted(gone - set(files))


def _mpy(files: Mapping[str, bytes]) -> int:
    """The version of the compiled files."""
    versions = {data[1] for path, data in files.items() if path.endswith(".mpy") and len(data) > 1} or {MPY}
    if len(versions) > 1:
        raise ValueError(
            f"the .mpy files are of versions {' and '.join(map(str, sorted(versions)))}, and no board takes "
            "both: compile your own in lib/ anew."
        )
    return versions.pop()


def _check_keys(key: rsa.RSAPrivateKey, files: Mapping[str, bytes]) -> None:
    public = [data for path, data in files.items() if path.startswith(KEYS)]
    if public_pem(key.public_key()) not in public:
        raise ValueError(
            "the public part of --key is not among --keys: devices that take this release could not verify "
            "it again, and would undo it. Give that with --keys as well."
        )


def _check_public(files: Mapping[str, bytes], config: Mapping[str, Any]) -> None:
    """Anybody can read what is released. The library is public: a key that stands in it is a common word."""
    from muster.config import secrets

    words = {form.encode() for word in secrets(config) for form in (word, json.dumps(word)[1:-1])}
    for path, data in sorted(files.items()):
        if is_private(data):
            what = "a private key"
        elif not path.startswith(LIBRARY) and any(word in data for word in words):
            what = 'a secret of the configuration: the productKey, a Wi-Fi key or that of "setup"'
        else:
            continue
        raise ValueError(
            f"{path} holds {what}, and everybody can read what is released: take it out. What a device must "
            "keep to itself goes onto it in the factory."
        )


def _terms(rollout: int, days: int | None) -> dict[str, int]:
    """The claims that say whom a release is for, and for how long."""
    now = int(time.time())
    return {"rollout": rollout, "iat": now, **({"exp": now + days * DAY_S} if days is not None else {})}


def _signed(claims: dict[str, Any], key: rsa.RSAPrivateKey) -> str:
    try:
        manifest.check(claims, claims["product"])
    except Error as e:
        raise ValueError(str(e)) from None
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    token = jwt.encode(claims, pem, alg="RS256")
    if len(token) > LONGEST:
        raise ValueError(
            f"the manifest has {len(token):,} characters, and a board takes {LONGEST:,}: release fewer "
            "files, or begin in an empty folder, with a higher --build, to forget what was removed long ago."
        )
    return token


def _keep(path: Path, data: bytes) -> None:
    """Writes a file deflated, unless it is there: a device may be in the midst of it."""
    try:
        if _inflated(path, len(data), path.name) == data:
            return
    except ValueError:
        pass
    deflating = zlib.compressobj(9, zlib.DEFLATED, -WINDOW)
    on_disk.write(path, deflating.compress(data) + deflating.flush(), PUBLIC)


def _inflated(path: Path, size: int, digest: str) -> bytes:
    """The content of a deflated file. Raises ValueError, which says what is wrong with it."""
    try:
        deflated = path.read_bytes()
    except OSError as e:
        raise ValueError(f"{path.name} cannot be read: {e.strerror}") from None
    inflating = zlib.decompressobj(-WINDOW)
    try:
        data = inflating.decompress(deflated, size + 1)
    except zlib.error:
        raise ValueError(f"{path.name} is not deflated, or damaged") from None
    if len(data) > size:
        raise ValueError(f"{path.name} is longer than the {size:,} bytes of the manifest")
    if not inflating.eof or inflating.unused_data:
        raise ValueError(f"{path.name} is cut short, or has something behind its end")
    if len(data) < size:
        raise ValueError(f"{path.name} has {len(data):,} bytes, and the manifest says {size:,}")
    if _digest(data) != digest:
        raise ValueError(f"{path.name} has another SHA-256 than its name says")
    return data


def _verified(token: str, keys: Mapping[str, bytes], path: Path, now: int) -> dict[str, Any]:
    if not keys:
        raise ValueError(f"{path} can be verified only by a public key that devices have: give --keys.")
    wrong = []
    for pem in keys.values():
        try:
            return jwt.decode(token, pem, alg="RS256", now=now)
        except jwt.JWTError as e:
            wrong.append(str(e))
    # That of the key which fits, if one does.
    raise ValueError(f"{path}: {min(wrong, key=lambda text: 'signature' in text)}")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
