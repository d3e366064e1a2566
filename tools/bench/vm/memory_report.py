"""A board's first start on the bare VM: config.json from its flash, enrol, report. Prints the heap
held after it.

Reads one line of JSON: the folder that is its flash, and boot.py's gc.threshold() as an expression. On the
flash are /config.json, /roots, /lib and /state, whose records are deleted first.
"""

import gc
import json
import os
import sys

import vfs

folder, threshold = json.loads(sys.stdin.readline())
gc.threshold(eval(threshold))
vfs.umount("/")
vfs.mount(vfs.VfsPosix(folder), "/")
sys.path[:] = ["/lib", ".frozen"]
for name in os.listdir("/state"):
    os.remove("/state/" + name)

import muster  # noqa: E402

agent = muster.Agent()
agent.step()
if len(os.listdir("/state")) < 3:  # the secret twice, and when the next report is due
    raise SystemExit("it has not reported")
gc.collect()
gc.collect()  # what a finaliser let go of
print(gc.mem_alloc())
