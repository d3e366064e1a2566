from muster.sse import events


def read(text):
    return list(events(text.split(b"\n")))


def test_events_as_coze_sends_them():
    text = b'event:conversation.message.delta\ndata:{"a":1}\n\nevent:done\ndata:"[DONE]"\n\n'
    assert read(text) == [("conversation.message.delta", '{"a":1}', None), ("done", '"[DONE]"', None)]


def test_ids_spaces_comments_and_unknown_fields():
    text = b": keep-alive\nid: 0\nevent: Message\nretry: 5\ndata: x\n\nid:1\ndata:  y\n\n"
    assert read(text) == [("Message", "x", "0"), ("", " y", "1")]


def test_data_over_several_lines_is_joined():
    assert read("data:你\ndata:好\n\n".encode()) == [("", "你\n好", None)]


def test_an_event_that_breaks_off_is_dropped():
    assert read(b"data:1\n\ndata:2") == [("", "1", None)]


def test_blank_lines_alone_are_no_events():
    assert read(b"\n\n\n") == []
