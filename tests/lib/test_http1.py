"""Framing as plain data: no socket, no session."""

from helpers import raises
from muster.errors import TransportError
from muster.net.http1 import Answer
from muster.net.request import request_head, split


def fed(answer, *lines):
    for line in lines:
        answer.line(line, len(line) + 2)
    return answer


def test_a_head_and_a_body_of_known_length():
    answer = Answer("GET")
    fed(answer, b"HTTP/1.1 200 Fine", b"Content-Length: 5")
    assert answer.in_head() and answer.wants_line() and not answer.ended()
    fed(answer, b"")
    assert not answer.in_head() and not answer.wants_line() and answer.room == 5
    answer.took(3)
    assert answer.room == 2
    answer.took(2)
    assert answer.ended() and answer.keep
    assert (answer.status, answer.reason) == (200, "Fine")


def test_chunks_and_trailers():
    answer = fed(Answer("GET"), b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", b"")
    assert answer.wants_line() and not answer.in_head()
    fed(answer, b"3;name=value")
    assert answer.room == 3 and not answer.wants_line()
    answer.took(3)
    assert answer.wants_line()
    fed(answer, b"", b"0", b"X-Sum: 1")
    assert not answer.ended()
    fed(answer, b"")
    assert answer.ended() and answer.keep


def test_what_has_no_length_ends_with_the_connection():
    answer = fed(Answer("GET"), b"HTTP/1.1 200 OK", b"")
    assert answer.room is None and not answer.keep
    answer.took(100)
    assert not answer.ended()
    answer.took(0)
    assert answer.ended()


def test_some_answers_have_no_body():
    for method, status in (("HEAD", b"200 OK"), ("GET", b"204 No Content"), ("GET", b"304 Not Modified")):
        answer = fed(Answer(method), b"HTTP/1.1 " + status, b"Content-Length: 5", b"")
        assert answer.ended() and answer.keep, method


def test_an_interim_answer_is_passed_over_with_its_headers():
    answer = fed(Answer("GET"), b"HTTP/1.1 103 Early Hints", b"Link: x", b"")
    assert answer.in_head()
    fed(answer, b"HTTP/1.1 200 OK", b"Content-Length: 0", b"")
    assert answer.ended() and answer.status == 200 and "link" not in answer.headers


def test_lines_have_a_budget():
    answer = fed(Answer("GET"), b"HTTP/1.1 200 OK")
    before = answer.left
    answer.line(b"A: b", 6)
    assert answer.left == before - 6 - 64


def test_what_lies_about_its_end_is_refused():
    chunked = (b"HTTP/1.1 200 OK", b"Transfer-Encoding: chunked", b"")
    for lines in (
        (b"ICY 200 OK",),
        (b"HTTP/1.1 99 x",),
        (b"HTTP/1.1 200 OK", b"Content-Length: 5, 6", b""),
        (b"HTTP/1.1 200 OK", b"Transfer-Encoding: gzip, chunked", b""),
        (b"HTTP/1.1 200 OK", b"A : b"),
        chunked + (b"-1",),
        chunked + (b"",),
    ):
        raises(TransportError, fed, Answer("GET"), *lines)
    answer = fed(Answer("GET"), *chunked, b"1")
    answer.took(1)
    raises(TransportError, fed, answer, b"more")
    answer = fed(Answer("GET"), b"HTTP/1.1 200 OK", b"Content-Length: 2", b"")
    answer.took(1)
    assert "1 bytes early" in str(raises(TransportError, answer.took, 0))


def test_a_request_in_bytes():
    target = split("HTTPS://Example.com:444/a?b=c#d")
    assert target == ("https", "example.com", 444, "/a?b=c", "Example.com:444")
    head = request_head("POST", target, 3, {"A": 1})
    assert head == b"POST /a?b=c HTTP/1.1\r\nHost: Example.com:444\r\nA: 1\r\nContent-Length: 3\r\n\r\n"
    assert b"Transfer-Encoding: chunked" in request_head("POST", target, None, {})
    assert b"Content-Length" not in request_head("GET", target, 0, {})
    for name, value in (("A", "b\r\nC: d"), ("A:", "b"), ("", "b"), ("A", None), ("Transfer-Encoding", "x")):
        raises(ValueError, request_head, "GET", target, 0, {name: value})
