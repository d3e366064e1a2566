"""What Baidu has: fleet list and fleet show."""

import functools
import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import click
from rich.console import Console

from . import output
from .accounts import Account
from .remedies import sentence
from .retry import Caller, Failed, Session

_COLUMNS = ["ak", "sk", "state", "createTime", "updateTime"]


def _client(account: Account) -> tuple[Caller, Any]:
    console = Console(stderr=True, highlight=False)
    call = Caller(None, threading.Event(), lambda text: console.print(text, markup=False))
    return call, account.client(session=Session(account.ca))


def listed(
    account: Account, state: str | None, order: str | None, page: int | None, page_size: int
) -> Iterator[dict[str, Any]]:
    call, cloud = _client(account)
    if page:
        return iter(call(cloud.list, state, order, page, page_size)["result"])
    return _all(functools.partial(call, cloud.list, state, order), page_size)


def _all(pages: Callable[[int, int], dict[str, Any]], size: int) -> Iterator[dict[str, Any]]:
    """As Baidu.list_all(), but every page with patience of its own: what is broken off cannot go on."""
    seen = 0
    for number in itertools.count(1):
        page = pages(number, size)
        yield from page["result"]
        seen += len(page["result"])
        total = page.get("totalCount")
        if not page["result"] or (isinstance(total, int) and seen >= total):
            return


def got(account: Account, aks: tuple[str, ...], missing: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Yields the devices that are there, and hands the others to `missing`."""
    call, cloud = _client(account)
    for ak in aks:
        try:
            yield call(cloud.get, ak)
        except Failed as e:
            if e.code != "11":
                raise
            missing(ak)


def write(devices: Callable[[], Iterator[dict[str, Any]]], form: str | None, reveal: bool) -> int:
    """Writes devices to stdout, their keys only to be revealed; returns how many there were."""
    count = 0

    def plain() -> Iterator[dict[str, Any]]:
        nonlocal count
        for count, device in enumerate(devices(), 1):  # noqa: B007
            yield {name: "***" if name == "sk" and not reveal else device[name] for name in device}

    try:
        output.write(form, _COLUMNS, plain(), sys.stdout)
    except Failed as e:
        raise click.ClickException(sentence(e.error)) from None
    return count
