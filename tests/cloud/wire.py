"""Ways to the box: a session of requests, and plain TLS where that does not show enough."""

import contextlib
import socket
import ssl
import time

import requests


@contextlib.contextmanager
def trusting(cloud):
    """A session of requests that trusts the box, and nothing that the environment says."""
    with requests.Session() as session:
        session.trust_env, session.verify = False, str(cloud.ca_pem)
        yield session


def address(cloud):
    return "127.0.0.1", int(cloud.url.rpartition(":")[2])


def connect(cloud, raw=None):
    context = ssl.create_default_context(cafile=str(cloud.ca_pem))
    raw = raw or socket.create_connection(address(cloud), timeout=10)
    return context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False)


def request(path, body, *headers, length=None):
    """A POST of JSON, to be sent as it is; length: a wrong one."""
    size = len(body) if length is None else length
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {size}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_all(tls):
    received = b""
    while part := tls.recv(4096):
        received += part
    return received


def wait_until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
