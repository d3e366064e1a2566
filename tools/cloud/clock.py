"""Time as the vendors write it: Beijing's, whatever the laptop's."""

import datetime

BEIJING = datetime.timezone(datetime.timedelta(hours=8))


def beijing(then: float) -> str:
    """A Unix time such as 2014-06-01 23:00:10."""
    return datetime.datetime.fromtimestamp(then, BEIJING).strftime("%Y-%m-%d %H:%M:%S")
