"""The CA certificates that servers are verified by: loaded only while they are read."""

import errno
import os

from .. import log
from ..errors import ConfigError
from ..memory import MICROPYTHON
from ..pem import certificates

ROOTS = "/roots"  # where a board keeps them


def load(context, ca, name="ca"):
    """Loads into a TLS context each certificate in ca: bytes, path of a file or directory, list of these.

    Raises ConfigError for what holds none, and MemoryError.
    """
    if ca is None:
        if not MICROPYTHON:
            from .openssl import trust_system

            return trust_system(context)
        ca = ROOTS
    files = None
    if isinstance(ca, str):
        name = ca
        try:
            files = sorted(os.listdir(ca))
        except OSError:
            pass  # no directory
    if files is not None:
        usable = 0
        for file in files:
            try:
                load(context, ca + "/" + file, name)
                usable += 1
            except ConfigError as e:
                # One bad file, such as computers leave in folders, does not disable the others.
                log.warn_once(str(e))
        if not usable:
            raise ConfigError("there is no CA certificate to verify servers by in %s" % ca)
        return
    if isinstance(ca, (list, tuple)):
        if not ca:
            raise ConfigError("there is no CA certificate to verify servers by: the list is empty")
        for part in ca:
            load(context, part, name)
        return
    try:
        if isinstance(ca, str):
            with open(ca, "rb") as f:
                ca = f.read()
        else:
            ca = bytes(ca)
        for der in certificates(ca):
            _add(context, der)
    except (OSError, ValueError) as e:
        if getattr(e, "errno", None) == errno.ENOENT:
            raise ConfigError("there is no %s: put the CA certificate of your servers there" % name)
        raise ConfigError(
            "%s is no CA certificate to verify servers by: %s; DER or PEM is expected" % (name, e)
        )


def _add(context, der):
    if not MICROPYTHON:
        context.load_verify_locations(cadata=der)
        return
    try:
        context.load_verify_locations(der)
    except ValueError:
        # It says the same where there was no memory, of which a certificate takes about that much.
        _make_sure_of(2 * len(der) + 2048)
        raise ValueError("this board's TLS cannot read it")


def _make_sure_of(size):
    """Raises MemoryError if ESP-IDF's heap, from which TLS takes its memory, has no piece so large."""
    try:
        from esp32 import HEAP_DATA, idf_heap_info
    except ImportError:
        return
    if max(region[2] for region in idf_heap_info(HEAP_DATA)) < size:
        raise MemoryError
