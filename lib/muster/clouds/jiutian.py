"""China Mobile's language model, Jiutian: the flow behind ChinaMobile.chat()."""

from ..flow import BODY, Request
from ..jsontext import dumps, loads
from ..sse import next_event
from . import json_object
from .refusals import broken, header, refusal


def chat(platform, ai_token, device_id, messages, options):
    """Checks the options; returns the flow of an answer, which yields its pieces as they come.

    platform   the ChinaMobile
    options    the other fields of the body
    """
    if "temperature" in options and "top_p" in options:
        raise ValueError("temperature or top_p: at most one of the two may be changed")
    for name in options:
        if name in ("temperature", "top_p") and not 0 < options[name] <= 1:
            raise ValueError("%s is above 0 and at most 1, unlike %r" % (name, options[name]))
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    body = dumps(dict(options, messages=messages, stream=True))
    headers = dict(platform._headers, Authorization="Bearer " + ai_token)
    headers["X-AI-VID"] = platform.product_id
    headers["X-AI-UID"] = device_id
    request = Request("POST", platform.llm_url + "/llm/v1/chat/completions", body, headers, True)
    return _pieces(request, (platform._product_key, ai_token))


def _pieces(request, secrets):
    answer = yield request
    request = None  # which may be long
    if not (header(answer, "content-type") or "").lower().startswith("text/event-stream"):
        yield BODY
        said = json_object(answer)
        if said is None:
            raise broken("chinamobile", answer, "it is not JSON")
        raise _failure(answer, said, secrets)
    event = None
    while True:
        event = yield from next_event(event)
        if not event:
            raise broken("chinamobile", answer, "the stream ended before it was complete")
        if event[1] == "[DONE]":
            return
        try:
            said = loads(event[1])
            if said.get("error"):
                raise _failure(answer, said, secrets)
            # The last piece may hold nothing but what it costs.
            piece = said["choices"] and said["choices"][0]["delta"].get("content")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            raise broken("chinamobile", answer, "an event of the stream is not a piece of an answer")
        if piece and isinstance(piece, str):
            yield piece


def _failure(answer, said, secrets):
    """OpenAI's form of an error, or the platform's own."""
    error = said.get("error") or said
    if not isinstance(error, dict):
        error = {"message": error}
    return refusal("chinamobile", answer, error, secrets)
