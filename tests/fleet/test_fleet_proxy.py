"""A proxy between the operator and the clouds."""

import base64
import select
import socket
import socketserver
import threading

import pytest

SECRET = base64.b64encode(b"me:pass-word").decode()
BY = "named by HTTPS_PROXY"
VARIABLES = ("https_proxy", "all_proxy", "no_proxy", "http_proxy")


class Door(socketserver.StreamRequestHandler):
    """A proxy's side of CONNECT: lets in who has the password, or gives the answer that it was told to."""

    def handle(self):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.rfile.readline() or b"\r\n\r\n"
        self.server.asked += 1
        answer = self.server.answer
        if answer is None and SECRET.encode() in head:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            host, _, port = head.split()[1].decode().rpartition(":")
            with socket.create_connection((host, int(port))) as there:
                self.pass_on(there)
        else:
            refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
            self.wfile.write(refusal if answer is None else answer)

    def pass_on(self, there):
        ends = {self.connection: there, there: self.connection}
        while True:
            for end in select.select(list(ends), [], [])[0]:
                data = end.recv(65536)
                if not data:
                    return
                ends[end].sendall(data)


@pytest.fixture
def proxy(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Door) as server:
        server.daemon_threads, server.block_on_close = True, False
        server.answer, server.asked = None, 0
        server.address = f"127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_that_wants_a_password(operator, proxy, monkeypatch, variable):
    file = operator.batch(3)
    monkeypatch.setenv(variable, f"http://me:wrong-word@{proxy.address}")
    done = operator("import", file)
    assert (done.exit_code, done.calls) == (1, 0)
    assert "3 │ not sent" in done.output and "unknown" not in done.output
    assert (
        f"Error: the proxy {proxy.address}, named by {variable}, let nothing through: "
        f"407 Proxy Authentication Required. Put the name and the password that it wants into {variable}"
    ) in done.stderr
    assert "wrong-word" not in done.output and proxy.asked > 1, "tried again"

    monkeypatch.setenv(variable, f"http://me:pass-word@{proxy.address}")
    done = operator("import", file)
    assert done.exit_code == 0 and len(operator.devices()) == 3
    assert done.calls == 1, "nothing was in doubt, so nothing is looked up"


@pytest.mark.parametrize(
    "answer, why",
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden"),
        (b"HTTP/1.1 502 Bad \x1b[2JGateway\r\n\r\n", "502 Bad [2JGateway"),
        (b"", "Remote end closed connection without response"),
        (b"SSH-2.0-OpenSSH_9\r\n", "SSH-2.0-OpenSSH_9"),
    ],
)
def test_a_proxy_that_lets_nothing_through(operator, proxy, monkeypatch, answer, why):
    proxy.answer = answer
    monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
    done = operator("import", operator.batch(1), "--json")
    assert done.exit_code == 1 and done.json[0]["outcome"] == "not sent"
    assert f"the proxy {proxy.address}, {BY}, let nothing through: {why}" in done.stderr
    assert "Correct HTTPS_PROXY" in done.stderr


@pytest.mark.parametrize(
    "address, shown",
    [
        ("http://me:pass-word@{free}", f"{{free}}, {BY}, let nothing through: Connection refused"),
        ("http://me:pass-word@no port:x", f"no port:x, {BY}"),
        ("socks5://me:pass-word@{free}", f"{{free}}, {BY}"),
        ("{free}", f"{{free}}, {BY}"),
    ],
)
def test_a_proxy_that_is_not_there(operator, proxy, monkeypatch, address, shown):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = f"127.0.0.1:{listener.getsockname()[1]}"
    monkeypatch.setenv("HTTPS_PROXY", address.format(free=free))
    for done in operator("list"), operator("import", operator.batch(1)):
        assert done.exit_code == 1 and f"the proxy {shown.format(free=free)}" in done.stderr, done.stderr
        assert "pass-word" not in done.output and "unknown" not in done.output
    monkeypatch.setenv("NO_PROXY", "localhost")
    assert operator("list").exit_code == 0


def test_what_broke_off_before_the_request_is_not_in_doubt(operator):
    """As when something on the way ends TLS's handshake."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up():
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=hang_up, daemon=True).start()
        url = f"https://localhost:{listener.getsockname()[1]}"
        operator.write_profile(baidu={**operator.keys, "base_url": url})
        done = operator("import", operator.batch(1), "--json")
        listener.shutdown(socket.SHUT_RDWR)
    assert done.exit_code == 1 and done.json[0]["outcome"] == "not sent"
