"""In the MicroPython VM: a device takes a release, on a LittleFS whose flash operations are counted.

Reads one line of JSON: the path of an image of the product, {path: SHA-256} of what a release changes,
before and after, its productId, the manifest, and how often that is verified. Prints JSON: the flash
operations to stage (and commit), to move, to confirm, and to go back instead; the microseconds in which the
signature was verified and in which the manifest was, each time.
"""

import binascii
import gc
import json
import os
import sys
from time import ticks_diff, ticks_us

import vfs
from flash_in_memory import FlashInMemory

path, before, after, product, token, times = json.loads(sys.stdin.readline())
with open(path, "rb") as f:
    flash = FlashInMemory(bytearray(f.read()))
vfs.umount("/")
vfs.mount(vfs.VfsLfs2(flash), "/")
sys.path[:] = ["/lib", ".frozen"]

from muster import Agent, board, manifest, rsa  # noqa: E402
from muster.staging import digested  # noqa: E402


class Reset(BaseException):
    """No fault of the update, which it would survive."""


def reset():
    raise Reset


def counted(what):
    programs, erases, _ = flash.counts
    what()
    return flash.counts[0] - programs + flash.counts[1] - erases


def check(files):
    for path in files:
        if digested(path) != files[path]:
            raise ValueError(path + " is not what was expected")
    if os.listdir("/update"):
        raise ValueError("/update is not cleared up")


def take():
    agent._look = 0  # now
    try:
        agent.step()
    except Reset:
        return
    raise ValueError("the release was not taken")


def move():
    trial.settle()
    trial.advance()


def go_back():
    trial.settle()
    if not trial.back("crashed"):
        raise ValueError("the files of the build before are not there")
    trial.tidy()


def verified():
    manifest.follow(json.loads(manifest.signed(bytearray(token.encode()))), product)


def timed(what, *arguments):
    gc.collect()
    start = ticks_us()
    what(*arguments)
    return ticks_diff(ticks_us(), start)


board.reset = reset
agent = Agent()
agent.step()
told = {"stage": counted(take)}
sys.path.insert(0, "/update")
import trial  # noqa: E402

told["move"] = counted(move)
moved = bytes(flash.data)
told["confirm"] = counted(trial.confirm)
check(after)
vfs.umount("/")
flash.data[:] = moved
vfs.mount(vfs.VfsLfs2(flash), "/")
told["back"] = counted(go_back)
check(before)

with open("/keys/" + os.listdir("/keys")[0]) as f:
    key = rsa.PublicKey.from_pem(f.read())
message, _, signature = token.rpartition(".")
signature = binascii.a2b_base64(signature.replace("-", "+").replace("_", "/") + "==")
assert key.verify(message.encode(), signature)
told["signature"] = [timed(key.verify, message.encode(), signature) for _ in range(times)]
told["manifest"] = [timed(verified) for _ in range(times)]
print(json.dumps(told))
