"""Server-sent events, as the clouds stream them (the HTML standard's event stream)."""

import json

from .errors import TransportError

_MAX_EVENT = 65536
_LINE_COSTS = 16  # bytes of memory besides its text


def events(lines):
    """Yields (event, data, id) for each event in lines, as soon as it is whole.

    lines   bytes without their ends: iter_lines() of a response
    event and data are str, event "" when the server gave none; id is str or None.
    Without data there is no event, and its name stays for the data: PyPI's requests gives an empty
    line too many where a piece of the answer ends between CR and LF. Comments and unknown fields
    are passed over. An event that the stream breaks off in is dropped.
    Raises TransportError for what is not UTF-8, and for an event that would take more than 65536 bytes.
    """
    event, data, identity = "", [], None
    mark = "\ufeff"  # a byte-order mark may stand before the first event
    left = _MAX_EVENT
    try:
        for line in lines:
            if not line:
                if data:
                    yield event, "\n".join(data), identity
                    event, data = "", []
                    left = _MAX_EVENT
                continue
            field, _, value = line.decode().partition(":")
            if field[:1] == mark:
                field = field[1:]
            mark = None
            if value[:1] == " ":
                value = value[1:]
            if field == "data":
                left -= len(value) + _LINE_COSTS
                if left < 0:
                    raise TransportError("an event of the stream is longer than %d bytes" % _MAX_EVENT)
                data.append(value)
            elif field == "event":
                event = value
            elif field == "id":
                identity = value
    except UnicodeError:
        raise TransportError("the stream is not UTF-8")
    except MemoryError:
        raise TransportError("there is no memory for an event of the stream")


def parse(data):
    """The JSON in an event's data; ValueError if it is none."""
    try:
        return json.loads(whole(data))
    except (MemoryError, RuntimeError):
        raise ValueError("the event's JSON is too large, or nested too deeply")


def whole(text):
    """JSON with the character itself in the place of each escaped pair of surrogates.

    MicroPython's json takes an escaped emoji for two characters, neither of which is one.
    """
    if "\\ud" not in text and "\\uD" not in text:
        return text
    parts = []
    start = 0
    while True:
        at = text.find("\\u", start)
        if at < 0:
            parts.append(text[start:])
            return "".join(parts)
        end = at + 2
        before = text[start:at]
        # A backslash before it may be escaped itself.
        escaped = (len(before) - len(before.rstrip("\\"))) & 1
        if text[at + 6 : at + 8] == "\\u" and not escaped:
            try:
                high, low = int(text[at + 2 : at + 6], 16), int(text[at + 8 : at + 12], 16)
            except ValueError:
                high = low = 0
            if 0xD800 <= high < 0xDC00 <= low < 0xE000:
                parts.append(text[start:at] + chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)))
                start = at + 12
                continue
        parts.append(text[start:end])
        start = end
