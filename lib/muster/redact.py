"""A dict that may be printed: secrets show as ***."""

# Compared in lower case without underscores and hyphens, so that every cloud's spelling is meant. One text,
# since a tuple of them takes four times the memory on a board; so do others where a word is looked for.
_SECRETS = (
    " productkey devicesecret key token aitoken accesstoken tenantaccesstoken authorization jwt privatekey "
    "secretaccesskey sk appsecret "
)


def is_secret(name):
    """True if what stands under this name, or path such as "setup.key", must not be shown to a person."""
    return " %s " % str(name).split(".")[-1].lower().replace("_", "").replace("-", "") in _SECRETS


def copied(value, hide):
    """Returns a copy of value, of ordinary dicts and lists, with *** for its secrets or with them."""
    if isinstance(value, dict):
        return {k: "***" if hide and is_secret(k) else copied(value[k], hide) for k in value}
    if isinstance(value, (list, tuple)):
        return [copied(v, hide) for v in value]
    return value


def redacted(value):
    """Returns a copy of value, dicts and lists at any depth, with *** for every secret in it."""
    return copied(value, True)


def redact(text, secrets):
    """text with *** for every secret in it; the longest first, for another may be a part of it."""
    for word in sorted([secret for secret in secrets if secret], key=len, reverse=True):
        text = text.replace(word, "***")
    return text


class Masked(dict):
    """A dict whose repr and str hide the secrets in it, at any depth; so do its copy() and what | gives.

    MicroPython knows it less well than a dict: json.dumps prints the *** there, |= makes an
    ordinary dict of it, and update() and | take it only on their left. Give them plain().
    """

    def __repr__(self):
        return repr(redacted(self))

    # MicroPython's str() does not fall back to __repr__ in a subclass of dict.
    def __str__(self):
        return repr(redacted(self))

    def copy(self):
        return Masked(self.items())  # MicroPython's dict() copies no subclass

    def __or__(self, other):
        return Masked([(name, d[name]) for d in (self, other) for name in d])

    def __ror__(self, other):
        return Masked([(name, d[name]) for d in (other, self) for name in d])

    def plain(self):
        """Returns an ordinary dict with the secrets in it, at any depth."""
        return copied(self, False)
