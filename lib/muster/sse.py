"""Server-sent events, as the clouds stream them (the HTML standard's event stream)."""

from .errors import TransportError
from .flow import LINE

_MAX_EVENT = 65536
_LINE_COSTS = 16  # bytes of memory besides its text


def next_event(before=None):
    """A flow: returns the next event of a streamed answer, (event, data, id); None at its end.

    before   the event before it, None for the first
    event and data are str, event "" when the server gave none; id is str or None.
    Without data there is no event, and its name stays for the data: PyPI's requests gives an empty
    line too many where a piece of the answer ends between CR and LF. Comments and unknown fields
    are passed over. An event that the stream breaks off in is dropped.
    Raises TransportError for what is not UTF-8, and for an event that would take more than 65536 bytes.
    """
    event, data, identity = "", [], before and before[2]
    mark = None if before else "\ufeff"  # a byte-order mark may stand before the first event
    left = _MAX_EVENT
    try:
        while True:
            line = yield LINE
            if line is None:
                return None
            if not line:
                if data:
                    return event, "\n".join(data), identity
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
