from helpers import raises
from muster.sse import events, parse


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


def test_an_escaped_emoji_is_one_character_on_both_machines():
    assert parse('{"a":"x\\ud83d\\ude00y\\uD83D\\uDE00\\u4f60"}') == {"a": "x\U0001f600y\U0001f600你"}
    assert parse('{"a":"\\\\ud83d\\\\ude00"}') == {"a": "\\ud83d\\ude00"}
    for broken in ('{"a":"\\ud83d\\u', "{", "\\ud83d\\udXYZ"):
        raises(ValueError, parse, broken)
