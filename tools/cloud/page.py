"""The page at `/`: how each device is doing, for people."""

import base64
import functools
import hashlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .state import State

# Each cloud by its name in the page's address, and at last the calls to all of them.
PARTS = {
    "chinamobile": "China Mobile",
    "coze": "Coze",
    "baidu": "Baidu",
    "feishu": "Feishu",
    "calls": "Calls",
}
SHOWN = 100
CALLS_SHOWN = 300

HERE = Path(__file__).parent


def _digest(tag: str) -> str:
    """The one style or script of the page, as a policy names it, which lets no other run."""
    text = (HERE / "page.html").read_text("utf-8").partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; style-src {_digest('style')}; script-src {_digest('script')}; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def ago(seconds: float) -> str:
    """How long ago, in the largest unit that fits."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count = int(seconds // length)
        if count >= 1:
            return f"{count} {unit}{'s' * (count > 1)} ago"
    return "just now"


def _date(then: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    return time.strftime(form, time.localtime(then))


@functools.cache
def _template() -> Any:
    import jinja2  # few boxes are looked at, and all of them would wait for it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"ago": ago, "date": _date, "thousands": "{:,}".format}
    environment.globals |= {
        "parts": PARTS,
        "good_codes": ("200", "0", "206", "304"),  # China Mobile's, everybody else's, and files'
        "baidu_states": {"NOT_ACTIVE": "", "ACTIVATED": "good", "BAN": "bad"},
        "systems": ("Windows", "macOS", "Linux", "Android", "iOS", "OpenHarmony"),
        "ownerships": ("unknown", "personal", "company"),
        "statuses": ("unknown", "trusted", "not trusted"),
        "record_columns": {
            "device_record_id",
            "created",
            "device_system",
            "device_ownership",
            "device_status",
        },
    }
    return environment.get_template("page.html")


def render(state: State, misbehaviour: Mapping[str, Any], asked: Mapping[str, str]) -> str:
    """One part of the page. Everything from outside is escaped.

    asked: of the page's address: `part`, one of PARTS; `find`, what is looked for in it; and `show`, how many
        rows. What is wrong there counts as not given.
    """
    part = asked.get("part", "")
    part = part if part in PARTS else next(iter(PARTS))
    find = asked.get("find", "").strip()
    typed = asked.get("show", "")
    show = int(typed) if re.fullmatch("[1-9][0-9]{0,3}", typed) else SHOWN
    known: dict[str, Any] = {"devices": state.products.counts(), "coze_calls": state.coze.total()}
    known |= {"baidu": state.baidu.accounts(), "records": state.feishu.total()}
    match part:
        case "chinamobile":
            known["seen"], known["unseen"] = (
                state.products.found(find, seen, show) for seen in (True, False)
            )
        case "coze":
            known["usage"], known["bound"] = state.coze.usage(find, show), state.coze.bound(find, show)
        case "baidu":
            known["found"] = state.baidu.newest(find, show)
        case "feishu":
            known["found"] = state.feishu.newest(find, show)
        case "calls":
            known["calls"] = [call for call in state.calls(last=CALLS_SHOWN)[::-1] if _named(call, find)]
    how = {"part": part, "find": find, "show": show, "misbehaviour": misbehaviour}
    return _template().render(known, time=state.now(), **how)


def _named(call: Mapping[str, Any], find: str) -> bool:
    said = (call["device"], call["path"], call["code"], call["reason"])
    return find.lower() in " ".join(str(text or "") for text in said).lower()
