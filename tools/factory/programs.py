"""What deploy asks of a board: MicroPython programs for its raw REPL, which go on from each other.

What they print for deploy is tuples, a line each.
"""

from tools.factory.library import CLOUDS

# Deflate's window there, as a power of two.
WINDOW = 12

STAGING = "/deploy~"
LIBRARY = "/lib/muster/"
ROOTS = "/roots/"

# The name, the version and the version of .mpy files.
IDENTIFY = "import sys; i = sys.implementation; print((i.name, tuple(i.version), getattr(i, '_mpy', 0)))"

CLEAN = f"""
import os
try:
    for name in os.listdir("{STAGING}"):
        os.remove("{STAGING}/" + name)
    os.rmdir("{STAGING}")
except OSError:
    pass
"""

# Of the configuration only its clouds are told: it holds secrets.
SURVEY = f"""{CLEAN}
import hashlib, json
try:
    with open("/config.json") as f:
        named = json.loads(f.read().lstrip("\ufeff")).get("clouds", ())
except (OSError, ValueError, AttributeError):
    named = ()
try:
    import muster
    home = muster.__file__
except Exception:
    home = "{LIBRARY}"
block, _, blocks, free = os.statvfs("/")[:4]
# LittleFS counts the blocks of a file that is open twice, and may come to more than there are.
print((block, free if free <= blocks else 0, [cloud for cloud in {CLOUDS} if cloud in named], home))

buffer = memoryview(bytearray(512))
def digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        n = f.readinto(buffer)
        while n:
            h.update(buffer[:n])
            n = f.readinto(buffer)
    return h.digest()

def look(path):
    try:
        if os.stat(path)[0] & 0x4000:
            for entry in os.ilistdir(path):
                look(path + "/" + entry[0])
        else:
            print((path, digest(path).hex()))
    except OSError:
        pass
for path in ("/boot.py", "/main.py", "/config.json", "/lib", "/roots"):
    look(path)
"""

STAGE = f"""
for folder in {{folders}}:
    try:
        os.mkdir(folder)
    except OSError:
        pass
os.mkdir("{STAGING}")

import deflate, io
def write(parts, deflated):
    data = memoryview(deflate.DeflateIO(io.BytesIO(deflated), deflate.RAW, {WINDOW}).read())
    for name, size in parts:
        with open("{STAGING}/" + name, "ab") as f:
            f.write(data[:size])
        data = data[size:]
"""

COMPARE = f"""
h = hashlib.sha256()
for name in {{names}}:
    h.update(digest("{STAGING}/" + name))
print((h.digest().hex(),))
"""

# It runs from any of its steps again, and never raises: after that, main.py would not be run.
FINISH = f"""\
import os
def move(old, new):
    try:
        os.rename(old, new)
    except OSError:
        pass
for i, path in enumerate({{sent}}):
    move("{STAGING}/%d" % i, path)
for path in {{gone}}:
    try:
        os.remove(path)
    except OSError:
        pass
move("{STAGING}/boot.py", "/boot.py")
try:
    os.rmdir("{STAGING}")
except OSError:
    pass
"""

COMMIT = f"""
os.rename("{STAGING}/finish.py", "/boot.py")
with open("/boot.py") as f:
    program = f.read()
exec(program)
print(("{STAGING[1:]}" in os.listdir("/"),))
"""
