"""The four things that can go wrong; what they say fits on a line of a terminal."""

from . import const

_MAX_WORDS = const(300)
_MAX_CODE = const(64)


class Error(Exception):
    """Anything that muster raises on purpose."""

    def __init__(self, text=""):
        super().__init__(line(text))


class ConfigError(Error):
    """The configuration is missing or wrong; the message names the key and what to write there."""


class TransportError(Error):
    """The server was not reached, not verified, or did not speak HTTP."""


class CertificateDateError(TransportError):
    """The server's certificate is good but for its dates: not valid yet, or expired, by this clock."""

    starts = 0  # Unix time of its first day, if that is what this clock has not seen


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
    text = str(text)
    try:
        # MicroPython keeps each character that it has taken by itself, for ever.
        if all(32 <= b < 127 for b in text.encode()):
            return text
    except UnicodeError:
        pass
    # By numbers: a letter that stands in the source takes memory for ever.
    return "".join([" " if _steers(ord(c)) else c for c in text])


def _steers(code):
    if code < 0x600:
        return code < 32 or 127 <= code < 160
    return (
        0x2028 <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
        or code in (0x61C, 0x200E, 0x200F)
        or code >> 11 == 27
    )
