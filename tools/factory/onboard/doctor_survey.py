# What this board is, what lies on it, and what its configuration says. Prints no secret.
import gc
import hashlib
import json
import os
import sys
import time


def digest(path):
    try:
        with open(path, "rb") as f:
            return hashlib.sha256(f.read()).digest().hex()
    except OSError:
        return None


def native():
    """ESP-IDF's heap, from which TLS takes its memory: bytes free, and the largest piece."""
    try:
        from esp32 import HEAP_DATA, idf_heap_info

        regions = idf_heap_info(HEAP_DATA)
        return [sum([region[1] for region in regions]), max([region[2] for region in regions])]
    except (ImportError, AttributeError):
        return None


def library():
    try:
        import muster

        return {"version": muster.__version__, "home": muster.__file__}
    except Exception as e:
        return {"fault": f"{type(e).__name__} {e}"}


def configuration():
    warnings = []
    try:
        from muster import config, errors, log
        from muster.redact import redacted
    except ImportError as e:
        return {"lacking": str(e)}
    log.write = lambda level, text: warnings.append(text)
    try:
        values = redacted(config.load())
        given = list(config.read("/config.json")[0])
        return {"values": values, "given": given, "warnings": warnings}
    except ImportError as e:
        return {"lacking": str(e)}
    except errors.ConfigError as e:
        return {"fault": str(e)}


gc.collect()
told = {
    "name": sys.implementation.name,
    "version": list(sys.implementation.version)[:3],
    "machine": getattr(sys.implementation, "_machine", sys.platform),
    "heap": gc.mem_free(),
    "native": native(),
    "flash": os.statvfs("/")[:4],
    "time": time.time() + (946684800 if time.gmtime(0)[0] == 2000 else 0),
    "programs": {name: digest("/" + name) for name in ("boot.py", "main.py")},
    "library": library(),
    "configuration": configuration(),
}
print(json.dumps(told))
