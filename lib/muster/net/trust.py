"""Which of many roots a host needs: this shows in what the host sends.

The subject of its root is the issuer of one of its certificates.
"""

from .. import const, log
from ..asn1 import subject
from ..errors import ConfigError
from .roots import _all, read

_MOST = const(8)  # hosts that are remembered
_HEAD = const(512)  # of each certificate this much is kept, as in net.tls
_LONG = const(400)  # of a longer subject the end may not be among the first bytes that are shown


def keep(shown, used, trusted, origin):
    """Keeps in trusted[origin] those of the roots in use that have verified it; shown as wanted() has it."""
    if len(trusted) >= _MOST:
        trusted.clear()
    # The first that TLS has shown is the root.
    trusted[origin] = (used[1:] and wanted(shown[:_HEAD], used, used)) or used


def wanted(shown, used, ca):
    """The files of ca with a root that may have signed one of the certificates shown.

    shown    the first bytes of each, one after another
    used     the files that TLS had

    Returns [] if it would be these.
    """

    def plain(name):
        # TLS takes PrintableString and UTF8String for the same, and A and a. If more is the same here,
        # a root is loaded that does not help.
        return bytes(name).lower().replace(b"\x13", b"\x0c")

    shown = plain(shown)
    found = []
    for file in _all(ca):
        if isinstance(file, str):
            try:
                names = read(file, subject)
            except ConfigError as e:
                log.warn_once(str(e))
                continue
            if [name for name in names if len(name) > _LONG or plain(name) in shown]:
                found.append(file)
    return [] if found == used else found
