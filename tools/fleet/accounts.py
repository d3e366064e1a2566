"""The clouds' clients, from what a profile holds."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muster.clouds import baidu as _baidu
from muster.clouds import coze as _coze
from muster.clouds import feishu as _feishu
from muster.rsa import PrivateKey

from . import profile


@dataclass(frozen=True)
class Account:
    """Whose devices they are.

    client   makes the cloud's client from a session
    scope    tells this account's devices from all others in a journal, with no secret in it
    name     for people
    ca       file of CA certificates, None for the usual ones
    """

    client: Callable[..., Any]
    scope: str
    name: str
    ca: str | None


def baidu(path: Path | None) -> Account:
    """Raises ValueError for what is wrong with the profile; so do the others."""
    known = {"base_url": _baidu.PRODUCTION, **profile.load("baidu", path)}
    ca = known.pop("ca", None)
    scope = f"{known['base_url']} {known['fc']}/{known['pk']}"
    return _account(_baidu.Baidu, known, scope, f"Baidu's product {known['pk']}", ca)


def feishu(path: Path | None) -> Account:
    known = {"base_url": _feishu.PRODUCTION, **profile.load("feishu", path)}
    ca, tenant = known.pop("ca", None), known.pop("tenant_key", None)
    whose = tenant if "token" in known else known["app_id"]
    return _account(_feishu.Feishu, known, f"{known['base_url']} {whose}", f"Feishu's {whose}", ca)


def coze(path: Path | None, connector_id: str, key: str, user_id: str | None) -> Account:
    known: dict[str, Any] = {"base_url": _coze.PRODUCTION, **profile.load("coze", path)}
    ca = known.pop("ca", None)
    if "token" not in known:
        known["private_key"] = PrivateKey.from_pem(known["private_key"])
    scope = f"{known['base_url']} {connector_id} {key} {user_id or ''}"
    return _account(_coze.Coze, known, scope, f"Coze's channel {connector_id}", ca)


def _account(
    kind: Callable[..., Any], known: dict[str, Any], scope: str, name: str, ca: str | None
) -> Account:
    client = functools.partial(kind, **known)
    client(session=None)  # it says what it does not accept
    return Account(client, scope, name, ca)
