"""Rules about when heartbeats come: as the platform saw them, and as the device has them on flash."""

from __future__ import annotations

from tools.admit.facts import FIRST, NOT_SO_FAR, REBOOT, REPORT, TORN, Call, Facts, Kept, Start, Unseen
from tools.admit.verdict import Verdict, failed, passed, unseen

HOUR, DAY = 3600, 86400
PERIOD, OFFSET = 12 * HOUR, 15 * 60
# A clock of seconds is read twice.
SECOND = 2


def never_over_a_day(facts: Facts) -> Verdict:
    times = [call.at for call in facts.heartbeats if call.accepted]
    if not times:
        raise Unseen(NOT_SO_FAR)
    pauses = [later - earlier for earlier, later in zip(times, [*times[1:], facts.until], strict=True)]
    planned = [record.pause for record in facts.kept]
    longest = max(*pauses, *planned)
    advice = 'make "period" and "deadline" shorter, and see the lines that the device prints'
    if longest > DAY:
        return failed(f"{_long(longest)} passed, or were planned, between two heartbeats", advice)
    if facts.hand:
        return passed(f"the longest pause that was planned on its flash is {_long(longest)}")
    return passed(
        f"{len(times)} heartbeats in {_long(facts.until - times[0])}; the longest pause, planned ones among "
        f"them, is {_long(longest)}"
    )


def begins_at_once(facts: Facts) -> Verdict:
    if facts.hand:
        return unseen("the board's first start is over: check it on a virtual board, with --config")
    first = facts.after(FIRST)
    start = next(event for event in facts.events if isinstance(event, Start))
    calls = [event for event in first if isinstance(event, Call) and event.path == REPORT and event.accepted]
    if not calls:
        return failed("the first start brought no heartbeat; why stands above", "see what the board prints")
    kept = [event for event in first if isinstance(event, Kept)]
    if not kept or abs(kept[0].last - calls[0].at) > OFFSET:
        return failed("the time of the report is not on flash", "keep it where a power cut does not reach")
    return passed(f"it reported {calls[0].at - start.at:.0f} s after its first start, and kept the time")


def follows_the_reference(facts: Facts) -> Verdict:
    last = None
    # Of the first report begins_at_once() judges it.
    for event in facts.events[facts.events.index(facts.kept[0]) + 1 :]:
        if isinstance(event, Call) and event.path == REPORT and event.accepted:
            last = event.at
        elif isinstance(event, Kept) and last is not None and abs(event.last - last) > OFFSET:
            return failed("the time on flash is not that of the last report", "keep the time of every report")
    shown = ", ".join(_long(record.pause) for record in facts.kept)
    if facts.config.get("policy") == "daily":
        return passed(f"strategy 1, with the deadline behind it: T_next - T_current: {shown}")
    if _is_every(facts, PERIOD, OFFSET):
        return passed(f"T_next - T_current: {shown}")
    # Q3 allows any way; it must be the one that is configured.
    period = facts.config["period"]
    if period == PERIOD or not _is_every(facts, period, facts.config["jitter"]):
        return failed(f"T_next - T_current: {shown}", "keep T_next as the document reckons it")
    return passed(f"T_next - T_current: {shown}: a period of the maker's own, {_long(period)}")


def _is_every(facts: Facts, period: int, jitter: int) -> bool:
    """After its first report a device may come sooner: a batch that is switched on together spreads out."""
    return all(
        record.pause <= period + jitter and (record.reports == 1 or record.pause >= period - jitter)
        for record in facts.kept
    )


def comes_when_due(facts: Facts) -> Verdict:
    """A report after a write that was cut short is left out: the device did not know of the one before."""
    if facts.hand:
        return _outlives_reboot(facts)
    due = None
    came = 0
    for event in facts.events:
        if isinstance(event, Kept):
            due = event.next
        elif isinstance(event, Start) and event.how == TORN:
            due = None
        elif isinstance(event, Call) and event.path == REPORT and due is not None:
            if event.at < due - SECOND:
                return failed(f"a report came {_long(due - event.at)} before T_next", "keep T_next on flash")
            if event.at > due + OFFSET:
                return failed(f"a report came {_long(event.at - due)} after T_next", "wake up for T_next")
            due, came = None, came + 1
    if not came:
        raise Unseen(NOT_SO_FAR)
    return passed(f"{came} reports came when they were due, with a reboot and a power cut between them")


def _outlives_reboot(facts: Facts) -> Verdict:
    after = [event for event in facts.after(REBOOT) if isinstance(event, Kept)]
    before = facts.kept[: -len(after)] if after else []
    if not after or not before:
        raise Unseen("the board has no T_next on its flash")
    if after[-1].next != before[-1].next:
        return failed("T_next is another after a reboot", "keep T_next on flash, and go by it")
    return passed(f"T_next, {_long(after[-1].pause)} after the report, outlived a reboot")


def is_spread(facts: Facts) -> Verdict:
    config = facts.config
    if config["jitter"] == 0:
        return failed("jitter is 0: devices that were switched on together report together", "set it to 900")
    if config["policy"] == "daily":
        return passed("it reports on the first use of a day, or else at a random time before the deadline")
    first = f", and the first pause anywhere in {_long(config['spread'])}" if config["spread"] else ""
    return passed(f"± {_long(config['jitter'])}{first}")


def _long(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 2:
        return f"{minutes * 60 + rest} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
