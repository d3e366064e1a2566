"""Server-sent events, as the clouds stream them (the HTML standard's event stream)."""

import json


def events(lines):
    """Yields (event, data, id) for each event in lines, as soon as it is whole.

    lines   bytes without their ends: iter_lines() of a response
    event and data are str, event "" when the server gave none; id is str or None.
    Comments and unknown fields are passed over. An event that the stream breaks off in is dropped.
    """
    event, data, identity = "", [], None
    for line in lines:
        if not line:
            if data or event:
                yield event, "\n".join(data), identity
            event, data = "", []
            continue
        field, _, value = line.decode().partition(":")
        if value[:1] == " ":
            value = value[1:]
        if field == "data":
            data.append(value)
        elif field == "event":
            event = value
        elif field == "id":
            identity = value


def parse(data):
    """The JSON in an event's data; ValueError if it is none."""
    # MicroPython's json takes an escaped emoji for two characters, neither of which is one.
    return json.loads(_whole(data) if "\\ud" in data or "\\uD" in data else data)


def _whole(text):
    """Puts the character itself in the place of each escaped pair of surrogates."""
    parts = []
    start = 0
    while True:
        at = text.find("\\u", start)
        if at < 0:
            parts.append(text[start:])
            return "".join(parts)
        end = at + 2
        if text[at + 6 : at + 8] == "\\u" and text[at - 1 : at] != "\\":
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
