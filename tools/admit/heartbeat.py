"""Rules about what a heartbeat says. All heartbeats that were seen are judged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from muster import cmei

from tools.admit import fetch
from tools.admit.facts import REPORT, Facts, Unseen
from tools.admit.product import is_address
from tools.admit.verdict import Verdict, failed, passed

BODY = ("deviceId", "deviceSecret", "productId", "productKey", "params")
PARAMS = (
    *("innerIp", "netSpeed", "netType", "platform", "sdkVersion", "firmwareVersion"),
    *("imei", "cmei", "mac"),
)
SDK_VERSION = "ai_http_1.0"


def has_what_was_fetched(facts: Facts) -> Verdict:
    for call in facts.heartbeats:
        for name in ("deviceId", "deviceSecret"):
            if call.body.get(name) != facts.identity.get(name):
                return failed(f"a heartbeat's {name} is not the one fetched", "send what the fetch answered")
    return passed(f"device id {facts.identity['deviceId']} and its secret")


def is_this_call(facts: Facts) -> Verdict:
    return fetch.right_call(facts.heartbeats)


def has_body(facts: Facts) -> Verdict:
    for call in facts.heartbeats:
        wrong = fetch.wrong_fields(facts, call, BODY)
        if not wrong and not isinstance(call.body["params"], dict):
            wrong = "params is no object"
        if wrong:
            return failed(wrong, "send these five, productId and productKey as in the configuration")
    return passed(", ".join(BODY))


def has_all_params(facts: Facts) -> Verdict:
    for params in _params(facts):
        lacking = [name for name in PARAMS if name not in params]
        if lacking:
            return failed(
                f"{lacking[0]} is missing", "send the document's default where a value is not known"
            )
        more = sorted(set(params) - set(PARAMS))
        if more:
            return failed(f"{more[0]} is no parameter of the document", "leave it out")
    return passed(", ".join(PARAMS))


def has_inner_ip(facts: Facts) -> Verdict:
    def good(value: Any) -> bool:
        return isinstance(value, list) and value != [] and all(map(is_address, value))

    return _judged(facts, "innerIp", good, 'a list of addresses, or ["127.0.0.1"]')


def has_net_speed(facts: Facts) -> Verdict:
    return _judged(facts, "netSpeed", _like(r"[0-9]+(\.[0-9]+)?[KMG]?bps"), "0Mbps where it is not known")


def has_text(name: str) -> Callable[[Facts], Verdict]:
    def judge(facts: Facts) -> Verdict:
        return _judged(facts, name, _like(".+"), "a text, as in the document's examples")

    return judge


def has_sdk_version(facts: Facts) -> Verdict:
    # The makers of aisdk have versions of their own; a device with muster calls the API.
    return _judged(facts, "sdkVersion", lambda value: value == SDK_VERSION, SDK_VERSION)


def has_firmware_version(facts: Facts) -> Verdict:
    version = facts.config.get("firmwareVersion")
    return _judged(facts, "firmwareVersion", lambda value: value == version, f"{version}, as configured")


def has_imei(facts: Facts) -> Verdict:
    if not facts.cellular:
        return _judged(facts, "imei", lambda value: value == "", 'the empty text, "": it is not cellular')
    return _judged(facts, "imei", _is_imei, "its 15 digits: the product is cellular")


def has_cmei(facts: Facts) -> Verdict:
    """Whether it is the right one, and there at all, cmeis.are_sent() judges."""
    return _judged(facts, "cmei", _like("([0-9]{15})?"), "15 digits")


def has_mac(facts: Facts) -> Verdict:
    form = "(([0-9A-Fa-f]{2}-){5}[0-9A-Fa-f]{2})?"
    return _judged(facts, "mac", _like(form), "such as 50-5A-65-51-82-13")


def is_accepted(facts: Facts) -> Verdict:
    sent = [call for call in facts.calls if call.path == REPORT]
    if facts.hand and not facts.refused and not sent:
        return failed("the board could send none; why stands above", "correct what it says, and try again")
    calls = facts.heartbeats
    for call in calls:
        if not call.accepted:
            return failed(call.answer, "correct what it says, and try again")
    return passed(f"{len(calls)} of {len(calls)} answered with code 200")


def _params(facts: Facts) -> list[dict[str, Any]]:
    return [
        params if isinstance(params := call.body.get("params"), dict) else {} for call in facts.heartbeats
    ]


def _judged(facts: Facts, name: str, good: Callable[[Any], bool], wanted: str) -> Verdict:
    """Whether the parameter is good wherever it is there; has_all_params() judges whether it is."""
    values = [params[name] for params in _params(facts) if name in params]
    if not values:
        raise Unseen(f"no heartbeat has {name}")
    for value in values:
        if not good(value):
            return failed(f"{name} is {_shown(value)}", f"send {wanted}")
    return passed(_shown(values[-1]))


def _like(form: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(form, value) is not None


def _is_imei(value: Any) -> bool:
    try:
        cmei.check(value)
        return not value.startswith("11")
    except ValueError:
        return False


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
