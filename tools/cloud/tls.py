"""The good and bad certificates that the box can show."""

import functools
import ssl
from collections.abc import Callable
from typing import Literal

from tools.common.certificates import DAY, SERVER_LIFE, Certificate, make_ca, make_server, utc_now

Kind = Literal["good", "expired", "not-yet-valid", "foreign", "misnamed"]


def server_contexts(
    root: Certificate, names: list[str], issued_days_ago: float
) -> Callable[[Kind], ssl.SSLContext]:
    """A function that gives a server's context for each kind of certificate: most boxes show a good one only.

    Args:
        names: the host names and addresses that the server goes by.
        issued_days_ago: the age of the good certificate, in days.
    """
    now = utc_now()
    issued = now - issued_days_ago * DAY

    @functools.cache
    def context(kind: Kind) -> ssl.SSLContext:
        signer, shown, dates = root, names, (issued, issued + SERVER_LIFE)
        if kind == "expired":
            dates = now - SERVER_LIFE, now - DAY
        elif kind == "not-yet-valid":
            dates = now + DAY, now + SERVER_LIFE
        elif kind == "foreign":
            signer = make_ca("somebody else")
        elif kind == "misnamed":
            shown = ["other.example"]
        return make_server(*shown, signer=signer, dates=dates).context()

    return context
