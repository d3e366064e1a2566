"""The set-up page's HTTP server. Loaded only while the page is open.

asyncio.start_server() bounds neither lines nor connections, and takes twice the memory.
"""

import socket
from binascii import crc32, hexlify, unhexlify
from errno import EAGAIN
from struct import pack, unpack

from .. import const
from ..clock import ticks_add, ticks_diff, ticks_ms
from ..memory import call

_MAX_CLIENTS = const(3)  # lwIP has six sockets in small builds
_MAX_HEAD = const(2048)
_MAX_LINES = const(32)  # besides the first
_MAX_BODY = const(512)
_PIECE = const(512)
_ASK_MS = const(5000)
_ANSWER_MS = const(15000)
_FILE_END = const(13)  # bytes of the page's file: an empty last block, CRC-32, size

# All that matters of a head; none may come twice, for which of the two would count?
_HEADERS = (b"host", b"origin", b"content-type", b"content-length")

# Nobody reads a reason behind the status. A Referrer-Policy of no-referrer would make a form's Origin "null".
_HEAD = (
    "HTTP/1.1 %d \r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n"
    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n\r\n"
)
_JSON = "application/json"


class Server:
    """Serves the page at the address, an IPv4 of the board, to three clients at most.

    page  what the page shows and does:
          address    of the board, as URLs have it
          token      of its form: 32 hex digits, new whenever the page opens
          file       path of the page as the image packs it
          state, ssid (bytes), tries
          networks   [(ssid (bytes), dBm, locked)], 20 at most, the strongest first; replaced, never changed
          used()     a request for the board itself came
          submit(ssid, key)   begins to join. Returns None, or "trying" or "busy" if it does not
          rescan()   looks for networks anew
          local(ip)  whether that peer may talk to the board

    Raises OSError if it cannot listen there, or if there is no page.
    """

    def __init__(self, address, page, port=80):
        self.page = page
        self.clients = []  # the one that has got on least recently stands first
        self.file = open(page.file, "rb")
        self.socket = bound(socket.SOCK_STREAM, address, port)
        self.socket.listen(_MAX_CLIENTS)

    def turn(self):
        """Does what can be done without waiting, a piece for each client. Returns whether it did any."""
        came = self._accept()
        if not self.clients:
            return came
        waiting = []
        moved = []
        for client in self.clients:
            try:
                (moved if next(client) else waiting).append(client)
            except Exception:  # its end, its fault or too little memory: the others go on
                pass
        self.clients = waiting + moved
        return came or bool(moved)

    def close(self):
        self.socket.close()
        self.file.close()
        for client in self.clients:
            client.close()

    def _accept(self):
        try:
            client, peer = self.socket.accept()
        except OSError:
            return False
        if self.page.local(peer[0]):
            if len(self.clients) == _MAX_CLIENTS:
                self.clients.pop(0).close()
            self.clients.append(_serve(client, self.page, self.file))
        else:
            client.close()
        return True


def bound(kind, address, port):
    """A socket of that kind that waits for nothing. Raises OSError."""
    s = socket.socket(socket.AF_INET, kind)
    try:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(socket.getaddrinfo(address, port)[0][-1])
        s.setblocking(False)
        return s
    except OSError:
        s.close()
        raise


def _serve(client, page, file):
    """One request and its answer: a generator that yields whether the answer has got on."""
    try:
        client.setblocking(False)
        until = ticks_add(ticks_ms(), _ASK_MS)
        method = None
        try:
            data = b""
            request = None
            while not request:
                data += yield from _done(client.recv, _PIECE, until)
                request = head(data)
            method, target, headers, data = request
            address = page.address.encode()
            if headers.get(b"host") in (address, address + b":80"):
                size = int(headers.get(b"content-length", b"0"))
                if size > _MAX_BODY:
                    raise ValueError("length")
                while len(data) < size:
                    data += yield from _done(client.recv, _PIECE, until)
                pieces = answer(page, file, method, target, headers, data[:size])
            else:
                pieces = _redirect(302, page)
        # JSON may hold what is no text: an AttributeError or a TypeError.
        except (ValueError, AttributeError, TypeError) as e:
            pieces = _reply(400, _JSON, '{"error":"%s"}' % e)
        until = ticks_add(ticks_ms(), _ANSWER_MS)
        for piece in pieces:
            while piece:
                sent = yield from _done(client.send, piece, until)
                piece = piece[sent:]
                yield True
            if method == b"HEAD":
                break
    finally:
        client.close()


def _done(operation, argument, until):
    """Does what a socket may not be ready for. Raises OSError if it has ended, or is not in time."""
    while True:
        try:
            done = operation(argument)
            if done:
                return done
            raise OSError
        except OSError as e:
            if e.errno != EAGAIN or ticks_diff(until, ticks_ms()) < 0:
                raise
        yield False


# What follows is pure, but for the page's file.


def head(data):
    """(method, target, headers, what follows) of a request, bytes; None as long as its head is not whole.

    headers  those of _HEADERS that it has, their names in lower case

    Raises ValueError for a head that is too long, and for what two readers may read in two ways (RFC 9112,
    11.2): a line that ends otherwise than in CR LF, a folded one, a space in a name, a header twice, chunks.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0 and len(data) <= _MAX_HEAD and b"\n\n" not in data:
        return None
    block = data[:end]
    lines = block.split(b"\r\n", _MAX_LINES)
    method, target, version = lines.pop(0).split(b" ")
    good = 0 <= end <= _MAX_HEAD and version[:7] == b"HTTP/1." and b"\0" not in block
    if not block.count(b"\r") == block.count(b"\n") == len(lines):
        good = False
    headers = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or name.split() != [name] or name in headers or name == b"transfer-encoding":
            good = False
        if name in _HEADERS:
            headers[name] = value.strip()
    if not good or not headers.get(b"content-length", b"0").isdigit():
        raise ValueError("head")
    return method, target, headers, data[end + 4 :]


def answer(page, file, method, target, headers, body):
    """The pieces of the answer to a request for the board itself, its head first.

    Raises ValueError with what is wrong about the request.
    """
    page.used()
    if method == b"POST" and target in (b"/", b"/scan"):
        return _post(page, target, headers, body)
    if method in (b"GET", b"HEAD"):
        if target == b"/":
            return _packed(page, file)
        if target == b"/state":
            return state(200, page)
    return _redirect(302, page)


def _reply(status, kind, body):
    return (_HEAD % (status, kind, len(body))).encode(), body.encode()


def _redirect(status, page):
    return _reply(status, "text/html\r\nLocation: http://%s/" % page.address, "Wi-Fi")


def state(status, page):
    """An answer that tells how things stand, as JSON."""
    networks = ['["%s",%d,%d]' % (_hex(ssid), dbm, locked) for ssid, dbm, locked in page.networks]
    stands = (page.state, _hex(page.ssid), page.tries, ",".join(networks))
    return _reply(status, _JSON, '{"state":"%s","ssid":"%s","tries":%d,"networks":[%s]}' % stands)


def _post(page, target, headers, body):
    kind = headers.get(b"content-type", b"").split(b";")[0].lower()
    origin = ("http://" + page.address).encode()
    is_form = kind == b"application/x-www-form-urlencoded"
    fields = form(body) if is_form else call(_loads, body)
    # A page from elsewhere can send a form, but does not know the token; JSON it may not send.
    own = fields.get("token") == page.token if is_form else kind == b"application/json"
    if not own or headers.get(b"origin", origin) != origin:
        raise ValueError("origin")
    refusal = page.rescan() if target == b"/scan" else page.submit(*wanted(fields))
    if is_form:
        return _redirect(303, page)
    return state(202 if refusal is None else 409 if refusal == "trying" else 429, page)


def _loads(body):
    from ..jsontext import loads

    return loads(body)


def form(body):
    """The fields in application/x-www-form-urlencoded, a dict of str. Raises ValueError."""
    fields = {}
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        parts = value.replace(b"+", b" ").split(b"%")
        for n in range(1, len(parts)):
            parts[n] = unhexlify(parts[n][:2] or b"?") + parts[n][2:]
        fields[name.decode()] = b"".join(parts).decode()
    return fields


def wanted(fields):
    """(ssid (bytes), key) of a network that the buyer wants. Raises ValueError with the field that is wrong.

    fields  ssid in hex, or name as it was typed, for a hidden network; key "" for an open one
    """
    ssid = fields.get("name", "").encode() or _unhex(fields.get("ssid", ""))
    if not 0 < len(ssid) <= 32:
        raise ValueError("ssid")
    key = fields.get("key", "")
    size = len(key.encode())
    if size and not 8 <= size <= 63 and (size != 64 or len(_unhex(key)) != 32):
        raise ValueError("key")
    return ssid, key


def _packed(page, file):
    """The page, a generator: the file up to its end, and the live end as one more block of its gzip.

    So nothing is compressed here. Every browser takes gzip, whatever its Accept-Encoding says.
    """
    live = (page.token, page.networks, page.state)
    left = file.seek(-_FILE_END, 2)
    crc, size = unpack("<II", file.read()[5:])
    more = 0
    for piece in tail(*live):
        crc = crc32(piece, crc)
        more += len(piece)
    kind = "text/html;charset=utf-8\r\nContent-Encoding: gzip"
    yield (_HEAD % (200, kind, left + _FILE_END + more)).encode()
    for at in range(0, left, _PIECE):
        file.seek(at)
        yield file.read(min(_PIECE, left - at))
    yield pack("<BHH", 1, more, 0xFFFF - more)
    yield from tail(*live)
    yield pack("<II", crc, size + more)


def tail(token, networks, state):
    """The live end of the page, in pieces: a network's name is text, never markup.

    It has what a browser without JavaScript needs; the others ask for /state.
    """
    yield b"<input type=hidden name=token value=%s><select name=ssid>" % token.encode()
    for name, _, _ in networks:
        try:
            text = name.decode().replace("&", "&amp;").replace("<", "&lt;")
        except UnicodeError:
            text = _hex(name)
        yield ("<option value=%s>%s" % (_hex(name), text)).encode()
    yield ("</select></form><output data-state=%s>" % state).encode()


def _hex(data):
    return hexlify(data).decode()


def _unhex(text):
    try:
        return unhexlify(text)
    except ValueError:
        return b""
