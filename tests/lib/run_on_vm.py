"""Runs test functions in the MicroPython VM, one after the other: run_on_vm.py MODULE.

Each is a line of JSON on stdin: its name and its arguments. What it prints ends in PASSED.
"""

import gc
import json
import os
import random
import sys

PASSED = "\0passed"  # which tests/conftest.py waits for

module = __import__(sys.argv[1])
tidy = getattr(module, "teardown_function", None)  # pytest's
for line in sys.stdin:
    function, arguments = json.loads(line)
    # As if it were the first.
    random.seed(int(os.getenv("MUSTER_SEED") or 1))
    if "asyncio" in sys.modules:
        sys.modules["asyncio"].new_event_loop()
    getattr(module, function)(**arguments)
    if tidy:
        tidy(None)
    gc.collect()
    print(PASSED)
