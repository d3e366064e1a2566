"""Signed updates of what lies on flash: which build runs, when to look for the next, what becomes of it.

A build that is taken is on trial until it has had a heartbeat accepted, and else goes back by itself:
muster.trial, of which a copy lies in /update meanwhile, sees to that at each start. What a release is,
stands in muster.manifest. All of this is in memory only while it works.
"""

import binascii
import os
import sys

from . import __version__, const, log, trial
from .errors import Error, TransportError, line
from .flow import PIECE, Request
from .memory import call, unload
from .net.wait import Deadline

_BUSY_S = const(60)
_AGAIN_S = const(1800)  # and as much again at random: after a look that reached no server
_OVERDUE_S = const(7200)
_DOUBT_S = const(21600)
_MANIFEST = const(16384)
_MANIFEST_S = const(120)
_WATCHDOG_S = const(120)
_STATE = "/state/update"


def config(raw):
    """Returns the configuration's "updates", checked as muster.config.check does it."""
    from .config import _checked, is_host, is_seconds

    def is_url(value):
        good = isinstance(value, str) and value.startswith("https://") and value.endswith("/manifest.jwt")
        return good and all([32 < b < 127 for b in value.encode()]) and is_host(value[8:].split("/")[0])

    keys = (
        ("url", None, is_url, "https://host/…/manifest.jwt"),
        ("period", 86400, lambda v: is_seconds(v) and v >= 3600, "whole seconds, 3600 or more"),
        ("tell", True, lambda v: isinstance(v, bool), "true or false"),
    )
    return _checked(keys, raw, "updates", "updates.")


def start(agent):
    """At the agent's start: which build runs, and how a trial has ended."""
    config, runs, record = agent._config, running(), _record()
    config["firmwareVersion"] = runs.get("version", config["firmwareVersion"])
    tried = _trial()
    if tried and tried.on_trial():
        agent._hardware.watchdog(_WATCHDOG_S)  # the trial has started it, and the agent feeds it
    elif tried:
        if tried.there("/update/back"):
            build = int(tried.read("/update/plan").split("\n", 1)[0])
            _undone(record, build, tried.read("/update/back"), agent._clock.now())
            _keep(record)
        tried.tidy()
    agent._untold = record.get("told", runs["build"]) != runs["build"]


def after_success(agent):
    """After an accepted heartbeat: the build stays. Returns the Unix time of the next look for a release."""
    record, now, period = _record(), agent._clock.now(), agent._config["updates"]["period"]
    before = dict(record)
    tried = _on_trial()
    if tried:
        tried.heard()
        if any([path.startswith(("/keys/", "/roots/")) for _, _, _, path in tried.plan()]):
            return now  # it must be able to take the next release as well: check() confirms it
        _confirm(tried)
    if "doubt" in record:
        build, since = record.pop("doubt")
        if now - since < _DOUBT_S:
            # The network and the platform are there: it was the new build's fault.
            record["refused"] = build
    record["told"] = running()["build"]
    look = record.get("look", 0)
    if not 0 < look <= now + 2 * period:
        look = record["look"] = now + _uniform(_pause(period))  # a new device, or a clock that lied
    if record != before:
        _keep(record)
    if look < now:
        look = now + _uniform(min(_OVERDUE_S, period))  # a street whose power is back is no herd
    return look


def check(agent, session):
    """One look for a release, and what follows from it: a generator for net.wait."""
    record, period = _record(), agent._config["updates"]["period"]
    before = dict(record)
    staged = None
    try:
        staged = yield from _look(agent, session, record)
        wait = _BUSY_S if staged is None else _pause(period)
    except Exception as e:
        log.warning("no update: " + line(str(e) or type(e).__name__))
        wait = _AGAIN_S if isinstance(e, TransportError) else period
        wait += _uniform(wait)
    agent._look = agent._clock.now() + wait
    if staged is not None:
        record["look"] = agent._look
    if record != before:
        _keep(record)
    if staged:
        from .staging import commit

        yield from commit()
        log.info("build %d starts on trial" % record["seen"])
        agent._hardware.reset()


def status(agent):
    """What agent.status() tells of it."""
    record, now = _record(), agent._clock.now()
    return {
        "build": running()["build"],
        "on_trial": _on_trial() is not None,
        "refused_build": record.get("refused"),
        "manifest_age": now - record["iat"] if "iat" in record else None,
        "next_look": agent._look,
    }


def running():
    """{"build", "version"} of what runs; {"build": 0} where it came without a release."""
    try:
        runs = call(_parsed, trial.read("/build.json"))
        if type(runs["build"]) is int and isinstance(runs["version"], str):
            return runs
    except (ValueError, KeyError, TypeError):
        pass
    return {"build": 0}


def _parsed(text):
    from .jsontext import loads

    return loads(text)


def user_agent(record, tell):
    """What the maker's access log is told: which build runs, and how. ASCII, at most 120 bytes.

    muster/0.1.0 build/7 refused/8 (watchdog; crashes 2; OSError main.py, line 12, in ask)
    """
    text = "muster/" + __version__
    if tell:
        from . import last

        text += " build/%d" % running()["build"]
        if "refused" in record:
            text += " refused/%d" % record["refused"]
        happened = last.read()
        if happened:
            text += " (%(last_reset)s; crashes %(crashes)d; %(last_exception)s)" % happened
    return "".join([c if " " <= c <= "~" else "?" for c in text[:120]]).strip()


def _look(agent, session, record):
    """A generator: True if a build is staged, False if there is none for this device, None if too early."""
    tried = _on_trial()
    if not tried and _busy(agent):
        return None
    url = agent._config["updates"]["url"]
    headers = {"User-Agent": call(user_agent, record, agent._config["updates"]["tell"])}
    known = None if tried else record.get("etag")
    found = []
    etag = yield from session.start(_manifest(url, headers, known, found)).whole()
    if not found:
        return False
    if getattr(session, "lean", False):
        unload("muster.net.stream", "muster.net.exchange", "muster.net.http1")
    claims = call(_parsed, call(_signed, found))
    call(_follow, claims, agent._config["productId"])
    build, runs = claims["build"], running()["build"]
    newest = max(record.get("seen", 0), runs)
    if build < newest:
        raise Error("build %d is offered, and build %d was before" % (build, newest))
    record["seen"], record["iat"] = build, claims["iat"]
    if tried:
        _confirm(tried)
        return False
    if build in (runs, record.get("refused")) or not _turn(agent, claims):
        record["etag"] = etag
        return False
    log.info("build %d, version %s, is fetched" % (build, claims["version"]))
    from . import staging

    yield from staging.planned(claims)
    claims = None
    yield from session.start(staging.stage(url[: url.rfind("/") + 1], headers)).whole()
    return None if _busy(agent) else True


def _manifest(url, headers, known, found):
    """A flow: adds the manifest's bytes to found, if it is not the known one still. Returns its ETag."""
    if known:
        headers = dict(headers)
        headers["If-None-Match"] = known
    answer = yield Request("GET", url, None, headers, stream=True)
    status, etag = answer.status_code, answer.headers.get("etag", "")[:64]
    length = answer.headers.get("content-length", "")
    answer = None  # a generator that has ended holds what it held
    if status == 304:
        return etag
    if status != 200:
        raise TransportError("%s answered %d" % (url, status))
    # Made once if that can be done: it wants memory in one piece.
    found.append(bytearray(min(int(length), _MANIFEST) if length.isdigit() else 0))
    size = 0
    deadline = Deadline(_MANIFEST_S)
    while True:
        piece = yield PIECE
        if not piece:
            if size < len(found[0]):
                found[0] = found[0][:size]
            return etag
        found[0][size : size + len(piece)] = piece
        size += len(piece)
        if size > _MANIFEST:
            raise Error("the manifest is longer than %d bytes" % _MANIFEST)
        deadline.check("the manifest", "the download")


def _signed(found):
    from .manifest import signed

    return signed(found.pop(), trial.root)


def _follow(claims, product):
    from .manifest import follow

    follow(claims, product)


def _turn(agent, claims):
    """Whether this device is among those that are to have the build by now."""
    mark = "%s %d" % (agent._device_no, claims["build"])
    return binascii.crc32(mark.encode()) % 100 < claims["rollout"]


def _undone(record, build, why, now):
    log.warning("build %d %s: the one before is back" % (build, why or "was not heard"))
    record["told"] = -1  # the platform is to hear at once which version runs again
    record["etag"] = ""
    if why == "crashed":
        record["refused"] = build
    else:
        record["doubt"] = [build, now]


def _trial():
    """The program of a trial, or of one that has ended and is not cleared up; None where there is none."""
    if not trial.there("/update/plan") and not trial.on_trial():
        return None
    sys.path.insert(0, trial.root + "/update")
    try:
        # Of the build that has staged this one: the plan is its own.
        import trial as staged  # type: ignore[import-not-found]

        staged.root = trial.root
        return staged
    except ImportError:
        return trial
    finally:
        sys.path.pop(0)
        sys.modules.pop("trial", None)


def _on_trial():
    """The program of the trial that goes on, or None."""
    tried = _trial()
    return tried if tried and tried.on_trial() else None


def _busy(agent):
    ready = getattr(agent, "ready", None)  # the program's
    return ready is not None and not ready()


def _confirm(tried):
    tried.confirm()
    log.info("build %d stays" % running()["build"])


def _record():
    record = call(_store, "load")
    return record.plain() if record else {}


def _keep(record):
    call(_store, "save", record)


def _store(what, *record):
    from .store import FileStore

    return getattr(FileStore(trial.root + _STATE), what)(*record)


def _pause(period):
    """Seconds from one look to the next: no two devices stay together."""
    return period * 3 // 4 + _uniform(period // 2)


def _uniform(most):
    """A random int from 0 to most."""
    return int.from_bytes(os.urandom(4), "big") % (most + 1)
