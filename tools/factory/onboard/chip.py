# What it is, and which MicroPython it runs.
import json
import os

print(json.dumps({"chip": os.uname().machine, "micropython": os.uname().release}))
