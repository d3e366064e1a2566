"""A set-up page with its server on loopback, and visitors that send what they like, in one thread."""

import io
import os
import socket
import struct
from binascii import crc32

from helpers import replaced
from muster.memory import MICROPYTHON
from muster.portal import web

ADDRESS = "192.168.4.1"
HOME = b"http://192.168.4.1"
TOKEN = "0123456789abcdef0123456789abcdef"
NETWORKS = [
    (b"home", -40, True),
    ("客厅".encode(), -61, True),
    (b"\xbf\xcd\xcc\xfc", -70, False),
]  # the last in GBK
STATIC = b"<!doctype html><meta charset=utf-8><form method=post>" + b"static " * 300


def packed(text):
    """The page as an image packs it: gzip, flushed, with an empty last block."""
    if MICROPYTHON:  # which compresses nothing: a stored block, and the flush
        blocks = struct.pack("<BHH", 0, len(text), 0xFFFF - len(text)) + text + b"\0\0\0\xff\xff"
        whole = b"\x1f\x8b\x08" + bytes(7) + blocks
    else:
        import zlib

        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        whole = packer.compress(text) + packer.flush(zlib.Z_SYNC_FLUSH)
    return whole + b"\1\0\0\xff\xff" + struct.pack("<II", crc32(text), len(text))


def unpacked(data):
    if MICROPYTHON:
        import deflate

        return deflate.DeflateIO(io.BytesIO(data), deflate.GZIP).read()
    import gzip

    return gzip.decompress(data)


class Page:
    """What home.py is to the server."""

    address = ADDRESS
    token = TOKEN
    state = "idle"
    ssid = b""
    tries = 20
    refusal = None
    peers = True

    def __init__(self, tmp):
        self.file = tmp + "/setup.html.gz"
        self.networks = NETWORKS
        self.uses = self.scans = 0
        self.submitted = []
        self.asked = []  # the peers that it was asked about
        with open(self.file, "wb") as file:
            file.write(packed(STATIC))

    def used(self):
        self.uses += 1

    def submit(self, ssid, key):
        self.submitted.append((ssid, key))
        return self.refusal

    def rescan(self):
        self.scans += 1

    def local(self, ip):
        self.asked.append(ip)
        return self.peers


class Answer:
    """An answer as it came, its head read."""

    def __init__(self, data):
        self.data = bytes(data)
        head, found, self.body = self.data.partition(b"\r\n\r\n")
        assert found, self.data
        lines = head.split(b"\r\n")
        self.status = int(lines[0].split(b" ")[1])
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(b": ")
            assert name not in self.headers
            self.headers[name] = value


class Visitor:
    """One connection to the server, which never waits."""

    def __init__(self, port, request=b""):
        self.socket = socket.socket()
        self.socket.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
        self.socket.setblocking(False)
        self.unsent = memoryview(request)
        self.came = bytearray()
        self.ended = False

    def turn(self, size=4096):
        """Sends and reads what it can."""
        try:
            if len(self.unsent):
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except OSError as e:
            self.ended = e.errno != web.EAGAIN
        try:
            data = self.socket.recv(size)
            self.came.extend(data)
            self.ended = not data
        except OSError as e:
            self.ended = e.errno != web.EAGAIN

    def close(self):
        self.socket.close()


class Visits:
    """The page and its server: `with Visits(tmp) as visits`. now is the time in ms, which stands still."""

    def __init__(self, tmp):
        self.page = Page(tmp)
        self.visitors = []
        self.now = 0

    def __enter__(self):
        self._clock = replaced(web, ticks_ms=lambda: self.now)
        self._clock.__enter__()
        while True:
            self.port = 10000 + struct.unpack("H", os.urandom(2))[0] % 20000
            try:
                self.server = web.Server("127.0.0.1", self.page, self.port)
                return self
            except OSError:  # another has the port
                pass

    def __exit__(self, *_):
        self._clock.__exit__()
        self.server.close()
        for visitor in self.visitors:
            visitor.close()

    def open(self, request=b""):
        visitor = Visitor(self.port, request)
        self.visitors.append(visitor)
        return visitor

    def turns(self, n=20):
        for _ in range(n):
            self.server.turn()
            for visitor in self.visitors:
                if not visitor.ended:
                    visitor.turn()

    def ask(self, request):
        """The Answer to a request in bytes."""
        return self.end(self.open(request))

    def end(self, visitor):
        while not visitor.ended:
            self.turns(1)
        return Answer(visitor.came)

    def get(self, target=b"/", method=b"GET", host=b"192.168.4.1"):
        return self.ask(b"%s %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (method, target, host))

    def post(self, body, kind=b"application/json", target=b"/", more=b""):
        head = b"POST %s HTTP/1.1\r\nHost: 192.168.4.1\r\nContent-Length: %d\r\n" % (target, len(body))
        if kind:
            head += b"Content-Type: %s\r\n" % kind
        return self.ask(head + more + b"\r\n" + body)
