"""urequests' functions: one exchange over a connection of its own. They are muster.http's."""

from .http import Session


class _Once(Session):
    """A session for a single exchange."""

    def keep(self, exchange):
        exchange.connection.close()


def request(method, url, *args, ca=None, **kw):
    """The arguments are Session's and Session.request's."""
    return _Once(ca).request(method, url, *args, **kw)


def _verb(method):
    def verb(url, **kw):
        return request(method, url, **kw)

    return verb


get = _verb("GET")
post = _verb("POST")
put = _verb("PUT")
delete = _verb("DELETE")
patch = _verb("PATCH")
head = _verb("HEAD")
