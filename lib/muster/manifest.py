"""The manifest of a release: a JWT, signed RS256 by the maker, that says which files make a build.

A release is a folder on any web server: manifest.jwt, and beside it each file as <its SHA-256 in hex>,
deflated (raw, with a window of 4096 bytes).
"""

import os
import sys

from . import clock, log
from .errors import Error, line

KEYS = "/keys"

_LEEWAY_S = 86400  # two clocks, and a maker who signs at the other end of the world


def signed(token, root=""):
    """Returns the claims of a manifest, JSON text still, once one of the keys in /keys has verified it.

    token   what the server sent, a bytearray, which is overwritten
    Raises Error.
    """
    from . import jwt

    problem = "there is none"
    for name in sorted(os.listdir(root + KEYS)):
        if name.endswith("~"):
            continue
        try:
            with open(root + KEYS + "/" + name) as f:
                key = f.read(2048)
            return jwt.opened(token, key, "RS256")
        except jwt.JWTError as e:
            problem = str(e)
        except (OSError, ValueError) as e:
            log.warning("%s/%s is no public key: %s" % (KEYS, name, e))
    raise Error("the manifest is verified by none of the keys in %s: %s" % (KEYS, problem))


def follow(claims, product):
    """Raises Error for claims that are not to be followed by this board now.

    product   the configuration's productId
    """
    check(claims, product)
    now = clock.now()
    if claims.get("exp", now) + _LEEWAY_S < now:
        raise Error("the manifest has expired (exp)")
    if claims["iat"] > now + _LEEWAY_S:
        raise Error("the manifest is not valid yet (iat): is the clock right?")
    wants = "build %d wants " % claims["build"]
    wanted = claims["mpy"]
    has = getattr(sys.implementation, "_mpy", wanted) & 0xFF  # a laptop has none
    if has != wanted:
        raise Error(wants + ".mpy files of version %d, and this board reads %d" % (wanted, has))
    wanted = tuple(claims["micropython"])
    has = tuple(sys.implementation.version[:2])
    if has < wanted:
        raise Error(wants + "MicroPython from %d.%d on, and this board has %d.%d" % (wanted + has))


def check(claims, product):
    """Raises Error for the claims of a manifest that are not to be followed, whoever has signed them.

    claims    what the manifest's JWT holds
    product   the configuration's productId

    Expected are:
      aud, product       "muster-update", and the same product
      version            1 to 64 characters, for people
      build              1 to 999999999
      mpy, micropython   1 to 255, [major, minor]
      rollout            percent, 0 to 100
      iat, exp           Unix seconds; exp may be missing
      files              [[path, size, SHA-256 in hex], …], /boot.py and /build.json among them
      remove             [path, …]
    A path is plain ASCII from "/" on, of at most 100 characters, and none of what the device keeps for
    itself. None is there twice, be it in another case, and none is the folder of another.
    """
    if not isinstance(claims, dict):
        raise Error("the manifest is no JSON object")
    get = claims.get
    micropython, files = get("micropython"), get("files")
    for name, good in (
        ("aud", get("aud") == "muster-update"),
        ("product", get("product") == product),
        ("version", _text(get("version"), 64)),
        ("build", _whole(get("build"), 1, 999999999)),
        ("mpy", _whole(get("mpy"), 1, 255)),
        ("micropython", _row(micropython, 2) and all([_whole(n, 0, 99) for n in micropython])),
        ("rollout", _whole(get("rollout"), 0, 100)),
        ("iat", _whole(get("iat"), 1, 0xFFFFFFFF)),
        ("exp", _whole(get("exp", 1), 1, 0xFFFFFFFF)),
        ("files", isinstance(files, list) and all([_file(file) for file in files])),
        ("remove", isinstance(get("remove"), list)),
    ):
        if not good:
            raise Error("the manifest's %s is not what this product takes: %s" % (name, str(get(name))[:64]))
    paths = [file[0] for file in files]
    if not ("/boot.py" in paths and "/build.json" in paths):
        raise Error("the manifest lacks /boot.py or /build.json")
    seen = set()
    for path in paths + claims["remove"]:
        # In another case it is another file on LittleFS, and the same on FAT.
        if not _plain(path) or path.lower() in seen:
            raise Error("the manifest must not name this path, or has it twice: " + str(path)[:100])
        seen.add(path.lower())
    for path in seen:
        end = path.rfind("/")
        while end > 0:
            if path[:end] in seen:
                raise Error("the manifest has a file that is a folder of others: " + path[:end])
            end = path.rfind("/", 0, end)


def _text(value, most):
    return isinstance(value, str) and 0 < len(value) <= most and value == line(value)


def _whole(value, least, most):
    return type(value) is int and least <= value <= most  # isinstance would take a bool


def _row(value, length):
    return isinstance(value, list) and len(value) == length


def _file(value):
    if not _row(value, 3) or not _whole(value[1], 0, 0xFFFFFF):
        return False
    digest = value[2]
    return isinstance(digest, str) and len(digest) == 64 and not digest.strip("0123456789abcdef")


def _plain(path):
    if (
        not _text(path, 100)
        or path[0] != "/"
        or not all([b < 126 and b not in b'"\\' for b in path.encode()])
    ):
        return False
    parts = path.lower()[1:].split("/")
    return parts[0] not in ("config.json", "state", "update") and not {"", ".", ".."} & set(parts)
