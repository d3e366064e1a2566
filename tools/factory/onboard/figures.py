# What this chip can do, as a guest of the board: each function measures one thing and prints JSON.

import gc
import json
from time import ticks_diff, ticks_us

ROUNDS = 5


def middle(values):
    return sorted(values)[len(values) // 2]


def timed(function, *arguments):
    """The microseconds of a call, in the middle of some."""
    taken = []
    for _ in range(ROUNDS):
        gc.collect()
        began = ticks_us()
        function(*arguments)
        taken.append(ticks_diff(ticks_us(), began))
    return middle(taken)


def held():
    gc.collect()
    gc.collect()  # what a finaliser let go of
    return gc.mem_alloc()


def native():
    """ESP-IDF's free memory and the largest piece of it; None where there is no ESP-IDF."""
    try:
        from esp32 import HEAP_DATA, idf_heap_info
    except ImportError:
        return None
    regions = idf_heap_info(HEAP_DATA)
    return [sum([region[1] for region in regions]), max([region[2] for region in regions])]


def hs256(claims, secret):
    from muster import hmac, jwt

    print(json.dumps(timed(jwt.encode, claims, hmac.Key(secret.encode()))))


def rs256(message, key):
    from muster.rsa import PrivateKey

    with open(key) as f:
        key = PrivateKey.from_pem(f.read())
    key.sign(b"the first one makes what blinds")
    print(json.dumps(timed(key.sign, message.encode())))


def heap(config, state):
    """What stays in the heap of muster, of an Agent, and after an enrolment and a report."""
    found = [held()]
    import muster

    found.append(held())
    agent = muster.Agent(config, store=muster.store.FileStore(state))
    found.append(held())
    agent.report()
    found.append(held())
    print(json.dumps([after - found[0] for after in found[1:]]))


def tls(host, port, ca):
    """The native memory before, during and after a session, and the microseconds of handshakes."""
    import socket

    from tls import PROTOCOL_TLS_CLIENT, SSLContext

    with open(ca, "rb") as f:
        root = f.read()
    address = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)[0]
    memory = [native(), None, None]
    taken = []
    for _ in range(ROUNDS):
        context = SSLContext(PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(root)
        raw = socket.socket(*address[:3])
        raw.connect(address[-1])
        raw.setsockopt(6, 1, 1)  # TCP_NODELAY
        gc.collect()
        began = ticks_us()
        stream = context.wrap_socket(raw, server_hostname=host)
        taken.append(ticks_diff(ticks_us(), began))
        memory[1] = native()
        stream.close()
        raw.close()
        stream = context = raw = None
        gc.collect()
    memory[2] = native()
    print(json.dumps({"us": middle(taken), "memory": memory}))
