"""The device's configuration: one JSON file, every key checked before use.

What the keys mean to the platform is in China Mobile's device access protocol.
"""

import os

from . import cmei, const, log
from .clock import SERVERS
from .errors import ConfigError, line
from .jsontext import dumps, loads
from .redact import Masked, is_secret, redact, redacted

_MAX_BYTES = const(16384)
_DAY_S = const(86400)
_SECRET_LENGTH = const(8)  # a shorter one stands in any text by chance
_NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"


def _string(value):
    return isinstance(value, str) and value == line(value)


def _all(test, values):
    return isinstance(values, list) and all([test(value) for value in values])


def _text(value):
    return _string(value) and value != ""


def _object(value):
    return isinstance(value, dict)


def _label(value):
    return _made_of(value, _NAME) and len(value) <= 32 and value == value.strip("-")


def _made_of(value, characters):
    return isinstance(value, str) and value.strip(characters) == ""


def is_host(value):
    """host or host:port; an IPv6 address stands in brackets."""
    if not _text(value):
        return False
    host, port, allowed = value, "443", _NAME + "."
    if ":" in value and not value.endswith("]"):
        host, _, port = value.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host, allowed = host[1:-1], "0123456789abcdefABCDEF:."
    if not _made_of(port, "0123456789") or not 0 < len(port) < 6:
        return False
    return host != "" and _made_of(host, allowed) and 0 < int(port) < 65536


def is_seconds(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _positive(value):
    return is_seconds(value) and value > 0


# name, default, what is taken (values, or a test), what is expected. None stands for no default; "" is the
# default of what may be left out, so that a checked configuration passes again.
_KEYS = (
    ("wifi", [], lambda v: isinstance(v, list), 'a list of {"ssid": …, "key": …}'),
    ("firstJoin", 30, _positive, "whole seconds, 1 or more"),
    ("pm", "", ("", "none", "performance", "powersave"), '"none", "performance" or "powersave"'),
    (
        "txpower",
        0,
        lambda v: is_seconds(v) and (v == 0 or 2 <= v <= 21),
        "whole dBm from 2 to 21, or 0 for the chip's own",
    ),
    ("hostname", "", _label, "at most 32 letters, digits and hyphens, a hyphen at neither end"),
    ("productId", None, _text, "a string, as the platform shows it"),
    ("productKey", None, _text, "a string, as the platform shows it"),
    ("deviceNoType", "SN", ("SN", "IMEI", "CMEI"), '"SN", "IMEI" or "CMEI"'),
    ("deviceNo", None, _text, 'a string, as imported to the platform, or "auto" for the board\'s MAC'),
    ("cellular", False, lambda v: isinstance(v, bool), "true or false"),
    ("imei", "", _string, "15 digits in a string"),
    ("cmei", "", _string, "15 digits in a string"),
    ("firmwareVersion", None, _text, "a string"),
    ("sdkVersion", "ai_http_1.0", lambda v: _text(v) and v.startswith("ai_"), 'a string, "ai_" first'),
    ("platform", "RTOS", _text, "a string"),
    ("netType", "", _string, 'a string such as "wifi", "5G" or "ethernet"'),
    (
        "baseUrl",
        "https://ivs.chinamobiledevice.com:11443",
        lambda v: _text(v) and v.startswith("https://") and is_host(v[8:].rstrip("/")),
        "https://host or https://host:port",
    ),
    ("roots", "/roots", lambda v: _text(v) or (v != [] and _all(_text, v)), "a path or a list of paths"),
    ("ntp", list(SERVERS), lambda v: _all(is_host, v), "a list of host or host:port, empty for none"),
    ("policy", "interval", ("interval", "daily"), '"interval" or "daily"'),
    ("period", 43200, _positive, "whole seconds, 1 or more"),
    ("jitter", 900, is_seconds, "whole seconds, 0 or more"),
    ("spread", 43200, is_seconds, "whole seconds, 0 or more"),
    ("deadline", _DAY_S, is_seconds, "whole seconds"),
    (
        "clouds",
        [],
        lambda v: _all(lambda cloud: cloud in ("chinamobile", "coze", "baidu", "feishu"), v),
        'a list of "coze", "baidu" and "feishu"',
    ),
    ("store", "file", ("file", "nvs"), '"file" or "nvs"'),
    ("updates", {}, _object, 'an object {"url": …}'),
    ("setup", {}, _object, 'an object {"key": …}'),
)


def _expect(good, name, value, expected):
    if not good:
        raise ConfigError(
            'configuration key "%s" holds %s; expected %s' % (name, _shown(name, value), expected)
        )


def _shown(name, value):
    # Passwords also stand in URLs, and where someone took a network or "setup" for a string.
    network = name == "setup" or (name.startswith("wifi") and not name.endswith(".ssid"))
    if is_secret(name) or network or "@" in str(value):
        return "something that is not shown here"
    if isinstance(value, (dict, list, tuple)) and name != "clouds":
        return "an object" if isinstance(value, dict) else "a list"
    if isinstance(value, str):
        return _quoted(value)
    try:
        return dumps(value).decode()
    except (TypeError, ValueError):
        return "what JSON cannot hold"


def _quoted(text):
    if len(text) > 64:
        # A piece of a secret could not be told from other text.
        return "a text of %d characters" % len(text)
    # MicroPython's repr() has Chinese as \u…: it is only for what would not be seen.
    return '"%s"' % text if _string(text) else repr(text)


def _distance(a, b):
    """How many characters to insert, drop or change to make one word the other."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        corner, row[0] = row[0], i + 1
        for j, y in enumerate(b):
            corner, row[j + 1] = row[j + 1], min(row[j] + 1, row[j + 1] + 1, corner + (x != y))
    return row[-1]


def _refuse_unknown(raw, names, where):
    for name in raw:
        if name not in names:
            word = str(name)
            distance, nearest = min((_distance(word[:32].lower(), n.lower()), n) for n in names)
            hint = 'did you mean "%s"?' % nearest if distance <= 2 else "the keys are " + ", ".join(names)
            raise ConfigError("%s has an unknown key: %s; %s" % (where, _quoted(word), hint))


def _network(name, raw):
    _expect(isinstance(raw, dict), name, raw, 'an object {"ssid": …, "key": …}')
    _refuse_unknown(raw, ("ssid", "key"), name)
    ssid, key = raw.get("ssid", ""), raw.get("key", "")
    _expect(_text(ssid) and len(ssid.encode()) <= 32, name + ".ssid", ssid, "a string of 1 to 32 bytes")
    good = _string(key) and (key == "" or 8 <= len(key.encode()) <= 64)
    _expect(good, name + ".key", key, 'a string of 8 to 64 bytes, or "" for an open network')
    return Masked({"ssid": ssid, "key": key})


def _check_product_key(config):
    """What stands elsewhere is shown, and a host's name is even asked for in clear."""
    key = config["productKey"]
    for name in config:
        if name != "productKey" and len(key) >= _SECRET_LENGTH and key in str(redacted(config[name])):
            text = 'configuration key "%s" holds the productKey; write that under "productKey" alone'
            raise ConfigError(text % name)


def _check_numbers(config, given):
    """A CMEI and an IMEI look alike: each must stand under its own key, and the product's must be there."""
    for name in ("imei", "cmei"):
        number = config[name]
        if number == "":
            continue
        try:
            cmei.check(number)
        except ValueError as e:
            raise ConfigError('configuration key "%s": %s' % (name, e))
        good = number.startswith("11") == (name == "cmei")
        _expect(good, name, number, "a CMEI under cmei (it starts with 11), an IMEI under imei")
    needed = "imei" if config["cellular"] else "cmei"
    if needed not in given:
        text = '"%s" is missing: with "cellular" %s the platform wants it; "" if it cannot be known'
        raise ConfigError("configuration key " + text % (needed, str(config["cellular"]).lower()))
    if config[needed] == "":
        log.warning('%s is "": the platform looks for it in the admission test' % needed)


def _check_device_no(config):
    kind, number = config["deviceNoType"], config["deviceNo"]
    if kind != "SN":
        expected = 'what "%s" holds ("auto" is only for SN)' % kind.lower()
        _expect(number == config[kind.lower()], "deviceNo", number, expected)
    if number == config["productId"]:
        log.warning("deviceNo is the productId: the platform allows it and does not recommend it")


def _check_times(config):
    period, jitter, deadline = config["period"], config["jitter"], config["deadline"]
    _expect(deadline <= _DAY_S, "deadline", deadline, "at most %d: the platform's own 24 hours" % _DAY_S)
    _expect(jitter < period, "jitter", jitter, "less than period, %d" % period)
    _expect(period + jitter < deadline, "period", period, "period + jitter less than deadline, %d" % deadline)
    daily = config["policy"] == "daily"
    _expect(not daily or deadline >= 24, "deadline", deadline, 'at least 24 with "policy": "daily"')
    _expect(config["spread"] < deadline, "spread", config["spread"], "less than deadline, %d" % deadline)


def check(raw):
    """Returns the configuration with its defaults, a dict that prints without its secrets.

    raw   what the JSON file holds, a dict

    Raises ConfigError for the first key that is wrong, without any secret's value.
    """
    if not isinstance(raw, dict):
        raise ConfigError("the configuration is no JSON object; expected {…} with the keys in it")
    try:
        return whole(raw)
    except ConfigError as e:
        problem = str(e)
    found = secrets(raw)
    raise ConfigError(redact(problem, found + [repr(secret)[1:-1] for secret in found]))


def secrets(raw):
    """The values of productKey and of every "key", but those that stand in any text by chance."""
    networks = raw.get("wifi")
    networks = networks if isinstance(networks, list) else []
    found = [raw.get("productKey")] + [
        keyed.get("key") for keyed in networks + [raw.get("setup")] if isinstance(keyed, dict)
    ]
    return [secret for secret in found if isinstance(secret, str) and len(secret) >= _SECRET_LENGTH]


def whole(raw):
    config = _checked(_KEYS, raw, "the configuration", "")
    config["wifi"] = [_network("wifi[%d]" % i, network) for i, network in enumerate(config["wifi"])]
    config["baseUrl"] = config["baseUrl"].rstrip("/")
    if config["updates"]:
        from .update import config as checked

        config["updates"] = checked(config["updates"])
    if config["setup"]:
        from .portal.settings import config as checked

        config["setup"] = checked(config["setup"])
    _check_product_key(config)
    _check_numbers(config, raw)
    _check_device_no(config)
    _check_times(config)
    return config


def _checked(keys, raw, where, path):
    """What raw says, with the defaults, once its keys have been checked; path stands before their names."""
    _refuse_unknown(raw, [key[0] for key in keys], where)
    filled = Masked()
    for name, default, taken, expected in keys:
        key = path + name
        if name not in raw and default is None:
            raise ConfigError('configuration key "%s" is missing; expected %s' % (key, expected))
        filled[name] = value = raw.get(name, default)
        _expect(value in taken if isinstance(taken, tuple) else taken(value), key, value, expected)
    return filled


def load(path="/config.json"):
    """Returns the configuration in that file, as check() does; raises ConfigError."""
    raw, problem = read(path)
    if problem:
        raise ConfigError(problem)
    return check(raw)


def read(path):
    """Returns (what the JSON says, None) or (None, what is wrong with the file)."""
    try:
        # read(n) would allocate all of n.
        size = os.stat(path)[6]
        if size > _MAX_BYTES:
            return None, "%s is larger than %d bytes; is it the right file?" % (path, _MAX_BYTES)
        with open(path, "rb") as f:
            data = f.read(size)
    except OSError as e:
        if e.errno != 2:
            return None, "cannot read %s (%s); write it anew" % (path, e)
        wanted = "productId, productKey, deviceNo, firmwareVersion and cmei"
        return None, "no %s: write one, a JSON object with at least %s" % (path, wanted)
    try:
        return loads(data), None
    except ValueError as e:
        return None, "%s: %s" % (path, e)
