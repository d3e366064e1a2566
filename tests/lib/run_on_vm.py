"""Runs one test function in the MicroPython VM: run_on_vm.py MODULE FUNCTION, arguments as JSON on stdin."""

import json
import os
import random
import sys

random.seed(int(os.getenv("MUSTER_SEED") or 1))
module = __import__(sys.argv[1])
getattr(module, sys.argv[2])(**json.loads(sys.stdin.readline()))
print("passed")
