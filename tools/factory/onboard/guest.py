# Programs of others run on this board, from memory: flash can only be read, and /ram is a file system in RAM.
# After a soft reset all of this is gone. It prints the board's clock in UTC and its free heap.

import gc
import json
import os
import sys

import vfs
from machine import RTC

SIZE = 512
BLOCKS = 8192  # more than any program writes: only what is written takes memory


class Ram:
    """A block device that takes the memory of what was written."""

    def __init__(self):
        self.blocks = {}

    def readblocks(self, number, buffer, offset=0):
        block = self.blocks.get(number)
        if block:
            buffer[:] = memoryview(block)[offset : offset + len(buffer)]

    def writeblocks(self, number, buffer, offset=0):
        if number not in self.blocks:
            self.blocks[number] = bytearray(SIZE)
        self.blocks[number][offset : offset + len(buffer)] = buffer

    def ioctl(self, op, arg):
        if op == 6:
            self.blocks.pop(arg, None)
        return BLOCKS if op == 4 else SIZE if op == 5 else 0


def fresh(folders):
    """A new /ram, with these folders and nothing else."""
    if "/ram" in [path for _, path in vfs.mount()]:
        vfs.umount("/ram")
    gc.collect()
    ram = Ram()
    vfs.VfsLfs2.mkfs(ram)
    vfs.mount(vfs.VfsLfs2(ram), "/ram")
    for folder in folders:
        os.mkdir("/ram/" + folder)


def put(path, data):
    with open(path, "ab") as f:
        f.write(data)


def call(module, function, arguments):
    """Runs a function of a module in /ram as if nothing had been imported before. arguments: as JSON."""
    forget(lambda name: name.split(".")[0] == "muster")  # boot.py has loaded some of it
    kept, mounted = dict(sys.modules), [path for _, path in vfs.mount()]
    try:
        getattr(__import__(module), function)(**json.loads(arguments))
    finally:
        forget(lambda name: name not in kept)
        sys.modules.update(kept)
        for _, path in vfs.mount():
            if path not in mounted:
                vfs.umount(path)


def forget(which):
    for name in list(sys.modules):
        if which(name):
            del sys.modules[name]


for filesystem, path in vfs.mount():
    if path == "/":
        filesystem.mount(True, False)
sys.path.insert(0, "/ram")
gc.collect()
print(json.dumps({"clock": RTC().datetime(), "free": gc.mem_free()}))
