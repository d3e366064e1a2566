"""The configuration's "setup"."""

from .. import log
from ..config import _checked, _expect, _positive, _string


def config(raw):
    """Returns the configuration's "setup", checked as muster.config.check does it.

    Warns where the key is "": the access point is then open.
    """
    keys = (
        ("key", None, _is_key, '8 to 63 printable ASCII characters, or "" for an open access point'),
        ("name", "muster", _is_name, "a string of 1 to 24 bytes"),
        ("address", "192.168.4.1", _is_address, "an IPv4 address, its last number from 1 to 254"),
        ("after", 120, lambda v: _positive(v) and v <= 86400, "whole seconds from 1 to 86400"),
        ("idle", 300, _positive, "whole seconds, 1 or more"),
        ("limit", 1800, lambda v: _positive(v) and v <= 3600, "whole seconds from 1 to 3600"),
    )
    checked = _checked(keys, raw, "setup", "setup.")
    idle, limit = checked["idle"], checked["limit"]
    _expect(idle <= limit, "setup.idle", idle, "at most limit, %d" % limit)
    if checked["key"] == "":
        log.warning('setup.key is "": anybody near can open the set-up page, and hear what is typed there')
    return checked


def _is_key(value):
    if not isinstance(value, str):
        return False
    return value == "" or (8 <= len(value) <= 63 and all([31 < b < 127 for b in value.encode()]))


def _is_name(value):
    return _string(value) and 0 < len(value.encode()) <= 24


def _is_address(value):
    if not isinstance(value, str):
        return False
    try:
        a, b, c, d = numbers = [int(part) for part in value.split(".")]
    except ValueError:
        return False
    # As it is written in a Host header: no other form of the same numbers.
    good = "%d.%d.%d.%d" % (a, b, c, d) == value and all([0 <= n <= 255 for n in numbers])
    return good and 0 < a < 224 and a != 127 and 0 < d < 255
