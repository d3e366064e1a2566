"""The CA certificates that servers are verified by: loaded only while they are read.

Of many files a board's TLS holds those alone that one host needs: see net.trust.
"""

import errno
import os

from .. import log
from ..errors import ConfigError
from ..memory import MICROPYTHON
from ..pem import certificates

ROOTS = "/roots"  # where a board keeps them


def load(context, ca, wanted=None):
    """Loads CA certificates into a TLS context: bytes all, of files the first that can be read.

    ca      bytes, path of a file or directory, list of these
    wanted  the files to load instead, from net.trust.wanted()

    On a laptop all are loaded. Returns the files that were, None where there is no other.
    Raises ConfigError if none can be read, and MemoryError.
    """
    if ca is None and not MICROPYTHON:
        from .openssl import trust_system

        return trust_system(context)
    files = []
    loaded = []
    found = False

    def add(der):
        if not MICROPYTHON:
            return context.load_verify_locations(cadata=der)
        try:
            context.load_verify_locations(der)
        except ValueError:
            # It says the same where there was no memory, of which a certificate takes about that much.
            _make_sure_of(2 * len(der) + 2048)
            raise ValueError("this board's TLS cannot read it")

    for one in _all(ca):
        if isinstance(one, str):
            files.append(one)
        else:
            found = read(one, add)
    for file in (wanted or []) + files:
        if file in loaded or (MICROPYTHON and loaded and not (wanted and file in wanted)):
            continue
        try:
            read(file, add)
            loaded.append(file)
        except ConfigError as e:
            if len(files) == 1:
                raise
            # One bad file, such as computers leave in folders, does not disable the others.
            log.warn_once(str(e))
    if not (loaded or found):
        raise ConfigError("there is no CA certificate to verify servers by in %s" % (ca or ROOTS,))
    return loaded if MICROPYTHON and len(files) > 1 else None


def _all(ca):
    """A list: bytes, and the path of each file."""
    if ca is None:
        ca = ROOTS
    if isinstance(ca, (list, tuple)):
        return [one for part in ca for one in _all(part)]
    if isinstance(ca, str):
        try:
            # "~": a build on trial keeps there what it has replaced.
            return [ca + "/" + file for file in sorted(os.listdir(ca)) if file[-1] != "~"]
        except OSError:
            pass  # no directory
    return [ca]


def read(ca, make):
    """What make() makes of the DER of each certificate in bytes or a file, a list; ConfigError if none."""
    name = "ca"
    try:
        if isinstance(ca, str):
            name = ca
            with open(name, "rb") as f:
                ca = f.read()
        return [make(der) for der in certificates(bytes(ca))]
    except (OSError, ValueError) as e:
        if getattr(e, "errno", None) == errno.ENOENT:
            raise ConfigError("there is no %s: put the CA certificate of your servers there" % name)
        raise ConfigError(
            "%s is no CA certificate to verify servers by: %s; DER or PEM is expected" % (name, e)
        )


def _make_sure_of(size):
    """Raises MemoryError if ESP-IDF's heap, from which TLS takes its memory, has no piece so large."""
    try:
        from esp32 import HEAP_DATA, idf_heap_info
    except ImportError:
        return
    if max(region[2] for region in idf_heap_info(HEAP_DATA)) < size:
        raise MemoryError
