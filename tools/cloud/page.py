"""The page at `/`: how each device is doing, for people."""

import time
from html import escape
from pathlib import Path
from string import Template
from typing import Any

TEMPLATE = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
DEVICES_SHOWN = 200  # more than that would be slow to draw every two seconds
CALLS_SHOWN = 12
NEWEST_SHOWN = 8
GOOD_CODES = ("200", "0")  # China Mobile's, and everybody else's
BAIDU_PILLS = {"NOT_ACTIVE": "", "ACTIVATED": "good", "BAN": "bad"}
SYSTEMS = ("Windows", "macOS", "Linux", "Android", "iOS", "OpenHarmony")
OWNERSHIPS = ("unknown", "personal", "company")
STATUSES = ("unknown", "trusted", "not trusted")


def render(state: dict[str, Any]) -> str:
    """The page for what `GET /state` answers. Everything from outside is escaped."""
    devices, now = state["devices"], state["time"]
    overdue = sum(device["overdue"] for device in devices)
    shown = sorted(devices, key=lambda device: not device["overdue"])[:DEVICES_SHOWN]
    note = f"{len(shown)} of {len(devices)} shown, overdue ones first" if len(shown) < len(devices) else ""
    baidu, feishu = state["baidu"], state["feishu"]
    baidu_total = sum(account["devices"] for account in baidu["accounts"])
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
        baidu_total=f"{baidu_total:,}",
        baidu_note=_newest(len(baidu["devices"]), baidu_total),
        baidu_accounts="".join(_account(account) for account in baidu["accounts"][:DEVICES_SHOWN])
        or _nothing(6, "No account is open."),
        baidu="".join(_baidu_device(row, now) for row in baidu["devices"][:NEWEST_SHOWN])
        or _nothing(4, "No device is imported."),
        feishu_total=f"{feishu['count']:,}",
        feishu_note=_newest(len(feishu["records"]), feishu["count"]),
        feishu="".join(_record(row, now) for row in feishu["records"][:NEWEST_SHOWN])
        or _nothing(5, "No record has been created yet."),
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


def _account(account: dict[str, Any]) -> str:
    states = "".join(f'<td class="number">{account["states"].get(state, 0):,}</td>' for state in BAIDU_PILLS)
    quota = f"{account['spent']:,} of {account['quota']:,}"
    return (
        f"<tr><td><b>{escape(account['fc'])}</b><small>product {escape(account['pk'])}</small></td>"
        f'<td class="number">{account["devices"]:,}</td>{states}<td class="number">{quota}</td></tr>'
    )


def _baidu_device(row: dict[str, Any], now: float) -> str:
    origin = f"vendor {row['fc']}, product {row['pk']}"
    return (
        f"<tr><td><b>{escape(row['ak'])}</b><small>{escape(origin)}</small></td>"
        f'<td><span class="pill {BAIDU_PILLS[row["state"]]}">{row["state"]}</span></td>'
        f"<td>{_when(row['created'], now)}</td><td>{_when(row['updated'], now)}</td></tr>"
    )


def _record(row: dict[str, Any], now: float) -> str:
    known = {"device_record_id", "created", "device_system", "device_ownership", "device_status"}
    identity = "".join(
        f"<small>{escape(name)} {escape(value)}</small>" for name, value in row.items() if name not in known
    )
    return (
        f"<tr><td><b>{escape(row['device_record_id'])}</b>{identity}</td>"
        f"<td>{SYSTEMS[row['device_system'] - 1]}</td><td>{OWNERSHIPS[row['device_ownership']]}</td>"
        f"<td>{STATUSES[row['device_status']]}</td><td>{_when(row['created'], now)}</td></tr>"
    )


def _newest(known: int, total: int) -> str:
    shown = min(known, NEWEST_SHOWN)
    return f"the newest {shown} of {total:,} shown" if shown < total else ""


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
