"""What a board's facts mean: a line for each thing that a heartbeat needs, in the order of its needs.

The first bad line is the likely cause: those after it may follow from it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import muster

from tools.common.printable import printable
from tools.factory.doctor.facts import ENDED, Facts, free_blocks, room
from tools.factory.library import OLDEST
from tools.factory.remedies import remedy

GOOD, BAD, UNKNOWN = "good", "bad", "not known"

# Up to here a clock is right: an answer's Date is a second coarse, and as old as the answer is slow.
TOLERANCE_S = 60
WEAK_DBM = -80
# What the driver's status says of a network that is heard, see muster.portal.radio.
REFUSED = (2, 15, 202, 204, 205)
UNFIT = (210, 211)

DEPLOY = "python3 -m tools deploy"
REPL = "python3 -m tools repl"
CORRECT = f"put it right in your config.json, and {DEPLOY} --config config.json"
WATCH = f"{REPL} shows how it goes on"
CONFIGURE = "the library and the configuration must be right first"


@dataclass(frozen=True)
class Line:
    """state: GOOD, BAD or UNKNOWN. found: what was found, or why nothing is known. todo: against what is bad.

    more: what else there is to read.
    """

    name: str
    state: str
    found: str
    todo: str = ""
    more: tuple[str, ...] = ()


Said = tuple[str, str, str, tuple[str, ...]]


def good(found: str, *more: str) -> Said:
    return GOOD, found, "", more


def bad(found: str, todo: str, *more: str) -> Said:
    return BAD, found, todo, more


def unknown(why: str) -> Said:
    return UNKNOWN, why, "", ()


def lines(facts: Facts) -> list[Line]:
    """The lines that this board's product has."""
    found = []
    for name, (judge, asked) in JUDGES.items():
        if name == "update" and not facts.config.get("updates"):
            continue
        if asked in facts.faults:
            said = bad(facts.faults[asked], f"try again; {WATCH}")
        elif name != "MicroPython" and facts.silent:
            said = unknown("there is no MicroPython to ask")
        elif not facts.survey and name not in ("MicroPython", "program"):
            said = unknown("the board did not come to its prompt")
        else:
            said = judge(facts)
        state, text, todo, more = said
        found.append(Line(name, state, printable(text), printable(todo), tuple(map(printable, more))))
    return found


def verdict(found: list[Line]) -> Line | None:
    """The likely cause, None if nothing is bad."""
    return next((line for line in found if line.state == BAD), None)


def _micropython(f: Facts) -> Said:
    if f.silent:
        found, _, todo = f.silent.rstrip(".").partition(": ")
        asleep = "if its program sleeps or takes every Ctrl-C, give this command just after a press of reset"
        return bad(found, f"{todo}; {asleep}")
    if not f.survey:
        return good("it answers")
    name = {"micropython": "MicroPython"}.get(f.survey["name"], f.survey["name"])
    what = f"{name} {'.'.join(map(str, f.survey['version']))}"
    if name != "MicroPython" or tuple(f.survey["version"][:2]) < OLDEST:
        oldest = f"MicroPython {OLDEST[0]}.{OLDEST[1]} or later"
        return bad(f"the board runs {what}; muster needs {oldest}", "flash it: python3 -m tools flash")
    return good(f"{what}, {f.survey['machine']}")


def _library(f: Facts) -> Said:
    found = f.survey["library"]
    faults = [found.get("fault", ""), f.survey["configuration"].get("lacking", ""), *f.faults.values()]
    fault = next((fault for fault in faults if "ImportError" in fault), "") or faults[0]
    if "'muster'" in fault:
        bring = f"{DEPLOY} --config config.json --roots firmware/roots brings it"
        return bad("there is no muster on this board", bring)
    if fault:
        return bad(f"muster does not load: {fault}", f"{DEPLOY} brings it anew")
    same = found["version"] == muster.__version__
    here = "as here" if same else f"here it is {muster.__version__}, which `deploy` brings"
    return good(f"muster {found['version']} in {found['home'].rpartition('/')[0]}, {here}")


def _configuration(f: Facts) -> Said:
    found = f.survey["configuration"]
    if "fault" in found:
        return bad(found["fault"], CORRECT)
    if "values" not in found:
        return unknown("it needs the library to be checked")
    values, given = found["values"], found["given"]
    shown = [f"{name}: {json.dumps(values[name], ensure_ascii=False)}" for name in sorted(given)]
    shown += [f"warning: {warning}" for warning in found["warnings"]]
    others = len(values) - len(given)
    return good(f"{len(given)} keys are right, the other {others} have their defaults", *shown)


def _program(f: Facts) -> Said:
    """One of six things: it does not let the board be asked, or not to the end; it is not there; it raises,

    ends or resets the board; it was not run; it runs.
    """
    see = f"put that right; after Ctrl-D, {REPL} shows all that it prints"
    if f.lost:
        where = "while it was asked" if f.survey else "in boot.py, which must end within seconds"
        todo = f"{see}; if it is not the program, try another cable"
        return bad(f"the board stopped answering {where}", todo, f.lost)
    if not f.survey:
        return unknown("it was not run")
    if f.survey["programs"]["main.py"] is None:
        return bad("there is no main.py", f"{DEPLOY} brings it")
    for name, ended in f.runs.items():
        if ended and (name, ended) != ("boot.py", ENDED):
            return bad(f"{name}: {ended}", "let it end in agent.run()" if ended == ENDED else see)
    return good("main.py runs") if f.runs else unknown(f"it was not run: {CONFIGURE}")


def _memory(f: Facts) -> Said:
    text = f"{f.survey['heap'] // 1024:,} KB of heap are free"
    if f.survey["native"]:
        free, largest = f.survey["native"]
        text += f", and {free // 1024:,} KB of ESP-IDF's, {largest // 1024:,} KB of them in one piece"
    said = [*f.faults.values(), f.platform.get("refused", ""), f.enrol.get("fault", ""), *f.runs.values()]
    if any("no memory" in one or "MemoryError" in one for one in said):
        return bad(f"it was not enough: {text}", "let the program keep less in memory")
    return good(text)


def _flash(f: Facts) -> Said:
    block, _, blocks, _ = f.survey["flash"]
    left = f"{free_blocks(f.survey) * block // 1024:,} of {blocks * block // 1024:,} KB are free"
    if not room(f.survey):
        return bad(f"it is full, so that nothing can be kept: {left}", "remove files of your own there")
    return good(left)


def _network(f: Facts) -> Said:
    found = f.network
    if not found:
        return unknown(CONFIGURE)
    more = _set_up(f) if f.config["setup"] else ()
    if found["connected"]:
        where = f"{found['type']}, {', '.join(found['addresses'])}"
        if found["type"] == "wifi":
            name = f'Wi-Fi "{found["joined"]}"' if found["joined"] else "a Wi-Fi network of another name"
            weak = ", which is weak" if (found["signal"] or 0) < WEAK_DBM else ""
            where = f"{name} at {found['signal']} dBm{weak}; {', '.join(found['addresses'])}"
        return good(f"in {where}", *more)
    if not found["wifi"]:
        return bad("not connected, and the board has no Wi-Fi", "connect it to its network", *more)
    page = ""
    if f.config["setup"]:
        page = f'reset it, join its Wi-Fi "{found["page"]}" with a phone, and give it a network on the page'
    if not found["tried"]:
        if page:
            return bad("nobody has given it a Wi-Fi network", page, *more)
        return unknown('without "wifi" in its configuration your program brings the network, and is stopped')
    tried = [_tried(*one) for one in found["tried"]]
    todo = [*dict.fromkeys(todo for _, todo in tried), page]
    return bad("; ".join(text for text, _ in tried), "; or ".join(filter(None, todo)), *more)


def _set_up(f: Facts) -> tuple[str, ...]:
    """The networks that the buyer gave, and what is known of the page: to stop the agent closes it."""
    kept = f"networks from the set-up page: {', '.join(f.network['kept']) or 'none'}"
    if "closed" not in f.running:
        return (kept,)
    if f.running["closed"]:
        return kept, "its set-up page was open, and nobody used it"
    return kept, "its set-up page, if it was open, has closed to answer this, and opens again"


def _tried(name: str, strength: int | None, said: int) -> tuple[str, str]:
    """What became of a try at a network, and what to do."""
    if strength is None:
        return (
            f'Wi-Fi "{name}" is not heard',
            "compare its name letter by letter; bring the board nearer; it must be a network of 2.4 GHz",
        )
    heard = f'Wi-Fi "{name}" is heard at {strength} dBm'
    if said in REFUSED:
        return f"{heard}, and refuses the board (status {said})", f"check its key; {CORRECT}"
    if said in UNFIT:
        return (
            f"{heard}, and does not fit the key (status {said})",
            "give a key to a network that has one, and none to an open one; WPA 1 and WEP do not do",
        )
    return f"{heard}, and does not let the board in (status {said})", "see whether the router gives addresses"


def _clock(f: Facts) -> Said:
    """One of these, in their order:

    - NTP answers, and tells what this computer does, or something else
    - it is right without
    - it is wrong, and nobody could be asked: there is no network
    - and no NTP server answers
    - and there is none to be asked: the platform's answer sets it, or would, or is refused for its dates
    """
    off = f.survey["time"] - f.now[0]
    was = f"it says {_date(f.survey['time'])}, {_span(off)} this computer"
    right = abs(off) <= TOLERANCE_S
    if f.clock.get("answered"):
        after = f.clock["time"] - f.now[1]
        if abs(after) > TOLERANCE_S:
            return bad(f"NTP tells a time {_span(after)} this computer", "see which of them is wrong")
        return good("right, and NTP answers" if right else f"{was}; NTP has set it now")
    servers = ", ".join(f.config.get("ntp", ()))
    if right:
        return good(
            "right" + (f", although no NTP server answers ({servers})" if f.clock and servers else "")
        )
    if not f.clock:
        return unknown(f"{was}; nobody could be asked")
    if servers:
        way = 'let UDP to port 123 out of its network, or name servers under "ntp" that it reaches'
        return bad(f"{was}, and no NTP server answers ({servers})", way)
    if "status" in f.platform:
        return good(f"{was}; the platform's answer has set it now")
    if f.chain and f.chain.root and not f.chain.refused and "was refused" in f.platform.get("refused", ""):
        return bad(f"{was}, so that the platform's certificate seems wrong", 'name servers under "ntp"')
    return unknown(f'{was}; with "ntp": [] the platform\'s answer sets it, and there was none')


def _platform(f: Facts) -> Said:
    if not f.chain:
        return unknown(CONFIGURE)
    url, here, there = f.config["baseUrl"], f.chain.unreached, f.platform.get("unreached", "")
    if here and (there or not f.platform):
        also = f"{there}; nor from this computer: " if there else "not reached from this computer: "
        return bad(also + here, 'correct "baseUrl" if it is wrong; else wait until the server is there again')
    if there:
        way = "open the way out of the board's network: name server, gateway, firewall"
        return bad(f"{there}; this computer reaches it", way)
    if not f.platform:
        return good(f"{url} is reached by this computer; the board could not try")
    return good(f"{url} is reached by the board" + (f", not by this computer: {here}" if here else ""))


def _roots(f: Facts) -> Said:
    if not f.chain:
        return unknown(CONFIGURE)
    host = f.config["baseUrl"].removeprefix("https://")
    todo = f"python3 -m tools roots {host} finds it, and {DEPLOY} --roots firmware/roots brings it"
    broken = [path for path, found in f.roots.items() if not found]
    more = [f"no certificate: {', '.join(broken)}"] if broken else []
    count = sum(map(len, f.roots.values()))
    if not count:
        return bad(f"there is no CA root in {f.config['roots']}", todo, *more)
    if f.chain.root:
        more += filter(None, [f.chain.warning])
        return good(f"the server's chain ends in {f.chain.root}, one of {count} on the board", *more)
    if f.chain.lacking or "no trusted root" in f.platform.get("refused", ""):
        ends = f.chain.lacking or "another"
        return bad(
            f"the server's chain ends in {ends}, which is not one of the {count} on the board", todo, *more
        )
    return unknown(f"the server did not show its chain to this computer; {count} are on the board")


def _certificate(f: Facts) -> Said:
    if not f.chain:
        return unknown(CONFIGURE)
    if f.chain.unreached:
        return unknown("the server did not show it to this computer")
    if f.chain.gap:
        return bad(
            f"the server does not send that of {f.chain.gap}", "have its operator send the whole chain"
        )
    if f.chain.refused:
        return bad(f"the server's was refused: {f.chain.refused}", "have its operator put that right")
    return good("the server's is valid by this computer's clock")


def _answer(f: Facts) -> Said:
    if "status" in f.platform:
        return good(f"the board verifies the platform, which answers (HTTP {f.platform['status']})")
    if "refused" in f.platform:
        return bad(f.platform["refused"], f"put the lines above right first; {WATCH}")
    return unknown("the board did not reach the platform")


def _identity(f: Facts) -> Said:
    if not f.state:
        return unknown(CONFIGURE)
    number = f"{f.config['deviceNoType']} {f.state['device_no']} of product {f.config['productId']}"
    if f.state["enrolled"]:
        return good(f"{number} is enrolled as {f.state['device_id']}; its secret is kept (***)")
    other = f"; one of {f.state['kept']} is kept (***)" if f.state["kept"] else ""
    if "enrol" in f.faults:
        return bad(f"{number} cannot enrol: {f.faults['enrol']}", f"try again; {WATCH}")
    if "fault" in f.enrol:
        return bad(f"{number} cannot enrol: {f.enrol['fault']}", _cure(f.enrol["fault"], "try again"))
    if f.enrol:
        return good(f"{number} had no secret{other}: its own agent enrolled it now, as {f.enrol['enrolled']}")
    return unknown(f"{number} has no secret{other}; what is bad above keeps it from enrolling")


def _schedule(f: Facts) -> Said:
    if not f.state:
        return unknown(CONFIGURE)
    last, due = f.state["last_report"], f.state["next_due"]
    if last is None:
        since = (
            "since it was flashed is due at once" if f.state["enrolled"] else "follows its enrolment at once"
        )
        return good(f"the first heartbeat {since}")
    text = (
        f"the last heartbeat was accepted {_date(last)}, the next is due {_date(due) if due else 'at once'}"
    )
    if f.now[1] - last > f.config["deadline"]:
        return bad(f"{text}: that is past its deadline, {_period(f.config['deadline'])}", WATCH)
    return good(text)


def _last_error(f: Facts) -> Said:
    status = f.running.get("status")
    if status is None:
        return unknown("there was no agent in the board's memory to tell it")
    if status["last_error"]:
        said = status["last_error"]
        return bad(
            f"{said} ({status['failures']} in a row)",
            _cure(said, "put right what is bad above, if anything is"),
        )
    return good("none since the last start")


def _cure(said: str, otherwise: str) -> str:
    """What to do about an error of the agent's."""
    cure = remedy(said)
    if not cure:
        return f"{otherwise}; {WATCH}"
    return f"{cure}; then {DEPLOY} --config config.json" if "config.json" in cure else cure


def _crashes(f: Facts) -> Said:
    last = f.running.get("last")
    if not last:
        return unknown("the board keeps no record of them")
    exception = (
        f"the last exception was {last['last_exception']}" if last["last_exception"] else "no exception"
    )
    if f.running["safe"]:
        return bad(
            f"again and again: the board was in safe mode, the agent alone for an hour; {exception}",
            f"put the program right; {REPL} shows what it prints",
        )
    if last["crashes"]:
        text = f"{last['crashes']} since the last accepted heartbeat; {exception}"
        return bad(text, f"put the program right; {REPL} shows what it prints")
    return good(f"none since the last accepted heartbeat; last reset: {last['last_reset']}; {exception}")


def _update(f: Facts) -> Said:
    if "build" not in f.state:
        return unknown(CONFIGURE)
    text = f"build {f.state['build']} runs{', on trial' if f.state['on_trial'] else ''}"
    if f.state["refused_build"] is not None:
        text += f"; build {f.state['refused_build']} failed here, and is not taken again"
    return good(text)


# Each line's judge, and what was asked of the board for it.
JUDGES: dict[str, tuple[Callable[[Facts], Said], str]] = {
    "MicroPython": (_micropython, "survey"),
    "library": (_library, ""),
    "configuration": (_configuration, ""),
    "program": (_program, ""),
    "memory": (_memory, ""),
    "flash": (_flash, ""),
    "network": (_network, "network"),
    "clock": (_clock, "clock"),
    "platform": (_platform, ""),
    "roots": (_roots, "roots"),
    "certificate": (_certificate, ""),
    "answer": (_answer, "platform"),
    "identity": (_identity, "state"),
    "schedule": (_schedule, ""),
    "last error": (_last_error, ""),
    "crashes": (_crashes, ""),
    "update": (_update, ""),
}


def _date(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _span(off: int) -> str:
    return f"{_period(abs(off))} {'behind' if off < 0 else 'ahead of'}"


def _period(seconds: int) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
