"""What deploy asks of a board: MicroPython programs for its raw REPL, which go on from each other.

What they print for deploy is tuples, a line each.
"""

from tools.factory.library import CLOUDS, OPTIONAL, PAGE

# Deflate's window there, as a power of two.
WINDOW = 12

STAGING = "/update"
LIBRARY = "/lib/muster/"
ROOTS = "/roots/"

# The name, the version and the version of .mpy files.
IDENTIFY = "import sys; i = sys.implementation; print((i.name, tuple(i.version), getattr(i, '_mpy', 0)))"

# An update that is on trial stays whole, or goes back whole if it has failed; one that has ended, or never
# began, leaves nothing.
CLEAN = f"""
import os, sys
sys.path.insert(0, "{STAGING}")
try:
    import trial
    if not trial.on_trial():
        trial.tidy()
    elif not trial.verdict() or not trial.back(""):
        trial.finish()
except Exception:
    pass
sys.path.pop(0)
sys.modules.pop("trial", None)
try:
    for name in os.listdir("{STAGING}"):
        os.remove("{STAGING}/" + name)
    os.rmdir("{STAGING}")
except OSError:
    pass
"""

# Of the configuration only is told which parts of the library it uses: it holds secrets.
SURVEY = f"""
import hashlib, json, os
try:
    with open("/config.json") as f:
        settings = json.loads(f.read().lstrip("\ufeff"))
    named = settings.get("clouds", ())
except (OSError, ValueError, AttributeError):
    settings, named = {{}}, ()
parts = {{name: bool(settings.get(name)) for name in {(*OPTIONAL,)}}}
parts["clouds"] = [cloud for cloud in {CLOUDS} if cloud in named]
try:
    import muster
    home = muster.__file__
except Exception:
    home = "{LIBRARY}"
block, _, blocks, free = os.statvfs("/")[:4]
# LittleFS counts the blocks of a file that is open twice, and may come to more than there are.
print((block, free if free <= blocks else 0, parts, home))

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
for path in ("/boot.py", "/main.py", "/config.json", "{PAGE}", "/lib", "/roots", "/keys"):
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

# From the rename on a power cut does not stop it: the stub goes on at the next start.
COMMIT = f"""
os.rename("{STAGING}/boot.stub", "/boot.py")
sys.path.insert(0, "{STAGING}")
import trial
trial.finish()
os.rmdir("{STAGING}")
print((trial.on_trial(),))
"""
