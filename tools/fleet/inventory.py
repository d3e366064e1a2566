"""What Baidu has: the product's devices."""

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

from .accounts import Account
from .retry import CallFailed, Retrier
from .session import ThreadedSession


class Inventory:
    """The devices of an account with Baidu; tell() hears of each call that is repeated.

    Its methods raise CallFailed. The devices are objects, as Baidu's.
    """

    def __init__(self, account: Account, tell: Callable[[str], None]) -> None:
        session = ThreadedSession(account.ca)
        self._call = Retrier(session, None, threading.Event(), tell)
        self._cloud = account.client(session=session)

    def devices(
        self, state: str | None, order: str | None, page: int | None, page_size: int
    ) -> Iterator[dict[str, Any]]:
        """Those on a page, or on all pages.

        As Baidu.list_all(), but each page is repeated by itself: a stream that broke off cannot go on.
        """
        seen = 0
        for number in [page] if page else itertools.count(1):
            found = self._call(self._cloud.list, state, order, number, page_size)
            yield from found["result"]
            seen += len(found["result"])
            total = found.get("totalCount")
            if not found["result"] or (isinstance(total, int) and seen >= total):
                return

    def some(self, aks: tuple[str, ...], missing: Callable[[str], None]) -> Iterator[dict[str, Any]]:
        """The devices that are there; hands the others' aks to `missing`."""
        for ak in aks:
            try:
                yield self._call(self._cloud.get, ak)
            except CallFailed as e:
                if e.code != "11":
                    raise
                missing(ak)
