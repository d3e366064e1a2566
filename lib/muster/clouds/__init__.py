"""One module a cloud. Its methods are flows (see muster.flow).

The session that a cloud is handed drives them:

    http.Session       a call returns its result, and a stream is for `for`
    http.AsyncSession  a call is to be awaited, and a stream is for `async for`
    None               a method gives its flow, for `yield from` in another flow
    any other          as http.Session, if it has request(method, url, data=…, headers=…) whose answer has
                       status_code, headers, content, json() and close(): PyPI's requests.Session(),
                       or MicroPython's stock requests or urequests

Streams need muster.http or PyPI's requests.
"""

from ..redact import redact


def json_object(answer):
    """The JSON object that a whole answer holds, None if it is none."""
    try:
        found = answer.json()
    except (ValueError, RuntimeError, MemoryError):
        # RuntimeError is what a parser that ran out of stack says.
        found = None
    return found if isinstance(found, dict) else None


def field_text(value, secrets=()):
    """What stands in a field of an answer, as text without the secrets; None if neither text nor a number."""
    # A list that is nested deeply, and a number of many digits, are more than a board can print.
    if isinstance(value, int) and -1 << 63 <= value < 1 << 63:
        value = str(value)
    return redact(value, secrets) if isinstance(value, str) else None


def mac_digits(mac):
    """The 12 hex digits, in upper case, of a MAC address: bytes, or text in any usual form.

    Raises ValueError for what is none.
    """
    text = bytes(mac).hex() if isinstance(mac, (bytes, bytearray)) else str(mac)
    for c in ":-. ":
        text = text.replace(c, "")
    text = text.upper()
    if len(text) != 12 or text.strip("0123456789ABCDEF"):  # which leaves what is no such digit
        raise ValueError("a MAC address has 12 hex digits, unlike %r" % (mac,))
    return text
