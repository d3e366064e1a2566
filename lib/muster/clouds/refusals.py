"""What a cloud that refuses says, as a CloudError.

The clouds have different names for the same things. Of several, the first that says something counts:

    what failed            error_code, code
    why                    error_message, message, msg
    what support asks for  detail.logid, requestId; in the headers x-tt-logid, x-bce-request-id
    when to try again      in the headers x-ogw-ratelimit-reset, retry-after
"""

from ..errors import CloudError
from . import field_text, json_object


def header(answer, name):
    """A header of an answer, by its name in lower case; urequests leaves the names as they came."""
    for other in answer.headers or ():
        if other.lower() == name:
            return answer.headers[other]
    return None


def refusal(cloud, answer, said, secrets=(), codes=None, passing=False):
    """The CloudError for what an answer says.

    said      the JSON object
    secrets   what must not be shown of it
    codes     what the cloud's codes mean: code -> (words, whether the same request may succeed later)
    passing   whether it may without such a code; an HTTP status may say so too
    """
    status = answer.status_code
    detail = said.get("detail")
    code = _first(secrets, said.get("error_code"), said.get("code"))
    code = None if code == "0" else code
    passing = passing or status >= 500 or status in (408, 429)
    words, retryable = (codes or {}).get(code, ("no reason given", passing))
    log_id = _first(
        secrets,
        detail.get("logid") if isinstance(detail, dict) else None,
        said.get("requestId"),
        header(answer, "x-tt-logid"),
        header(answer, "x-bce-request-id"),
    )
    return CloudError(
        cloud,
        _first(secrets, said.get("error_message"), said.get("message"), said.get("msg")) or words,
        status,
        code,
        log_id and log_id.strip(),
        retryable,
        _seconds(answer, header(answer, "x-ogw-ratelimit-reset") or header(answer, "retry-after")),
    )


def broken(cloud, answer, why, secrets=()):
    """The CloudError for an answer that is not as the document has it."""
    said = {"message": "the answer is not the document's: " + why}
    return refusal(cloud, answer, said, secrets, passing=True)


def checked(cloud, answer, secrets=(), codes=None):
    """The JSON object that an answer holds; CloudError if it holds none, or says that something failed."""
    said = json_object(answer)
    good = answer.status_code < 400
    if said is None:
        # A gateway's page, or a portal's in front of it.
        said = {"message": "the answer is not a JSON object"}
        raise refusal(cloud, answer, said, secrets, passing=good)
    if not good or (said.get("error_code") or said.get("code")) not in (None, 0, "0"):
        raise refusal(cloud, answer, said, secrets, codes)
    return said


def _first(secrets, *values):
    """The first of the values that is a text or a number, without the secrets."""
    for value in values:
        text = field_text(value, secrets)
        if text:
            return text
    return None


def _seconds(answer, text):
    """The whole seconds that a header gives, as a number or until a date; else None."""
    from ..clock import now, parse_date

    text = text or ""
    # As bytes: of a str, isdigit() takes other digits than int() does.
    if text.encode().isdigit() and len(text) < 10:
        return int(text)
    date = parse_date(text)
    return date and max(0, date - (parse_date(header(answer, "date")) or now()))
