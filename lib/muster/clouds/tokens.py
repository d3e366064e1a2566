"""Tokens that a cloud sells."""

from ..errors import CloudError


class Tokens:
    """One token at a time, kept until it is to be renewed.

    given     a token to use as it is, or None
    buy       a function that returns a flow: a token, and the Unix time from which it is to be renewed
    now       a function that returns Unix seconds
    expired   the codes and the HTTP statuses of a CloudError that a new token helps against
    """

    def __init__(self, given, buy, now, expired):
        self.token = given
        self.ends = None if given else 0
        self._buy = buy
        self._now = now
        self._expired = expired

    def get(self):
        """A flow: returns a token."""
        # Other calls may renew it meanwhile, so what is returned is never read twice.
        token = self.token
        if self.ends is not None and self._now() >= self.ends:
            token, ends = yield from self._buy()
            self.token = token
            self.ends = ends
        return token

    def use(self, attempt):
        """The flow attempt(token), once more with another token if that one had expired."""
        token = yield from self.get()
        try:
            return (yield from attempt(token))
        except CloudError as e:
            if self.ends is None or (e.status not in self._expired and e.code not in self._expired):
                raise
        # Another call may have bought one already.
        if self.token == token:
            self.ends = 0
        token = yield from self.get()
        return (yield from attempt(token))


def is_token(value):
    """Whether a header can carry it."""
    return isinstance(value, str) and value != "" and all("!" <= c <= "~" for c in value)
