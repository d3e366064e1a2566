"""The set-up page of a virtual board for a browser of this computer.

The browser calls the page by an address of this computer, and a board serves it under its own alone. Between
them Host, Origin and Location are translated, and nothing else: what is foreign stays so.
"""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.board.board import Board

CLOSED = """<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=2><title>closed</title>
<p>The board's access point is closed. 设备的热点已关闭。
""".encode()
TIMEOUT_S = 30


class Relay(ThreadingHTTPServer):
    """Serves the board's page at url while the block runs; whoever asks for it is a phone in its network."""

    daemon_threads = True

    def __init__(self, board: Board) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.board = board
        self.host = f"127.0.0.1:{self.server_port}"
        self.url = f"http://{self.host}/"
        self._thread = threading.Thread(target=self.serve_forever, name="relay", daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Relay

    def relay(self) -> None:
        found = self.server.board.access_point
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if found is None or "80" not in found:
            self._answer(503, [("Content-Type", "text/html")], CLOSED)
            return
        self.server.board.stations(1)
        here, there = self.server.host, found["address"]
        headers = {name: _translated(value, here, there) for name, value in self.headers.items()}
        board = http.client.HTTPConnection("127.0.0.1", found["80"], timeout=TIMEOUT_S)
        try:
            board.request(self.command, self.path, body or None, headers)
            answer = board.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            # The browser sees what a phone would: the connection ends.
            self.close_connection = True
            return
        finally:
            board.close()
        back = [(name, _translated(value, there, here)) for name, value in answer.getheaders()]
        self._answer(answer.status, back, content)

    do_GET = do_HEAD = do_POST = relay

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def _translated(value: str, host: str, to: str) -> str:
    """A header's value, if it names the host alone or in a URL; any other as it is."""
    if value == host:
        return to
    url = f"http://{host}"
    if value == url or value.startswith(url + "/"):
        return f"http://{to}" + value.removeprefix(url)
    return value
