"""A dict that may be printed: secrets show as ***."""

# Compared in lower case without underscores and hyphens, so that every cloud's spelling is meant.
_SECRETS = (
    "productkey",
    "devicesecret",
    "key",
    "token",
    "aitoken",
    "accesstoken",
    "tenantaccesstoken",
    "authorization",
    "jwt",
    "privatekey",
    "secretaccesskey",
    "sk",
    "appsecret",
)


def is_secret(name):
    """True if what stands under this name must not be shown to a person."""
    return str(name).lower().replace("_", "").replace("-", "") in _SECRETS


def _copy(value, hide):
    if isinstance(value, dict):
        return {k: "***" if hide and is_secret(k) else _copy(value[k], hide) for k in value}
    if isinstance(value, (list, tuple)):
        return [_copy(v, hide) for v in value]
    return value


def masked(value):
    """Returns a copy of value, dicts and lists at any depth, with *** for every secret in it."""
    return _copy(value, True)


class Masked(dict):
    """A dict whose repr and str hide the secrets in it, at any depth.

    Not for json.dumps, which prints the *** on MicroPython: give it plain().
    """

    def __repr__(self):
        return repr(masked(self))

    # MicroPython's str() does not fall back to __repr__ in a subclass of dict.
    def __str__(self):
        return repr(masked(self))

    def copy(self):
        return Masked(self.items())  # MicroPython's dict() copies no subclass

    def plain(self):
        """Returns an ordinary dict with the secrets in it, at any depth."""
        return _copy(self, False)
