"""Has the files of a release on flash, verified, and puts them on trial. What it began it goes on with later.

A staged file lies in /update under its SHA-256 and a checksum of its path: what one release
has fetched serves the next.
"""

import binascii
import errno
import hashlib
import io
import os

from . import const, trial
from .errors import Error, TransportError
from .flow import PIECE, Request
from .net.wait import TURN, Deadline

_IN_RAM = const(4096)  # deflated; what is longer goes to flash before it is inflated
_BUFFER = const(512)
_FILE, _FOLDER = const(0x8000), const(0x4000)


def planned(claims):
    """Writes the plan of what differs from what is on flash: a flow."""
    trial.settle()
    if not kind("/update"):
        os.mkdir(trial.root + "/update")
    with open(trial.root + "/update/plan.new", "w") as f:
        f.write("%d\n" % claims["build"])
        for path, size, digest in claims["files"]:
            _check_place(path)
            has = digested(path)
            how = "boot" if path == "/boot.py" else "moved" if has else "added"
            if has != digest or how == "boot":
                f.write("%s %d %s.%08x %s\n" % (how, size, digest, binascii.crc32(path.encode()), path))
            yield TURN
        for path in claims["remove"]:
            if kind(path) == _FILE:
                f.write("removed 0 - %s\n" % path)


def stage(url, headers):
    """Has every file of the plan in /update, and all that a trial needs: a flow."""
    try:
        _drop_others()
        _check_room()
        for how, size, staged, path in trial.plan("plan.new"):
            digest = staged[8:72]
            if how != "removed" and digested(staged) != digest:
                if digested(path) == digest:
                    yield from _copy(path, staged)
                else:
                    yield from _fetch(url + digest, headers, staged, size, path)
            yield TURN
    except OSError:
        clear()  # the device's own records need room
        raise


def clear():
    """Removes what is staged."""
    for name in os.listdir(trial.root + "/update"):
        trial.remove("/update/" + name)


def commit():
    """Puts the staged build on trial, a flow: the next start is the first of it."""
    for how, _, staged, path in trial.plan("plan.new"):
        if how == "boot":
            trial.move(staged, "/update/boot.new")
        elif how == "added":
            _make_folders(path)
    if kind("/boot.py"):
        yield from _copy("/boot.py", "/update/boot.old")
    else:
        trial.note("/update/boot.old", "")
    yield from _copy(*_program())
    trial.note("/update/boot.stub", trial.STUB)
    trial.move("/update/plan.new", "/update/plan")
    trial.move("/update/boot.stub", "/boot.py")


def kind(path):
    """0x8000 for a file, 0x4000 for a folder, 0 for nothing."""
    try:
        return os.stat(trial.root + path)[0] & 0xF000
    except OSError:
        return 0


def digested(path):
    """The SHA-256 of a file, in hex; "" where there is none."""
    buffer = memoryview(bytearray(_BUFFER))
    digest = hashlib.sha256()
    try:
        with open(trial.root + path, "rb") as f:
            while True:
                n = f.readinto(buffer)
                if not n:
                    return binascii.hexlify(digest.digest()).decode()
                digest.update(buffer[:n])
    except OSError:
        return ""


def _check_place(path):
    """Raises Error where a folder stands in a file's place, or a file in a folder's."""
    wrong = _FOLDER
    while path:
        if kind(path) == wrong:
            raise Error("%s is in the way: a file stands in a folder's place, or the reverse" % path)
        wrong = _FILE
        path = path[: path.rfind("/")]


def _make_folders(path):
    at = path.find("/", 1)
    while at > 0:
        if not kind(path[:at]):
            os.mkdir(trial.root + path[:at])
        at = path.find("/", at + 1)


def _drop_others():
    """Removes what an earlier release has staged, and this one does not use."""
    names = os.listdir(trial.root + "/update")
    if len(names) > 1:
        plan = trial.read("/update/plan.new")
        for name in names:
            if name != "plan.new" and (name[:73] + " ") not in plan:
                trial.remove("/update/" + name)


def _check_room():
    """Raises Error when what is missing does not fit beside what is there."""
    block, _, blocks, free = os.statvfs(trial.root + "/")[:4]
    # LittleFS keeps pointers in a file's blocks, and wants some to move them; a full one counts below zero.
    needed = 6
    for how, size, staged, _ in trial.plan("plan.new"):
        if how != "removed" and not trial.there(staged):
            needed += size // (block - 8) + 1
    if free > blocks or needed > free:
        raise Error("flash has no room for the release: %d blocks are needed" % needed)


def _program():
    for name in ("trial.mpy", "trial.py"):
        if kind("/lib/muster/" + name):
            return "/lib/muster/" + name, "/update/" + name
    raise Error("the library lies in the firmware, or not in /lib: no release can change it")


def _copy(source, target):
    with open(trial.root + source, "rb") as f:
        yield from _fill(target, f)
    if digested(source) != digested(target):
        raise OSError("flash did not keep " + target)


def _fill(path, stream, most=0xFFFFFF):
    """Writes a stream into a file, a flow. Returns how many bytes; hardly more than most."""
    buffer = memoryview(bytearray(_BUFFER))
    done = 0
    with open(trial.root + path, "wb") as f:
        while done <= most:
            n = stream.readinto(buffer)
            if not n:
                break
            f.write(buffer[:n])
            done += n
            yield TURN
    return done


def _fetch(url, headers, staged, size, path):
    """One file of the release, inflated and verified: a flow. Of a long one, what has come is kept."""
    part = staged + ".z"
    have = _size(part)
    held = bytearray()
    headers = dict(headers)
    if have:
        headers["Range"] = "bytes=%d-" % have
    answer = yield Request("GET", url, None, headers, stream=True)
    goes_on = answer.status_code == 206 and answer.headers.get("content-range", "").startswith(
        "bytes %d-" % have
    )
    if have and not goes_on:
        trial.remove(part)
        have = 0
    if answer.status_code != (206 if have else 200):
        raise TransportError(
            "%s answered %d, or another range than was asked for" % (url, answer.status_code)
        )
    deadline = Deadline(60 + size // 256)
    while True:
        piece = yield PIECE
        held += piece
        if have + len(held) > size + size // 8 + 64:
            trial.remove(part)
            raise Error("%s is longer than the manifest says" % path)
        if len(held) > _IN_RAM or (have and not piece):
            with open(trial.root + part, "ab") as f:
                f.write(held)
            have += len(held)
            held = bytearray()
        if not piece:
            break
        deadline.check(url, "the download")
    good = False
    with open(trial.root + part, "rb") if have else io.BytesIO(held) as f:
        held = None
        try:
            done = yield from _fill(staged, _inflating(f), size)
            good = done == size and digested(staged) == staged[8:72]
        except EOFError:
            pass  # cut short
        except OSError as e:
            if e.errno != errno.EINVAL:  # that is deflate's
                raise
    trial.remove(part)
    if not good:
        trial.remove(staged)
        raise Error("%s is not what the manifest says" % path)


def _inflating(stream):
    from deflate import RAW, DeflateIO

    return DeflateIO(stream, RAW, 12)


def _size(path):
    try:
        return os.stat(trial.root + path)[6]
    except OSError:
        return 0
