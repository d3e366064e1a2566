"""DNS while the set-up page is open: every name leads to the board. Loaded only while it is."""

import select
import socket

from .web import bound

_QUESTION = b"\0\1\0\1"  # type A, class IN
_RECORD = (
    b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4"  # the name asked for, A, IN, 5 s: no phone shall believe it for longer
)


def answer(packet, address):
    """The answer to a query (RFC 1035, 4.1), bytes; None if it is not one question.

    packet   bytes, as it came
    address  the board's, "192.168.4.1"

    A gets the address; all else (AAAA, HTTPS) gets no data, and so nobody waits for it. What stands behind
    the question (EDNS) is cut.
    """
    at = 12
    try:
        # An answer, another operation, or several questions.
        if packet[2] & 0xF8 or packet[4:6] != b"\0\1":
            return None
        while packet[at]:
            if packet[at] > 63:  # a pointer: no name stands before the first
                return None
            at += packet[at] + 1
    except IndexError:
        return None
    at += 5
    if not at <= len(packet) <= 512 or at > 271:  # a name has at most 255 bytes
        return None
    found = packet[at - 4 : at] == _QUESTION
    # It is the authority, and would look further, as a router does.
    head = bytes((0x84 | packet[2] & 1, 0x80, 0, 1, 0, found, 0, 0, 0, 0))
    reply = packet[:2] + head + packet[12:at]
    return reply + _RECORD + bytes([int(part) for part in address.split(".")]) if found else reply


class Server:
    """Answers at the address, an IPv4 of the board. Raises OSError if it cannot listen there."""

    def __init__(self, address, port=53):
        self.address = address
        self.socket = bound(socket.SOCK_DGRAM, address, port)
        self.poller = select.poll()
        self.poller.register(self.socket, select.POLLIN)

    def turn(self):
        """Answers what is there, eight packets at most, without waiting. Returns whether there was any."""
        for n in range(8):
            # recvfrom() takes its 512 bytes of memory before it knows that there is nothing.
            if not self.poller.poll(0):
                return n > 0
            try:
                packet, peer = self.socket.recvfrom(512)
                reply = answer(packet, self.address)
                if reply:
                    self.socket.sendto(reply, peer)
            except OSError:
                return n > 0
        return True

    def close(self):
        self.socket.close()
