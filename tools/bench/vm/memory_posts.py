"""Two verified HTTPS POSTs over one connection: do they fit into this heap?"""

import gc

gc.threshold(1024)

import json  # noqa: E402
import sys  # noqa: E402

from muster import http  # noqa: E402

url, ca = json.loads(sys.stdin.readline())
with http.Session(ca) as session:
    for _ in range(2):
        answer = session.post(url, data=b'{"deviceId":"123456789"}')
        assert answer.status_code == 200 and answer.json()["code"] == "200"
print("true")
