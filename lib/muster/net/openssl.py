"""TLS on a laptop: what muster.net.tls takes from CPython. No board loads it."""

from ssl import PROTOCOL_TLS_CLIENT, SSLContext  # noqa: F401
from ssl import SSLWantReadError as WANT_READ  # type: ignore[attr-defined] # noqa: F401
from ssl import SSLWantWriteError as WANT_WRITE  # type: ignore[attr-defined] # noqa: F401


def send(stream, view):
    return stream.send(view)


def receive(stream, view):
    return stream.recv_into(view)


def trust_system(context):
    """Trusts what this computer trusts."""
    context.load_default_certs()
