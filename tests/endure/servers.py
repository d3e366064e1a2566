"""Servers that do exactly what they are told, byte by byte, and tell afterwards what they saw.

The path of a URL is the script of an answer: JSON in hex, a list of lists of steps, one for each time that
the path is asked for, the last of which stays. Steps:
    "text"                     sends it, as ISO 8859-1
    0.5                        waits so many seconds
    ["repeat", text, count]    sends it so many times, at once
    ["endless", text]          sends it until the client leaves
    ["count", format, count]   sends format % 0, format % 1 and so on, at once
    ["drip", text, pause]      sends it a byte at a time, with so many seconds after each
    ["silent"]                 says no more and waits for the client to leave
    ["close"]                  closes the connection, over TLS with its goodbye
    ["cut"]                    closes it without one
    ["reset"]                  closes it by a TCP reset
    ["wait"]                   waits until go() is called; each call ends one wait, also a later one
Any other path is answered with the request as it came, in JSON.

What it saw is a dict for each connection:
    received      what came, as ISO 8859-1: 500 characters each of the first twenty records or pieces
    requests      how many came
    answers       how many were said to their end
    handshake     why TLS failed, or ""
    client_left   the client closed the connection, or was given no choice
    over          so did the server
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import select
import socket
import struct
import threading
from collections.abc import Iterator

from address import here


class Listener:
    """A port of its own, and a thread that serves it while in `with`.

    serve: does so, until the listener is shut down.
    """

    def __init__(self, serve, family=socket.AF_INET):
        host = "::1" if family == socket.AF_INET6 else here()
        self._listener = socket.create_server((host, 0), family=family)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=serve, daemon=True)
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()


class ScriptedServer(Listener):
    """Answers as the URL says; over TLS if it is given a context.

    contexts: {kind: context} of which show() takes another.
    """

    def __init__(self, context=None, family=socket.AF_INET, contexts=()):
        super().__init__(self._run, family)
        # A small window, so that a client's writes are taken in part, and have to wait.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._context = context
        self._contexts = contexts
        self._seen = []
        self._asked = {}
        self._streams = []
        self._threads = []
        self._go = threading.Semaphore(0)

    def __exit__(self, *_):
        self._go.release(len(self._streams) + 1)
        for stream in self._streams:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        super().__exit__()
        for thread in self._threads:
            thread.join(5)

    def seen(self):
        return self._seen

    def go(self):
        self._go.release()

    def show(self, kind):
        """Takes this of its contexts for the connections that come."""
        self._context = self._contexts[kind]

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                stream, _ = self._listener.accept()
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._context:
                    stream = self._context.wrap_socket(
                        stream, server_side=True, do_handshake_on_connect=False
                    )
                seen = {
                    "received": [],
                    "requests": 0,
                    "answers": 0,
                    "handshake": "",
                    "client_left": False,
                    "over": False,
                }
                self._seen.append(seen)
                self._streams.append(stream)
                thread = threading.Thread(target=self._serve, args=(stream, seen), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, stream, seen):
        try:
            if self._context:
                stream.do_handshake()
            while True:
                head, body = self._request(stream, seen)
                seen["requests"] += 1
                self._answer(stream, seen, head, body)
        except EOFError:
            pass
        except OSError as e:
            if self._context and not seen["received"]:
                seen["handshake"] = str(e)
                with contextlib.suppress(OSError):
                    while socket.socket.recv(stream, 4096):
                        pass
            seen["client_left"] = True
        finally:
            stream.close()
            seen["over"] = True

    def _receive(self, stream, seen):
        """What one recv() gives: with TLS, one record."""
        data = stream.recv(65536)
        if not data:
            seen["client_left"] = True
            raise EOFError
        if len(seen["received"]) < 20:  # the VM has to read it too
            seen["received"].append(data[:500].decode("latin-1"))
        return data

    def _request(self, stream, seen):
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive(stream, seen)
        head, _, body = data.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            name, _, value = line.partition(b": ")
            if name == b"content-length":
                while len(body) < int(value):
                    body += self._receive(stream, seen)
            elif name == b"transfer-encoding":
                while not body.endswith(b"0\r\n\r\n"):
                    body += self._receive(stream, seen)
        return head.decode("latin-1"), body.decode("latin-1")

    def _answer(self, stream, seen, head, body):
        for step in self.script(head, body):
            self._step(stream, seen, step)
        seen["answers"] += 1

    def script(self, head, body):
        """The steps of the answer to a request."""
        path = head.split(" ")[1].partition("?")[0]
        try:
            answers = json.loads(bytes.fromhex(path.rpartition("/")[2]))
        except ValueError:
            sha256 = hashlib.sha256(body.encode("latin-1")).hexdigest()
            echo = json.dumps({"head": head, "body": body[:9999], "sha256": sha256})
            status = f"HTTP/1.1 200 OK\r\nContent-Length: {len(echo)}\r\n\r\n"
            return [status, "" if head.startswith("HEAD ") else echo]
        n = self._asked[path] = self._asked.get(path, 0) + 1
        return answers[min(n, len(answers)) - 1]

    def _step(self, stream, seen, step):
        if isinstance(step, str):
            stream.sendall(step.encode("latin-1"))
            return
        if not isinstance(step, list):
            self._stop.wait(step)
            return
        name, *rest = step
        if name == "repeat":
            text, count = rest
            stream.sendall(text.encode("latin-1") * count)
        elif name == "endless":
            while not self._stop.is_set():
                stream.sendall(rest[0].encode("latin-1") * 500)
        elif name == "drip":
            text, pause = rest
            for c in text.encode("latin-1"):
                stream.sendall(bytes([c]))
                self._stop.wait(pause)
        elif name == "count":
            text, count = rest
            stream.sendall("".join(text % n for n in range(count)).encode("latin-1"))
        elif name == "wait":
            self._go.acquire()
        elif name == "silent":
            while True:
                self._receive(stream, seen)
        elif name in ("close", "cut"):
            if name == "close" and self._context:
                stream.settimeout(0.05)  # the client need not answer the goodbye
                with contextlib.suppress(OSError):
                    stream.unwrap()
                stream.settimeout(None)
            stream.shutdown(socket.SHUT_WR)
            seen["answers"] += 1
            while stream.recv(65536):
                pass
            seen["client_left"] = True
            raise EOFError
        elif name == "reset":
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            seen["client_left"] = True  # it has no choice
            raise EOFError
        else:
            raise AssertionError(step)


class RudeServer(ScriptedServer):
    """Waits for no request: each connection in turn gets the next steps, and then the next."""

    def __init__(self) -> None:
        super().__init__()
        self._steps: list[list] = []

    def then(self, *steps: object) -> str:
        """The URL at which these come next; ["hello"] waits for what the client says first."""
        self._steps.append(list(steps))
        return f"https://{here()}:{self.port}"

    def _request(self, stream, seen):
        return "", ""

    def script(self, head: str, body: str) -> list:
        return self._steps[len(self._seen) - 1]

    def _step(self, stream, seen, step):
        if step == ["hello"]:
            self._receive(stream, seen)
        else:
            super()._step(stream, seen, step)


class DrippingProxy(Listener):
    """Hands on what a server says a byte at a time, and what its client says at once."""

    def __init__(self, port, pause):
        super().__init__(self._run)
        self._port = port
        self._pause = pause

    def _run(self):
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            with client, socket.create_connection((here(), self._port)) as server:
                client.setblocking(False)
                server.setblocking(False)
                while not self._stop.wait(self._pause):
                    for source, sink, size in ((client, server, 65536), (server, client, 1)):
                        with contextlib.suppress(BlockingIOError):
                            data = source.recv(size)
                            if not data:
                                return
                            sink.sendall(data)


class BadLine(Listener):
    """A bad line to a good server: each connection in turn meets with the next trouble.

    A trouble is (what, where): after so many bytes from the server the line is cut ("FIN", "RST"), has
    "noise" on it, is "slow" (a byte a second), or has one bit of a byte "flipped".
    """

    def __init__(self, port: int, dice: random.Random) -> None:
        super().__init__(self._run)
        self._upstream = port
        self._dice = dice
        self._troubles: list[tuple[str, int]] = []
        self.passed = 0
        self.left_open = 0

    def then(self, what: str, where: int) -> str:
        self._troubles.append((what, where))
        return f"https://{here()}:{self.port}"

    def _run(self) -> None:
        for what, where in self._next():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with client, socket.create_connection((here(), self._upstream)) as server:
                self._pass(client, server, what, where)
                if what == "RST":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    continue
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_WR)
                client.settimeout(5)
                try:
                    while client.recv(65536):
                        pass
                except TimeoutError:
                    self.left_open += 1
                except OSError:
                    pass

    def _next(self) -> Iterator[tuple[str, int]]:
        n = 0
        while not self._stop.is_set():
            # The client says when it goes on: it connects.
            select.select([self._listener], [], [], 0.2)
            while n < len(self._troubles):
                yield self._troubles[n]
                n += 1

    def _pass(self, client: socket.socket, server: socket.socket, what: str, where: int) -> None:
        self.passed = 0
        while not self._stop.is_set():
            ready = select.select([client, server], [], [], 0.2)[0]
            with contextlib.suppress(ConnectionError):
                if client in ready:
                    data = client.recv(65536)
                    if not data:
                        return
                    server.sendall(data)
            if server not in ready:
                continue
            try:
                data = server.recv(65536)
                reached = self.passed + len(data) > where
                if not data or (reached and what not in ("flipped", "slow")):
                    client.sendall(data[: where - self.passed])
                    if what == "noise":
                        client.sendall(self._dice.randbytes(300))
                    return
                if what == "flipped" and self.passed <= where and reached:
                    spoiled = bytearray(data)
                    spoiled[where - self.passed] ^= 1 << self._dice.randrange(8)
                    data = bytes(spoiled)
                if what == "slow" and reached:
                    for byte in data:
                        client.sendall(bytes([byte]))
                        if self._stop.wait(0.05) or select.select([client], [], [], 0.95)[0]:
                            return
                client.sendall(data)
                self.passed += len(data)
            except ConnectionError:
                return


@contextlib.contextmanager
def full_port() -> Iterator[int]:
    """A port that answers no more attempts to connect: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((here(), 0))
        listener.listen(0)
        while True:
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.2)
            try:
                waiting.connect(listener.getsockname())
            except TimeoutError:
                break
        yield listener.getsockname()[1]
