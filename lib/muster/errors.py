"""The four things that can go wrong; what they say fits on a line of a terminal."""

_MAX_WORDS = 300
_MAX_CODE = 64


class Error(Exception):
    """Anything that muster raises on purpose."""

    def __init__(self, text=""):
        super().__init__(line(text))


class ConfigError(Error):
    """The configuration is missing or wrong; the message names the key and what to write there."""


class TransportError(Error):
    """The server was not reached, not verified, or did not speak HTTP."""


class CloudError(Error):
    """The server answered, and refused.

    cloud        "chinamobile", "coze", "baidu" or "feishu"
    status       HTTP status, or None
    code         the cloud's own code as a string, or None when it gave none
    message      the cloud's own words, as far as they fit on a line
    log_id       what the cloud's support asks for, or None
    retryable    True if the same request may succeed later
    retry_after  seconds that the cloud asks to wait before that, or None
    """

    def __init__(
        self, cloud, message, status=None, code=None, log_id=None, retryable=False, retry_after=None
    ):
        self.cloud = cloud
        self.status = status
        self.code = code = code and line(code[:_MAX_CODE])
        self.message = line(message[:_MAX_WORDS])
        self.log_id = log_id = log_id and line(log_id[:_MAX_CODE])
        self.retryable = retryable
        self.retry_after = retry_after
        text = "%s refused: %s" % (cloud, self.message)
        if code is not None:
            text += " (code %s)" % code
        elif status is not None:
            text += " (HTTP %s)" % status
        if log_id:
            text += " log id %s" % log_id
        super().__init__(text)


def line(text):
    """Returns text with a blank for each character that moves a cursor, starts a line or turns the direction.

    A cloud, a file or a network may say anything. Half of a surrogate pair cannot be printed at all.
    """
    return "".join([" " if _steers(c) else c for c in str(text)])


def _steers(c):
    if c < "\u0600":
        return c < " " or "\x7f" <= c < "\xa0"
    return (
        "\u2028" <= c <= "\u202e"
        or "\u2066" <= c <= "\u2069"
        or c in "\u061c\u200e\u200f"
        or ord(c) >> 11 == 27
    )
