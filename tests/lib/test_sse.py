from helpers import raises
from muster.errors import TransportError
from muster.flow import LINE
from muster.sse import next_event


def events(lines):
    """Yields the events of an iterator of lines."""
    event = None
    while True:
        event = fed(next_event(event), lines)
        if event is None:
            return
        yield event


def fed(flow, lines):
    """What the flow returns once it has been given enough lines."""
    try:
        assert next(flow) == LINE
        while True:
            assert flow.send(next(lines, None)) == LINE
    except StopIteration as e:
        return e.value


def read(text):
    return list(events(iter(text.split(b"\n"))))


def test_events_as_coze_sends_them():
    text = b'event:conversation.message.delta\ndata:{"a":1}\n\nevent:done\ndata:"[DONE]"\n\n'
    assert read(text) == [("conversation.message.delta", '{"a":1}', None), ("done", '"[DONE]"', None)]


def test_ids_spaces_comments_and_unknown_fields():
    text = b": keep-alive\nid: 0\nevent: Message\nretry: 5\ndata: x\n\nid:1\ndata:  y\n\n"
    assert read(text) == [("Message", "x", "0"), ("", " y", "1")]


def test_a_byte_order_mark_before_the_first_event():
    for start in (b"", b":\n", b"event: a\n"):
        lines = b"\xef\xbb\xbf" + start + b"data: 1\n\n"
        assert read(lines) == [("a" if b"a" in start else "", "1", None)]
    # Elsewhere it is a part of a field's name, or of its value.
    assert read(b"data: \xef\xbb\xbf1\n\xef\xbb\xbfdata: 2\n\n") == [("", "\ufeff1", None)]


def test_data_over_several_lines_is_joined():
    assert read("data:你\ndata:好\n\n".encode()) == [("", "你\n好", None)]


def test_an_event_that_breaks_off_is_dropped():
    assert read(b"data:1\n\ndata:2") == [("", "1", None)]


def test_blank_lines_alone_are_no_events():
    assert read(b"\n\n\n") == []


def test_an_empty_line_too_many_takes_no_name_from_its_data():
    assert read(b"event: a\n\ndata: 1\n\n\ndata: 2\n\n") == [("a", "1", None), ("", "2", None)]
    assert read(b"id: 7\n\nevent: a\n\nevent: b\n\ndata: 1\n\n") == [("b", "1", "7")]
    assert read(b"event: a\n\n") == []


def test_what_is_not_utf_8():
    assert "UTF-8" in str(raises(TransportError, read, b"data: \xff\n\n"))


def test_an_event_without_end_does_not_fill_the_memory():
    for line in (b"data: " + b"x" * 500, b"data"):
        lines = (line for _ in range(1000000))
        assert "longer" in str(raises(TransportError, list, events(lines)))


def test_many_events_are_no_long_event():
    lines = iter([b"data: " + b"x" * 500, b""] * 300)
    assert sum(1 for _ in events(lines)) == 300


def test_a_line_that_the_memory_does_not_hold():
    class Line:
        def decode(self):
            raise MemoryError

    assert "memory" in str(raises(TransportError, list, events(iter([Line()]))))
