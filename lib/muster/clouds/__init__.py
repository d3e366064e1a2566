"""One module a cloud. Each builds requests and reads answers; the connection is a session it is handed.

A session is anything with request(method, url, data=…, headers=…) whose answer has
status_code, headers, content, json() and close(): muster.http.Session, PyPI's
requests.Session(), or MicroPython's stock urequests/requests module.
"""

import sys

_told = False


def accept(session):
    """Returns the session; says once what MicroPython's stock module does not do."""
    global _told
    if sys.implementation.name == "micropython" and not hasattr(session, "exchange") and not _told:
        from .. import log

        _told = True
        log.warning("this session verifies no certificate and may block for ever; muster.http does better")
    return session


def header(response, name):
    """A header of an answer, by its name in lower case; urequests leaves the names as they came."""
    for other in response.headers or ():
        if other.lower() == name:
            return response.headers[other]
    return None


def json_object(response):
    """The JSON object that an answer holds, None if it is none; the answer is closed."""
    try:
        found = response.json()
    except (ValueError, RuntimeError, MemoryError):
        # RuntimeError is what a parser that ran out of stack says.
        found = None
    finally:
        response.close()
    return found if isinstance(found, dict) else None


def may_pass(status):
    """Whether an HTTP status says that the same request may succeed later."""
    return status is not None and (status >= 500 or status in (408, 429))


def said(value, secrets=()):
    """What stands in a field of an answer, as text without the secrets; None if neither text nor a number."""
    # A list that is nested deeply, and a number of many digits, are more than a board can print.
    if isinstance(value, int) and -1 << 63 <= value < 1 << 63:
        value = str(value)
    return hide(value, secrets) if isinstance(value, str) else None


def seconds(response, name):
    """The whole seconds that a header of an answer gives, as a number or until a date; else None."""
    from ..clock import now, parse_date

    text = header(response, name) or ""
    # As bytes: of a str, isdigit() takes other digits than int() does.
    if text.encode().isdigit() and len(text) < 10:
        return int(text)
    date = parse_date(text)
    return date and max(0, date - (parse_date(header(response, "date")) or now()))


def is_token(value):
    """Whether a header can carry it."""
    return isinstance(value, str) and value != "" and all("!" <= c <= "~" for c in value)


def hide(text, secrets):
    """text with *** for every secret in it; the longest first, for another may be a part of it."""
    for word in sorted([secret for secret in secrets if secret], key=len, reverse=True):
        text = text.replace(word, "***")
    return text
