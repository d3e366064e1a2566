"""The document's example heartbeat, by muster.http and by MicroPython's frozen requests, over loopback.

Reads one line of JSON: the server's port, the path of its CA certificate, how many rounds are timed. Prints
JSON: what each was answered, and for each round the microseconds that either took for its second heartbeat.
"""

import json
import socket
import sys
import time

import requests
from muster import http, log
from muster.clouds import chinamobile

PORT, CA, ROUNDS = json.loads(sys.stdin.readline())
EXAMPLE = {
    "innerIp": ["10.229.111.172", "192.168.1.7"],
    "netSpeed": "0Mbps",
    "netType": "WiFi",
    "platform": "rtos",
    "sdkVersion": "ai_http_1.0",
    "firmwareVersion": "0.0.5.2",
    "imei": "",
    "cmei": "",
    "mac": "50-5A-65-51-82-13",
}


class Loopback:
    """The socket module, but every name is this machine's, and whoever does not ask has TCP_NODELAY too."""

    SOCK_STREAM = socket.SOCK_STREAM

    def getaddrinfo(self, host, port, *rest):
        return socket.getaddrinfo("127.0.0.1", PORT, *rest)

    def socket(self, *kind):
        s = socket.socket(*kind)
        s.setsockopt(6, 1, 1)
        return s


def report(session):
    cloud = chinamobile.ChinaMobile("1234567890123", "xxxxxxx", session)
    answer = cloud.report("123456789", "xxxxx", chinamobile.params(**EXAMPLE))
    return {name: answer[name] for name in answer}


def second(session):
    report(session)
    start = time.ticks_us()
    report(session)
    return time.ticks_diff(time.ticks_us(), start)


sys.modules["socket"] = requests.socket = Loopback()
log.level = log.WARNING + 1
with http.Session(CA) as kept:
    answers = [report(kept), report(requests)]
times = []
for _ in range(ROUNDS):
    with http.Session(CA) as kept:
        times.append([second(kept), second(requests)])
print(json.dumps({"answers": answers, "times": times}))
