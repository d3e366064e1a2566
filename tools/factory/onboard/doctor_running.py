# What is in the memory of a board that was stopped a moment ago, and was not reset since.
import json
import sys

told = {"safe": "muster.safe" in sys.modules}
try:
    from muster import last

    told["last"] = last.read()
    for value in list(globals().values()):
        if type(value).__name__ == "Agent" and hasattr(value, "status"):
            told["status"] = value.status()
            told["closed"] = "closed" in value.setup
            break
except Exception:
    pass  # the library is asked for itself later
print(json.dumps(told))
