"""The page at `/`: how each device is doing, for people."""

import time
from pathlib import Path
from typing import Any

import jinja2


def ago(seconds: float) -> str:
    """How long ago, in the largest unit that fits."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count = int(seconds // length)
        if count >= 1:
            return f"{count} {unit}{'s' * (count > 1)} ago"
    return "just now"


def _date(then: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    return time.strftime(form, time.localtime(then))


_page = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
)
_page.filters |= {"ago": ago, "date": _date}
_page.globals |= {
    "shown": 200,  # more than that would be slow to draw every two seconds
    "calls_shown": 12,
    "newest_shown": 8,
    "good_codes": ("200", "0"),  # China Mobile's, and everybody else's
    "baidu_states": {"NOT_ACTIVE": "", "ACTIVATED": "good", "BAN": "bad"},
    "systems": ("Windows", "macOS", "Linux", "Android", "iOS", "OpenHarmony"),
    "ownerships": ("unknown", "personal", "company"),
    "statuses": ("unknown", "trusted", "not trusted"),
    "record_columns": {"device_record_id", "created", "device_system", "device_ownership", "device_status"},
}


def render(state: dict[str, Any]) -> str:
    """The page for what `GET /state` answers. Everything from outside is escaped."""
    return _page.get_template("page.html").render(state)
