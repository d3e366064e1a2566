"""Imports muster, makes an agent that holds its secret, and prints what each of the two adds to the heap."""

import gc
import json
import sys

config, records = json.loads(sys.stdin.readline())


def held():
    gc.collect()
    return gc.mem_alloc()


start = held()
import muster  # noqa: E402

imported = held()
agent = muster.Agent(config, store=muster.store.FileStore(records))
ready = held()
if not agent.status()["enrolled"]:
    agent.enrol()
kept = [name.replace(".", "/") for name in sys.modules if name.split(".")[0] == "muster"]
# It has loaded these as well.
let_go = [name for name in ("muster/config", "muster/cmei") if name not in kept]
print(json.dumps({"import": imported - start, "agent": ready - imported, "kept": kept, "let go of": let_go}))
