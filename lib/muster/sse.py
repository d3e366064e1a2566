"""Server-sent events, as the clouds stream them (the HTML standard's event stream)."""


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
