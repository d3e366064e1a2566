"""The device in the hands of hostile servers: one process lives through case after case, on either machine.

Reads a case a line, as JSON, and prints what came of it.

call      what the device does: "secret_info", "report", "chat", "stream" (of Coze) or "get"
url, ca   where, and the path of the root that is trusted
timeout   seconds for the exchange
names     None; or what every name is looked up as: a list of addresses, or an OSError's number
"""

import gc
import json
import os
import socket
import sys
import time

from muster.clouds.chinamobile import ChinaMobile
from muster.clouds.coze import Coze
from muster.errors import CloudError, TransportError
from muster.http import Session

# The platform must never see these before it is verified, and no person ever.
SECRETS = ("s3cr3t-pr0ductk3y", "s3cr3t-d3v1c3", "s3cr3t-t0ken")
PRODUCT_KEY, DEVICE_SECRET, TOKEN = SECRETS
GOOD = {
    "secret_info": {"deviceId": "1", "deviceNo": "no", "productId": "product", "deviceSecret": DEVICE_SECRET},
    "report": {"deviceId": "1", "protocolTypeTime": "2026-11-22 04:41:21"},
    "chat": ["Good ", "morning"],
    "stream": [("Message", {"content": "Good"}), ("Done", {})],
}

_sessions = {}


def session(ca):
    # One for all its life, as a device has it.
    if ca not in _sessions:
        _sessions[ca] = Session(ca)
    return _sessions[ca]


def do(call, url, http):
    platform = ChinaMobile("product", PRODUCT_KEY, http, url, url)
    if call == "secret_info":
        return platform.secret_info("no").plain()
    if call == "report":
        return platform.report("1", DEVICE_SECRET, {}).plain()
    if call == "chat":
        return list(platform.chat(TOKEN, "1", "Hello"))
    if call == "stream":
        return list(Coze(http, token=TOKEN, base_url=url).stream_workflow("flow"))
    return http.get(url, headers={"Authorization": "Bearer " + TOKEN}).content.decode()


class Names:
    """The socket module, in a world where every name has these addresses."""

    socket, SOCK_STREAM = socket.socket, socket.SOCK_STREAM

    def __init__(self, names):
        self.names = names

    def getaddrinfo(self, host, port, *more):
        if isinstance(self.names, int):
            raise OSError(self.names)
        found = []
        for address in self.names:
            found.extend(socket.getaddrinfo(address, port, *more))
        return found


def look_up_in(module):
    """Has what opens a connection, which is loaded for that, import this as its socket module."""
    sys.modules["socket"] = module
    sys.modules.pop("muster.net.dial", None)


def main():
    for line in sys.stdin:
        case = json.loads(line)
        http = session(case["ca"])
        http.timeout = case["timeout"]
        if case["names"] is not None:
            look_up_in(Names(case["names"]))
        start = time.time_ns()
        text = ""
        try:
            found = do(case["call"], case["url"], http)
            kind = "data" if found == GOOD.get(case["call"]) else "other data"
        except Exception as e:
            kind = "an exception of the kind " + type(e).__name__
            for documented in (TransportError, CloudError):
                if isinstance(e, documented):
                    kind = documented.__name__
            text = str(e)
        took = (time.time_ns() - start) // 1000000
        look_up_in(socket)
        http.close()
        found = case = line = None
        gc.collect()
        came = {"kind": kind, "text": text, "took": took, "files": len(os.listdir("/proc/self/fd"))}
        came["memory"] = gc.mem_alloc() if hasattr(gc, "mem_alloc") else 0
        print(json.dumps(came))


if __name__ == "__main__":
    main()
