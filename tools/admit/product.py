"""Rules about the product: its id and key, its devices' numbers, and whom it calls."""

from __future__ import annotations

import ipaddress
from collections import Counter

from muster.clouds.chinamobile import PRODUCTION, TEST

from tools.admit.facts import NOT_SO_FAR, SECRET_INFO, Facts, Unseen
from tools.admit.verdict import Verdict, failed, passed, unseen


def has_id_and_key(facts: Facts) -> Verdict:
    return passed(f"productId {facts.config['productId']}, and a productKey that is not shown")


def is_imported(facts: Facts) -> Verdict:
    if not facts.hand or not in_production(facts):
        raise Unseen(
            "only the platform knows its devices: compare the numbers of the batch with those imported there"
        )
    refused = [call for call in facts.calls if call.path == SECRET_INFO and call.code not in (None, "200")]
    if refused:
        return failed(refused[0].answer, "import the device on the platform first")
    if not any(call.accepted for call in facts.heartbeats):
        raise Unseen(NOT_SO_FAR)
    return passed("the platform accepted a heartbeat of this device")


def in_production(facts: Facts) -> bool:
    return facts.config.get("baseUrl") == PRODUCTION


def calls_production(facts: Facts) -> Verdict:
    url = facts.config["baseUrl"]
    if in_production(facts):
        return passed(f"baseUrl is {url}")
    which = "the test address" if url == TEST else "no address of the document"
    return failed(
        f"baseUrl is {url}, {which}", 'take "baseUrl" out of config.json: production is the default'
    )


def verifies(facts: Facts) -> Verdict:
    if facts.roots == 0:
        return failed("no CA root goes along", "give --roots, or have `roots` find the platform's")
    if facts.hand and in_production(facts) and any(call.accepted for call in facts.calls):
        return passed("it accepted the platform's certificate just now")
    what = "" if facts.roots is None else f"{facts.roots} CA roots go along; "
    return unseen(
        f"{what}whether the platform's certificate ends in one of them, "
        "`roots ivs.chinamobiledevice.com:11443` tells"
    )


def has_header(facts: Facts) -> Verdict:
    if not facts.calls:
        raise Unseen(NOT_SO_FAR)
    sent = [call.device_ip for call in facts.calls if call.device_ip is not None]
    wrong = [ip for ip in sent if not is_address(ip)]
    if wrong:
        return failed(f"X-AI-IP is {wrong[0]!r}", "leave the header out: it is for servers that call")
    return passed(f"X-AI-IP is {sent[0]}" if sent else "the device calls itself, without the header")


def is_address(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(ipaddress.ip_address(text))
    except ValueError:
        return False


def numbers_differ(facts: Facts) -> Verdict:
    rows, number = facts.rows, facts.config["deviceNo"]
    if number == "auto":
        return passed('deviceNo is "auto": every board has its own MAC')
    if rows is None or "deviceNo" not in rows[0]:
        return unseen(
            f"there is one device here, {number}; whether others differ from it, --identities batch.csv shows"
        )
    counted = Counter(row["deviceNo"] for row in rows)
    number, times = counted.most_common(1)[0]
    if times > 1:
        return failed(f"{times} rows of the batch have the deviceNo {number}", "give each device its own")
    if "" in counted:
        return failed("a row of the batch has no deviceNo", "give each device its own")
    return passed(f"{len(rows):,} rows of the batch have {len(counted):,} numbers")


def id_is_no_number(facts: Facts) -> Verdict:
    config, rows = facts.config, facts.rows or []
    if any(row.get("deviceNo") == config["productId"] for row in rows) and len(rows) > 1:
        return failed(
            "a row of the batch has the productId for its deviceNo",
            "give the device a number of its own, as the others have, and import that",
        )
    if config["deviceNo"] and config["deviceNo"] == config["productId"]:
        return passed(
            "deviceNo is the productId, which the document allows", "better give a number of its own"
        )
    return passed("deviceNo is not the productId")
