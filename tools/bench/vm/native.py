"""How much native memory a closed session keeps, where another thread tells what is in use.

Arguments: the URL of a server, its roots, and the pipes to that thread and back.
"""

import gc
import json
import sys

from muster import http

url, roots = sys.argv[1:3]
ask, told = (open("/proc/self/fd/" + fd, mode) for fd, mode in zip(sys.argv[3:], "wr"))  # noqa: B905, SIM115


def in_use():
    gc.collect()
    gc.collect()  # what a finaliser let go of
    ask.write("?\n")
    return int(told.readline())


def exchange(session):
    assert session.post(url, data=b"{}").status_code == 200


# The first exchange of a process leaves what mbedTLS and the C library make once.
with http.Session(roots) as first:
    exchange(first)
first = None

session = http.Session(roots)
before = in_use()
exchange(session)
during = in_use()
session.close()
after = in_use()
print(json.dumps({"during": during - before, "after": after - before}))
