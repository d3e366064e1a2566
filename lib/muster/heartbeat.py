"""What a step of the agent does when it is due: join, ask for the time, enrol, report.

These functions are a part of muster.agent.Agent that is in memory only while it works.
"""

import gc

from . import clock as system_clock
from . import const, log
from .agent import day, duration
from .board import machine
from .errors import TransportError
from .flow import Request, driver
from .memory import call, unload

_REJOIN_AFTER = const(3)  # failures to reach anything, and a Wi-Fi that says it is connected is not believed
_JOIN_S = const(15)  # for each network
_MAX_ANSWER = const(4096)


def _join(agent):
    """Joins Wi-Fi, unless a network is there."""
    config, hardware = agent._config, agent._hardware
    stale = agent._unreached >= _REJOIN_AFTER and hardware.net_type() == "wifi"
    if stale:
        agent._unreached = 0
    needed = stale or not hardware.connected()
    # Once: what cannot be opened must not keep the board from reporting.
    asked = agent.setup.pop("asked", False)
    if config["setup"] and (needed or asked):
        from .portal import home

        yield from home.join(agent, stale, asked)
    elif needed and config["wifi"]:
        yield from joined(agent, config["wifi"], stale)
    agent._has_joined = True


def joined(agent, networks, stale):
    """Joins one of the networks: a generator. Returns its ssid, or raises TransportError."""
    config = agent._config
    wait_s = _JOIN_S if agent._has_joined else config["firstJoin"]
    radio = {name: config[name] for name in ("pm", "txpower") if config[name]}
    found = yield from agent._hardware.join(networks, config["hostname"], 1000 * wait_s, anew=stale, **radio)
    if found is None:
        names = ", ".join(["%s" % network["ssid"] for network in networks])
        raise TransportError("none of the Wi-Fi networks (%s) could be joined" % names)
    log.info("joined %s" % found)
    return found


def _ask_time(agent):
    """Sets the clock, if it can be done without the platform."""
    if agent._clock is system_clock:
        yield from system_clock.synchronise(agent._config["ntp"])
        return
    try:
        agent._clock.sync()
    except Exception as e:
        log.warning("the clock is not set: %s" % e)


def online(agent, work, keep):
    """Does due(), enrol() or report() over the session: a generator for net.wait, as they are.

    keep   True leaves the connections of a session that was handed in open
    """
    session = agent._session
    if session is None:
        from muster.net.carrier import Carrier

        session = Carrier(agent._config["roots"], max_body=_MAX_ANSWER)
        session.lean = True
        session.roots = agent._trusted
    try:
        return (yield from work(agent, driver(session)))
    finally:
        # TLS holds tens of kilobytes, and the next report is half a day away.
        if not (keep and agent._session) and hasattr(session, "close"):
            session.close()


def due(agent, session):
    """Does what a step has to do: it reports, if that is due by a clock that is worth asking."""
    yield from _join(agent)
    if not agent._clock.trusted():
        yield from _ask_time(agent)
    if agent._knows_time:
        agent._look_at_clock()
    else:
        yield from _learn_time(agent, session)
    now = agent._clock.now()
    # Without the time nobody knows how long it was off: better early than past the deadline.
    if not agent._knows_time or agent._untold or now >= agent._schedule.next:
        yield from report(agent, session)
    else:
        pause = agent._schedule.due_at(agent._schedule.next) - now
        log.info("the next report is due in " + duration(pause))


def _learn_time(agent, session):
    """After a start: T_next on flash says something only to a clock that knows the time.

    Without NTP the clock stands at its floor. A first report tells it the time; else
    the platform is asked for nothing but its Date, since a report may not be due.
    """
    if not agent._clock.trusted() and agent._schedule.last is not None and agent._takes_dates:
        try:
            yield from _ask(agent, session, _look(agent._config["baseUrl"] + "/"))
        except TransportError as e:
            if agent._failures < _REJOIN_AFTER:
                raise
            log.info("the platform does not tell the time (%s)" % e)
    if agent._clock.trusted():
        agent._watch.jumped()  # what is on flash was right before the clock was set
        # Woken from deep sleep, it was not off.
        agent._schedule.first(agent._clock.now(), machine("reset_cause") == 4)
        agent._knows_time = True
        if agent._in_use:
            agent.used()


def enrol(agent, session):
    """Fetches the secret if there is none yet, and has it on flash if that can be done."""
    if agent._credentials is None:
        credentials = yield from _ask(agent, session, _secret_info(agent))
        credentials.update(agent._identity())
        agent._unsaved = True
        agent._credentials = credentials
        agent._schedule.first(agent._clock.now())
        agent._succeeded()
    if agent._unsaved:
        unload("muster.clouds.chinamobile", "muster.clouds")  # makes room for what writes records
        # If not now: the secret lives on in memory, and every report tries the flash again.
        agent._unsaved = not call(lambda: agent._records().keep(agent._credentials))
        if not agent._unsaved:
            # Not before it is on flash: whoever reads this may pull the plug.
            log.info("enrolled as " + agent._credentials["deviceId"])


def report(agent, session):
    """Returns the answer's data."""
    yield from enrol(agent, session)
    data = yield from _ask(agent, session, _report(agent))
    agent._watch.jumped()  # the next report is reckoned by the time that it is now
    now = agent._clock.now()
    agent._schedule.after_success(now)
    agent._knows_time = True
    if agent._in_use or agent._used_day is None or agent._used_day > day(now):
        # That was the first use of a day not known until now, or known by a clock that was wrong.
        agent._in_use, agent._used_day = False, day(now)
    agent._succeeded()
    return data


def check(agent, session):
    """Looks for an update."""
    from . import update

    return update.check(agent, session)


def _secret_info(agent):
    return _platform(agent._config).secret_info(agent._device_no, agent._config["deviceNoType"])


def _report(agent):
    from .clouds.chinamobile import params

    config, hardware, credentials = agent._config, agent._hardware, agent._credentials
    known = params(
        innerIp=hardware.addresses(),
        netType=config["netType"] or hardware.net_type(),
        platform=config["platform"],
        sdkVersion=config["sdkVersion"],
        firmwareVersion=config["firmwareVersion"],
        imei=config["imei"],
        cmei=config["cmei"],
        mac=hardware.mac(),
    )
    return _platform(config).report(credentials["deviceId"], credentials["deviceSecret"], known)


def _platform(config):
    from .clouds.chinamobile import ChinaMobile

    return ChinaMobile(config["productId"], config["productKey"], None, config["baseUrl"])


def _look(url):
    """A flow that wants nothing but the Date of the answer."""
    yield Request("HEAD", url)


def _ask(agent, session, flow):
    """Drives a flow."""
    return session.start(_dated(flow) if agent._takes_dates else flow).whole()


def _dated(flow):
    """The same flow; each of its answers also tells the time."""
    answer = fault = None
    while True:
        try:
            request = flow.throw(fault) if fault else flow.send(answer)
        except StopIteration as e:
            return e.value
        answer = fault = None
        try:
            answer = yield request
            gc.collect()  # what has read it is gone; where JSON is loaded, more of it would seem to be in use
            system_clock.set_from_date(answer.headers.get("date"), answer.not_after)
        except Exception as e:
            fault = e
