# The version of muster that this board runs, and the SHA-256 of each of its files; none where the firmware
# carries it.
import hashlib
import json
import os

digests = {}


def look(folder, under):
    for name, kind, *_ in os.ilistdir(folder):
        if kind == 0x4000:
            look(folder + "/" + name, under + name + "/")
        else:
            h = hashlib.sha256()
            with open(folder + "/" + name, "rb") as f:
                while True:
                    data = f.read(512)
                    if not data:
                        break
                    h.update(data)
            digests[under + name] = h.digest().hex()


try:
    import muster

    try:
        look(muster.__file__.rpartition("/")[0], "")
    except OSError:
        pass
    print(json.dumps({"version": muster.__version__, "home": muster.__file__, "files": digests}))
except ImportError:
    print("null")
