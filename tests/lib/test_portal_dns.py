"""The set-up page's DNS: every name leads to the board."""

import gc
import os
import random
import socket
import struct

from helpers import raises
from muster.memory import MICROPYTHON
from muster.portal import dns

ADDRESS = "192.168.4.1"
A, AAAA, HTTPS, ANY = 1, 28, 65, 255
# What a phone's resolver adds: an OPT record, 1,232 bytes of UDP, a cookie.
EDNS = b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08" + bytes(8)


def name(*labels):
    return b"".join([bytes([len(label)]) + label for label in labels]) + b"\0"


APPLE = name(b"captive", b"apple", b"com")


def query(labels=APPLE, kind=A, flags=0x0100, counts=(1, 0, 0, 0), more=b"", family=1):
    return struct.pack("!6H", 0x1234, flags, *counts) + labels + struct.pack("!HH", kind, family) + more


def test_a_name_leads_to_the_board():
    asked = query()
    reply = dns.answer(asked, ADDRESS)
    # An answer that has the last word (AA), to a question that wanted recursion (RD, RA); no fault.
    assert reply[:12] == struct.pack("!6H", 0x1234, 0x8580, 1, 1, 0, 0)
    assert reply[12 : len(asked)] == asked[12:]
    # The name by a pointer, A, IN, 5 seconds, 4 bytes.
    assert reply[len(asked) :] == struct.pack("!HHHIH", 0xC00C, A, 1, 5, 4) + b"\xc0\xa8\x04\x01"
    assert dns.answer(query(flags=0), ADDRESS)[2:4] == b"\x84\x80"
    assert dns.answer(query(), "10.255.0.9")[-4:] == b"\x0a\xff\x00\x09"


def test_all_else_has_no_data():
    for kind in (AAAA, HTTPS, ANY, 2, 12, 16, 0, 65535):
        asked = query(kind=kind)
        assert dns.answer(asked, ADDRESS) == struct.pack("!6H", 0x1234, 0x8580, 1, 0, 0, 0) + asked[12:]
    assert len(dns.answer(query(family=3), ADDRESS)) == len(query())


def test_what_stands_behind_the_question_is_cut():
    plain = dns.answer(query(), ADDRESS)
    assert dns.answer(query(counts=(1, 0, 0, 1), more=EDNS), ADDRESS) == plain
    assert dns.answer(query(counts=(1, 9, 9, 9), more=b"\xc0\x0c" * 100), ADDRESS) == plain
    # Flags that mean nothing to it: AD and CD, TC.
    assert dns.answer(query(flags=0x0130), ADDRESS) == plain
    assert dns.answer(query(flags=0x0300), ADDRESS) == plain


def test_what_is_not_one_question_gets_no_answer():
    for packet in (
        b"",
        bytes(12),
        query()[:-1],
        query()[:20],
        query(flags=0x8180),  # an answer: two servers would talk for ever
        query(flags=0x0900),  # an inverse query
        query(flags=0x2900),  # an update
        query(counts=(0, 0, 0, 0)),
        query(counts=(2, 0, 0, 0), more=query()[12:]),
        query(counts=(257, 0, 0, 0)),
        query(b"\xc0\x0c"),  # a name that is a pointer to itself
        query(b"\x03www\xc0\x0c"),
        query(b"\x40" + b"a" * 64 + b"\0"),
        query(b"\xff" * 20),
        query(b"\x3fa"),
        query(b"\x01a" * 300),
    ):
        assert dns.answer(packet, ADDRESS) is None, packet


def test_a_name_has_255_bytes_at_most():
    longest = name(*[b"a" * 63] * 3, b"a" * 61)
    assert len(longest) == 255
    reply = dns.answer(query(longest, counts=(1, 0, 0, 1), more=EDNS), ADDRESS)
    assert len(reply) == 12 + 255 + 4 + 16
    assert dns.answer(query(name(*[b"a" * 63] * 3, b"a" * 62)), ADDRESS) is None
    assert dns.answer(query(name(*[b"a"] * 127)), ADDRESS) and not dns.answer(
        query(name(*[b"a"] * 128)), ADDRESS
    )
    assert dns.answer(query(b"\0"), ADDRESS)
    assert dns.answer(query(name(b"\0\xff.", b"<script>")), ADDRESS)


def test_random_packets_are_no_fault_and_get_no_long_answer():
    whole = query(counts=(1, 0, 0, 1), more=EDNS)
    for n in range(60000):
        if n % 3 == 0:  # anything
            packet = os.urandom(random.randrange(80))
        elif n % 3 == 1:  # a question whose name is anything
            packet = whole[:12] + os.urandom(random.randrange(60))
        else:  # a question with a byte changed, and cut
            at = random.randrange(len(whole))
            packet = (whole[:at] + bytes([random.randrange(256)]) + whole[at + 1 :])[: random.randrange(200)]
        reply = dns.answer(packet, ADDRESS)
        if reply is not None:
            end = reply.find(b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4\xc0\xa8\4\1", 12)
            asked = end if reply[7] else len(reply)
            assert asked <= len(packet) and len(reply) == asked + 16 * reply[7]
            assert reply[:2] == packet[:2] and reply[12:asked] == packet[12:asked]


def served():
    while True:
        port = 30000 + struct.unpack("H", os.urandom(2))[0] % 20000
        try:
            return dns.Server("127.0.0.1", port), port
        except OSError:  # another has the port
            pass


def asking(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
    s.setblocking(False)
    return s


def test_the_server_answers_without_waiting():
    server, port = served()
    assert server.turn() is False
    client = asking(port)
    client.send(b"no question")
    client.send(query(counts=(1, 0, 0, 1), more=EDNS))
    client.send(bytes(2000))
    client.send(query(kind=AAAA))
    while server.turn():
        pass
    assert client.recv(512) == dns.answer(query(), "127.0.0.1")
    assert client.recv(512) == dns.answer(query(kind=AAAA), "127.0.0.1")
    raises(OSError, client.recv, 512)
    client.close()
    server.close()


def test_a_flood_takes_no_more_than_eight_packets_a_turn():
    server, port = served()
    client = asking(port)
    for _ in range(20):
        client.send(query())
    for expected in (8, 8, 4):
        assert server.turn()
        for _ in range(expected):
            client.recv(512)
        raises(OSError, client.recv, 512)
    assert not server.turn()
    client.close()
    server.close()


def test_a_turn_with_nothing_to_do_takes_next_to_no_memory():
    if not MICROPYTHON:
        return  # which alone can tell
    server, _ = served()
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    for _ in range(10):
        server.turn()
    taken = gc.mem_alloc() - before
    gc.enable()
    server.close()
    assert taken < 10 * 200, taken
