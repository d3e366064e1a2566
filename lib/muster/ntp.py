"""Asking NTP servers for the time: SNTP, RFC 4330. Loaded only while it asks."""

import os
import select
import socket
import struct

from muster.net.wait import TURN, Ready

from .clock import ticks_add, ticks_diff, ticks_ms

_EPOCH = 2208988800  # from 1900 to 1970


def ask(servers, least, ms):
    """Asks the servers in turn, "host" or "host:port": a generator for muster.net.wait.

    least   Unix time before which an answer is wrong
    ms      that each server has

    Returns the Unix time of the first good answer, None if there is none.
    """
    for server in servers:
        yield TURN
        try:
            seconds = yield from _ask(server, ms)
        except (OSError, ValueError):
            continue
        if seconds is not None and seconds >= least:
            return seconds
    return None


def _ask(server, ms):
    """Asks one server at each of its addresses."""
    host, port = server, 123
    if ":" in server and not server.endswith("]"):
        host, _, port = server.rpartition(":")
    addresses = socket.getaddrinfo(host.strip("[]"), int(port), 0, socket.SOCK_DGRAM)
    # What a port has no sockets for has no address in its list.
    addresses = [address for address in addresses if address[-1]]
    deadline = ticks_add(ticks_ms(), ms)
    while addresses:
        share = ticks_diff(deadline, ticks_ms()) // len(addresses)
        try:
            seconds = yield from _ask_at(addresses.pop(0), share)
        except OSError:
            continue
        if seconds is not None:
            return seconds
    return None


def _ask_at(address, ms):
    """One exchange; its only guard against a forger is the nonce that must come back."""
    nonce = os.urandom(8)
    s = socket.socket(address[0], socket.SOCK_DGRAM)
    try:
        s.setblocking(False)
        s.connect(address[-1])
        s.send(b"\x23" + bytes(39) + nonce)
        ready = Ready(s, select.POLLIN)
        deadline = ticks_add(ticks_ms(), ms)
        while not ready.poll(0):
            if ticks_diff(deadline, ticks_ms()) <= 0:
                return None
            yield ready
        answer = s.recv(48)
    finally:
        s.close()
    if len(answer) < 48 or answer[24:32] != nonce:
        return None
    # Mode 4 is a server's; a leap indicator of 3 or a stratum of 0 or 16 says that it has no time itself.
    if answer[0] & 7 != 4 or answer[0] >> 6 == 3 or not 1 <= answer[1] <= 15:
        return None
    seconds = struct.unpack("!I", answer[40:44])[0]
    if not seconds:
        return None
    if seconds < 0x80000000:  # counted anew since 2036
        seconds += 1 << 32
    return seconds - _EPOCH
