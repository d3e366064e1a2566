"""The clouds' clients, from what a profile holds."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muster.clouds import baidu, coze, feishu
from muster.rsa import PrivateKey

from . import profile

_CLIENTS: dict[str, tuple[Callable[..., Any], str]] = {
    "baidu": (baidu.Baidu, baidu.PRODUCTION),
    "feishu": (feishu.Feishu, feishu.PRODUCTION),
    "coze": (coze.Coze, coze.PRODUCTION),
}


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


def account(cloud: str, path: Path | None, channel: tuple[str, str, str | None] | None = None) -> Account:
    """The account that a profile, or without a path the environment, has keys of.

    Args:
        channel: for Coze: the connector's id, the key of its devices, the developer's user id or None.

    Raises:
        ValueError: says what is wrong with the profile.
    """
    client, production = _CLIENTS[cloud]
    keys: dict[str, Any] = {"base_url": production, **profile.load(cloud, path)}
    ca, tenant = keys.pop("ca", None), keys.pop("tenant_key", None)
    if cloud == "baidu":
        whose, name = f"{keys['fc']}/{keys['pk']}", f"Baidu's product {keys['pk']}"
    elif cloud == "feishu":
        whose = tenant if "token" in keys else keys["app_id"]
        name = f"Feishu's {whose}"
    else:
        assert channel
        connector_id, key, user_id = channel
        # A ready token says nothing of whose it is; an OAuth app is one account's.
        whose = f"{keys.get('client_id', '')} {connector_id} {key} {user_id or ''}"
        name = f"Coze's channel {connector_id}"
        if "token" not in keys:
            keys["private_key"] = PrivateKey.from_pem(keys["private_key"])
    client(session=None, **keys)  # it says what it does not accept
    return Account(functools.partial(client, **keys), f"{keys['base_url']} {whose}", name, ca)
