"""How the vendors write times, numbers and JSON."""

import datetime
import json
import secrets
from typing import Any

BEIJING = datetime.timezone(datetime.timedelta(hours=8))


def beijing(then: float) -> str:
    """A Unix time such as 2014-06-01 23:00:10, whatever the laptop's time zone."""
    return datetime.datetime.fromtimestamp(then, BEIJING).strftime("%Y-%m-%d %H:%M:%S")


def number() -> str:
    """A number of 19 digits, such as Coze and Feishu give to everything."""
    return str(7 * 10**18 + secrets.randbelow(10**18))


def compact(content: Any) -> str:
    """JSON on one line, with Chinese as it is."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
