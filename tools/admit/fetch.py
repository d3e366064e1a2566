"""Rules about the secret: fetched by one call, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tools.admit.facts import FIRST, NOT_SO_FAR, REPORT, SECRET_INFO, Call, Facts, Unseen
from tools.admit.verdict import Verdict, failed, passed

TYPES = ("SN", "IMEI", "CMEI")
FIELDS = ("deviceNoType", "deviceNo", "productId", "productKey")
KEEP = "have the secret on flash before anything else is done, and read it there at every start"


def comes_first(facts: Facts) -> Verdict:
    first = facts.enrolments[0]
    if not first.accepted:
        raise Unseen(first.answer)
    if any(call.path == REPORT for call in facts.calls[: facts.calls.index(first)]):
        return failed("a heartbeat came before the fetch", "fetch the secret first")
    return passed(f"device id {facts.identity['deviceId']}, and a secret that is not shown")


def is_this_call(facts: Facts) -> Verdict:
    return right_call(facts.enrolments)


def right_call(calls: list[Call]) -> Verdict:
    """Whether the calls, which are known by their path, are made as the document says."""
    for call in calls:
        kind = call.content_type.partition(";")[0].strip().lower()
        if (call.method, kind) != ("POST", "application/json"):
            return failed(f"{call.method} with Content-Type {call.content_type}", "POST application/json")
    return passed(f"POST {calls[0].path} with {calls[0].content_type}")


def happens_once(facts: Facts) -> Verdict:
    """In the first life of the device; the rules of not_after() are about the others."""
    if facts.had_secret:
        if _fetched(facts.calls):
            return failed("the report that was made now fetched the secret anew", KEEP)
        return passed("the board had its secret, and the report that was made now fetched none")
    first = facts.enrolments if facts.hand else facts.after(FIRST)
    fetched = _fetched(first)
    if fetched > 1:
        return failed(f"it was fetched {fetched} times before the device was first restarted", KEEP)
    if not facts.enrolments[0].accepted:
        raise Unseen(NOT_SO_FAR)
    return passed("it was fetched once")


def not_after(how: str) -> Callable[[Facts], Verdict]:
    def judge(facts: Facts) -> Verdict:
        events = facts.after(how)
        if facts.hand:
            if facts.secret_kept is None:
                raise Unseen(NOT_SO_FAR)
            if not facts.secret_kept:
                return failed(f"after a {how} the secret is not on flash", KEEP)
            return passed(f"after a {how} the secret is on flash as it was before")
        if _fetched(events):
            return failed(f"after a {how} the device fetched its secret again", KEEP)
        if not any(isinstance(event, Call) and event.path == REPORT and event.accepted for event in events):
            return failed(f"after a {how} no heartbeat came; why stands above", "see what the board prints")
        return passed(f"after a {how} it reported, and fetched nothing")

    return judge


def _fetched(events: Sequence[object]) -> int:
    return sum(isinstance(event, Call) and event.path == SECRET_INFO for event in events)


def has_type(facts: Facts) -> Verdict:
    found = facts.config["deviceNoType"]
    sent = [call.body.get("deviceNoType") for call in facts.calls if call.path == SECRET_INFO]
    for kind in (found, *sent):
        if kind not in TYPES:
            return failed(f"deviceNoType is {kind!r}", f"take one of {', '.join(TYPES)}")
    return passed(f"deviceNoType is {found}")


def has_body(facts: Facts) -> Verdict:
    for call in facts.enrolments:
        wrong = wrong_fields(facts, call, FIELDS)
        if wrong:
            return failed(wrong, "send these four, as strings, as they stand in the configuration")
    return passed(f"deviceNo {facts.enrolments[0].body['deviceNo']}")


def wrong_fields(facts: Facts, call: Call, fields: tuple[str, ...]) -> str:
    """What is wrong with the fields of a body, without their values; "" for nothing."""
    expected = {**{name: facts.config.get(name) for name in FIELDS}, "deviceNo": facts.device_no}
    for name in fields:
        if name not in call.body:
            return f"{name} is missing"
        if name in FIELDS and call.body[name] != expected[name]:
            return f"{name} is not what it should be"
    more = sorted(set(call.body) - set(fields))
    return f"{more[0]} is no field of this call" if more else ""
