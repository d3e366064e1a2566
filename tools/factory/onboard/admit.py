# What the admission check asks of a board in hand: its configuration, what is on its flash, and, if the
# request is true, one report made now. No secret leaves the board: HIDDEN stands in its place, where it is
# the right one.
import hashlib
import json

HIDDEN = "*" * 8


def masked(raw):
    found = {name: raw[name] for name in raw}
    for name in ("productKey", "key"):
        if found.get(name):
            found[name] = HIDDEN
    for name in ("wifi", "setup"):
        if isinstance(found.get(name), list):
            found[name] = [masked(network) for network in found[name] if isinstance(network, dict)]
        elif isinstance(found.get(name), dict):
            found[name] = masked(found[name])
    return found


def stored(agent):
    how = agent.status()
    found = {"last": how["last_report"], "next": how["next_due"], "reports": how["reports"]}
    found["deviceId"], found["deviceNo"] = how["device_id"], how["device_no"]
    secret = agent._credentials["deviceSecret"] if agent._credentials else ""
    found["secret"] = hashlib.sha256(secret.encode()).digest().hex() if secret else None
    return found


def watch(seen):
    """Notes the device's requests to the platform."""
    from muster import clock, flow

    init = flow.Request.__init__

    def made(self, method, url, body=None, headers=None, *more, **named):
        if method == "POST":
            seen.append([clock.now(), method, url, dict(headers or {}), json.loads(body)])
        init(self, method, url, body, headers, *more, **named)

    flow.Request.__init__ = made


def looked_at():
    from muster import Agent, ConfigError, config

    told = {}
    raw, told["problem"] = config.read("/config.json")
    if not isinstance(raw, dict):
        return told
    told["config"] = masked(raw)
    seen = []
    watch(seen)
    try:
        agent = Agent()
    except ConfigError as e:
        told["problem"] = str(e)
        return told
    told["before"] = stored(agent)
    if request:
        told["code"] = told["reason"] = None
        try:
            agent.report()
            told["code"] = "200"
        except Exception as e:
            told["code"], told["reason"] = getattr(e, "code", None), str(e) or type(e).__name__
        told["after"] = stored(agent)
        right = {"productKey": raw["productKey"]}
        if agent._credentials:
            right["deviceSecret"] = agent._credentials["deviceSecret"]
        for call in seen:
            for name in ("productKey", "deviceSecret"):
                if name in call[4]:
                    call[4][name] = HIDDEN if call[4][name] == right.get(name) else "another"
        told["calls"] = seen
    return told


try:
    print(json.dumps(looked_at()))
except ImportError as e:
    print(json.dumps({"problem": "it has no muster that runs, " + str(e) + ": flash it first"}))
