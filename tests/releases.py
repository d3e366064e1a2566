"""Releases for boards, and servers for them."""

import contextlib
import functools
import http.server
import threading

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tools.common.certificates import make_ca, make_server


@functools.cache
def key(number=0):
    return rsa.generate_private_key(65537, 2048)


def public_pem(key):
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, form, *args):
        self.server.asked.append((self.path, self.headers.get("User-Agent")))


@contextlib.contextmanager
def serving(folder):
    """A server of the folder release in this one, with a root of its own: yields both."""
    ca = make_ca("root of the releases")
    folder = folder / "release"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    server.asked = []
    server.socket = make_server("127.0.0.1", signer=ca).context().wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server, ca
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
