# Lets go of what the programs before have left in memory: a bare ESP32 has none to spare for TLS.
import gc
import sys

for name in [name for name in globals() if not name.startswith("__") and name not in ("gc", "sys")]:
    del globals()[name]
for module in [module for module in sys.modules if module.split(".")[0] == "muster"]:
    del sys.modules[module]
gc.collect()
