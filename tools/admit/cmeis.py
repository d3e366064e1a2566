"""Rules about CMEIs: those of the configuration and of the batch, and the one that is sent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from tools.admit.facts import Facts, Unseen
from tools.admit.verdict import Verdict, failed, passed


def have_15_digits(facts: Facts) -> Verdict:
    return _every(facts, lambda cmei: re.fullmatch("[0-9]{15}", cmei) is not None, "it needs 15 digits")


def begin_with_11(facts: Facts) -> Verdict:
    return _every(facts, lambda cmei: cmei.startswith("11"), "it begins with 11; an IMEI is no CMEI")


def have_one_tui(facts: Facts) -> Verdict:
    counted = Counter(cmei[:8] for cmei in _well_formed(facts))
    if len(counted) > 1:
        tuis = ", ".join(sorted(counted))
        return failed(
            f"there are {len(counted)} TUIs: {tuis}", "make the batch with the product's own (--tui)"
        )
    return passed(f"the TUI is {next(iter(counted))}")


def differ(facts: Facts) -> Verdict:
    numbers = _well_formed(facts)
    number, times = Counter(cmei[:14] for cmei in numbers).most_common(1)[0]
    if times > 1:
        return failed(f"{times} devices have the CMEI {number}…", "give each its own (identities --earlier)")
    if facts.rows is None:
        raise Unseen("there is one device here; whether others differ from it, --identities batch.csv shows")
    return passed(f"{len(numbers):,} CMEIs differ")


def are_sent(facts: Facts) -> Verdict:
    if facts.cellular:
        return passed("the product is cellular")
    configured = facts.config.get("cmei") or ""
    if not configured:
        return failed("the product has no CMEI", "give it one: `identities --tui` makes those of a batch")
    if facts.rows and not any(_same(facts, row) for row in facts.rows):
        return failed(
            f"no row of the batch has the number {facts.device_no} with the CMEI {configured}",
            "give the board the CMEI of its row",
        )
    for call in facts.heartbeats:
        params = call.body.get("params")
        sent = params.get("cmei") if isinstance(params, dict) else None
        if sent != configured:
            return failed(f"the heartbeat has {sent!r}, and the device {configured}", "send the device's own")
    return passed(f"{configured}, as in {'the batch' if facts.rows else 'config.json'}")


def _same(facts: Facts, row: Mapping[str, str]) -> bool:
    """Whether the row is that of the device: in each number that it has."""
    device = {"deviceNo": facts.device_no, "cmei": facts.config.get("cmei")}
    return all(row[name] == value for name, value in device.items() if name in row)


def _numbers(facts: Facts) -> Sequence[str]:
    """The CMEIs of the batch, else that of the configuration. Raises Unseen where there is none."""
    rows = facts.rows if facts.rows and "cmei" in facts.rows[0] else [facts.config]
    found = [str(row["cmei"]) for row in rows if row.get("cmei")]
    if not found:
        raise Unseen("the product is cellular" if facts.cellular else "there is no CMEI")
    return found


def _well_formed(facts: Facts) -> list[str]:
    """Those that two of the rules above let pass."""
    found = [cmei for cmei in _numbers(facts) if re.fullmatch("11[0-9]{13}", cmei)]
    if not found:
        raise Unseen("no CMEI is well-formed")
    return found


def _every(facts: Facts, good: Callable[[str], bool], wanted: str) -> Verdict:
    numbers = _numbers(facts)
    for number in numbers:
        if not good(number):
            return failed(f"the CMEI {number} is wrong: {wanted}", "take it from `identities --tui`")
    return passed(
        numbers[0] if len(numbers) == 1 else f"{len(numbers):,}, from {numbers[0]} to {numbers[-1]}"
    )
