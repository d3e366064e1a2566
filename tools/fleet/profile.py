"""Whose account it is: from the environment, or from a TOML file that only its owner can read."""

import difflib
import os
import ssl
import sys
from pathlib import Path
from typing import Any

from tools.common import files
from tools.common.rows import bare

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAMES = {"baidu": "Baidu", "feishu": "Feishu", "coze": "Coze"}

# The sets of keys of which each cloud needs one, and all that it may have.
_WAYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "baidu": (("access_key_id", "secret_access_key", "fc", "pk"),),
    # A ready token says nothing of whose it is, and it changes every two hours.
    "feishu": (("app_id", "app_secret"), ("token", "tenant_key")),
    "coze": (("token",), ("client_id", "key_id", "private_key")),
}
KEYS = {cloud: (*(key for way in ways for key in way), "base_url") for cloud, ways in _WAYS.items()}


def load(cloud: str, path: Path | None) -> dict[str, str]:
    """Returns a cloud's keys as KEYS has them, and `ca`; what is not there is left out.

    With a path they come from that file alone, so that no two accounts mix; without one
    from MUSTER_BAIDU_ACCESS_KEY_ID and so on, and MUSTER_CA.

    Raises:
        ValueError: a key is missing, wrong or unknown, or others can read the file.
    """
    if path:
        found = _from_file(cloud, path)
    else:
        found = {key: os.environ.get(variable(cloud, key), "") for key in KEYS[cloud]}
        found["ca"] = os.environ.get("MUSTER_CA", "")
    known = {name: bare(value) for name, value in found.items() if bare(value)}
    _check_complete(cloud, known, path)
    address = known.get("base_url", "https://")
    if not address.startswith("https://"):
        where = f"base_url of [{cloud}] in {path}" if path else variable(cloud, "base_url")
        raise ValueError(f"{where} is {address!r}, and must begin with https://")
    if "ca" in known:
        _check_ca(known["ca"], f"ca in {path}" if path else "MUSTER_CA")
    return known


def variable(cloud: str, key: str) -> str:
    return f"MUSTER_{cloud}_{key}".upper()


def _from_file(cloud: str, path: Path) -> dict[str, str]:
    content = _read(path)
    _check_known(content, (*KEYS, "ca"), path, "")
    for name in KEYS:
        if not isinstance(content.get(name, {}), dict):
            raise ValueError(f"{name} in {path} must be a table, [{name}] on a line of its own")
        _check_known(content.get(name, {}), KEYS[name], path, f" of [{name}]")
    found = dict(content.get(cloud, {}))
    if "ca" in content:
        found["ca"] = content["ca"]
    for key, value in found.items():
        if not isinstance(value, str):
            # Not the value itself: it may be a secret.
            raise ValueError(f"{key} in {path} must be a text in quotes, not of type {type(value).__name__}")
    if bare(found.get("ca", "")):
        found["ca"] = str(path.parent / bare(found["ca"]))
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(files.read_secret(path).decode("utf-8-sig"))
    except OSError as e:
        raise ValueError(f"the profile {path} cannot be read: {e.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"the profile {path} is not UTF-8: save it as UTF-8") from None
    except tomllib.TOMLDecodeError as e:
        raise ValueError(f"the profile {path} is not TOML: {e}") from None


def _check_known(content: dict[str, Any], known: tuple[str, ...], path: Path, where: str) -> None:
    for name in content:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise ValueError(f"{path} has an unknown key {name}{where}: {hint}")


def _check_ca(file: str, where: str) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError:
        raise ValueError(f"{where} names {file}, which holds no CA certificate in PEM") from None
    except OSError as e:
        raise ValueError(
            f"{where} names {file}, and there is no such file of CA certificates: {e.strerror}"
        ) from None


def _check_complete(cloud: str, known: dict[str, str], path: Path | None) -> None:
    ways = _WAYS[cloud]
    if any(all(key in known for key in way) for way in ways):
        return
    # Of several ways the one that was begun is meant.
    way = max(ways, key=lambda keys: sum(key in known for key in keys))
    missing = [key for key in way if key not in known]
    others = " (or " + " or ".join(" and ".join(keys) for keys in ways if keys != way) + ")"
    need = f"{NAMES[cloud]} needs {' and '.join(missing)}{others if len(ways) > 1 else ''}"
    if path:
        raise ValueError(f"{need} under [{cloud}] in {path}")
    names = " and ".join(variable(cloud, key) for key in missing)
    raise ValueError(f"{need}: set {names}, or name a file that has them with --profile FILE")
