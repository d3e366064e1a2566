"""The page at `/`: how each device is doing, for people."""

import time
from html import escape
from pathlib import Path
from string import Template
from typing import Any

TEMPLATE = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
DEVICES_SHOWN = 200  # more than that would be slow to draw every two seconds
CALLS_SHOWN = 12
GOOD_CODES = ("200", "0")  # China Mobile's and Coze's


def render(state: dict[str, Any]) -> str:
    """The page for what `GET /state` answers. Everything from outside is escaped."""
    devices, now = state["devices"], state["time"]
    overdue = sum(device["overdue"] for device in devices)
    shown = sorted(devices, key=lambda device: not device["overdue"])[:DEVICES_SHOWN]
    note = f"{len(shown)} of {len(devices)} shown, overdue ones first" if len(shown) < len(devices) else ""
    told = ", ".join(f"{name} {value}" for name, value in state["misbehaviour"].items())
    return TEMPLATE.substitute(
        total=len(devices),
        enrolled=sum(device["firstSecret"] is not None for device in devices),
        reporting=sum(device["reportCount"] > 0 and not device["overdue"] for device in devices),
        overdue=overdue,
        overdue_class="bad" if overdue else "",
        heartbeats=sum(device["reportCount"] for device in devices),
        misbehaving=f'<p class="banner">Told to misbehave: {escape(told)}</p>' if told else "",
        coze_calls=sum(row["calls"] for row in state["coze"]["usage"]),
        usage="".join(_usage(row, now) for row in state["coze"]["usage"][:DEVICES_SHOWN])
        or _nothing(5, "No call to Coze has been billed yet."),
        note=note,
        devices="".join(_device(device, now) for device in shown) or _nothing(7, "No device is imported."),
        calls="".join(_call(call) for call in reversed(state["calls"][-CALLS_SHOWN:]))
        or _nothing(5, "No call has arrived yet."),
    )


def _device(device: dict[str, Any], now: float) -> str:
    params = device["params"]
    origin = f"{device['deviceNoType']} in product {device['productId']}"
    warning = f'<small class="warn">{escape(device["warning"])}</small>' if device["warning"] else ""
    return (
        f"<tr><td><b>{escape(device['deviceNo'])}</b><small>{escape(origin)}</small>{warning}</td>"
        f"<td>{_status(device)}</td>"
        f"<td>{_when(device['firstSecret'], now)}{_fetched(device['secretCount'])}</td>"
        f"<td>{_when(device['lastReport'], now)}</td>"
        f'<td class="number">{device["reportCount"]}</td>'
        f"<td>{escape(params.get('firmwareVersion', '')) or _dash()}</td>"
        f"<td>{escape(params.get('netType', '')) or _dash()}"
        f"<small>{escape(', '.join(params.get('innerIp', [])))}</small></td></tr>"
    )


def _usage(row: dict[str, Any], now: float) -> str:
    return (
        f"<tr><td><b>{escape(row['device_id'])}</b></td><td>{escape(row['custom_consumer'])}</td>"
        f'<td class="number">{row["calls"]}</td><td>{_when(row["lastCall"], now)}</td>'
        f"<td><code>{escape(row['lastPath'])}</code></td></tr>"
    )


def _status(device: dict[str, Any]) -> str:
    if device["overdue"]:
        return '<span class="pill bad">overdue</span>'
    if device["reportCount"]:
        return '<span class="pill good">reporting</span>'
    if device["firstSecret"] is not None:
        return '<span class="pill warm">enrolled</span>'
    return '<span class="pill">not seen</span>'


def _call(call: dict[str, Any]) -> str:
    verdict = "good" if call["code"] in GOOD_CODES else "bad"
    return (
        f"<tr><td>{_clock(call['time'])}</td><td>{escape(call['device'] or '') or _dash()}</td>"
        f"<td><code>{escape(call['path'])}</code></td>"
        f'<td><span class="pill {verdict}">{escape(call["code"] or "none")}</span></td>'
        f"<td>{escape(call['reason'] or '')}</td></tr>"
    )


def _when(then: float | None, now: float) -> str:
    if then is None:
        return _dash()
    return (
        f'<time title="{time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(then))}">{ago(now - then)}</time>'
    )


def _clock(then: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(then))


def _fetched(count: int) -> str:
    if count < 2:
        return ""
    # A device that keeps its secret asks once in its life.
    return f'<small class="warn">fetched {count} times</small>'


def _dash() -> str:
    return '<span class="none">&ndash;</span>'


def _nothing(columns: int, text: str) -> str:
    return f'<tr><td class="none" colspan="{columns}">{text}</td></tr>'


def ago(seconds: float) -> str:
    """How long ago, in the largest unit that fits."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count = int(seconds // length)
        if count >= 1:
            return f"{count} {unit}{'s' * (count > 1)} ago"
    return "just now"
