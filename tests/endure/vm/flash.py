"""In the MicroPython VM: muster.store.FileStore on a file system whose flash is cut off, fails or rots.

Reads one line of JSON and prints one: how many operations there were, and what each thing in "do" came to.

image, kind, block   the file of the image, "VfsLfs2" or "VfsFat", the block's size in bytes
erases               whether a block is erased before it is written, which FAT leaves to the flash's driver
cut_at, torn         the power goes during this operation, counted from 1; the part of it that is still done
fails, errno         [first, last] operation that raises this OSError
make                 format first
path                 of the store
do                   ["mount"], ["save", record], ["load"], ["flip", [bit, ...], [what may be loaded, ...]];
                     ["keep", ssid, key] and ["networks"] for what the buyer gave
"""

import json
import os
import sys

import vfs
from muster.portal import networks
from muster.store import FileStore


class FailingFlash:
    """A block device over a file of the host."""

    def __init__(self, how):
        self.file = open(how["image"], "r+b")  # noqa: SIM115
        self.block = how["block"]
        self.blocks = os.stat(how["image"])[6] // self.block
        self.how = how
        self.erased = b"\xff" * self.block
        self.operations = 0

    def readblocks(self, block, buf, offset=0):
        self.file.seek(block * self.block + offset)
        self.file.readinto(buf)

    def writeblocks(self, block, buf, offset=0):
        if self.how["erases"]:
            self.change(block * self.block, self.erased)
        self.change(block * self.block + offset, buf)

    def ioctl(self, op, arg):
        if op == 4:
            return self.blocks
        if op == 5:
            return self.block
        if op == 6:
            self.change(arg * self.block, self.erased)
        return 0

    def change(self, position, data):
        self.operations += 1
        first, last = self.how["fails"]
        if first <= self.operations <= last:
            raise OSError(self.how["errno"])
        self.file.seek(position)
        if self.operations == self.how["cut_at"]:
            self.file.write(bytes(data)[: int(len(data) * self.how["torn"])])
            # An exception would let finalisers run on, as a power cut does not.
            os.system("kill -9 $PPID")
        self.file.write(data)

    def flip(self, bit):
        byte = bytearray(1)
        self.file.seek(bit // 8)
        self.file.readinto(byte)
        byte[0] ^= 1 << bit % 8
        self.file.seek(bit // 8)
        self.file.write(byte)


class StoreOnFlash:
    """What can be done, by the names in "do"."""

    def __init__(self, how):
        self.flash, self.kind = FailingFlash(how), getattr(vfs, how["kind"])
        self.store = FileStore("/flash" + how["path"])
        networks.STATE = "/flash" + networks.STATE
        if how["make"]:
            self.kind.mkfs(self.flash)
        self.flash.operations = 0

    def mount(self):
        """Switches it off and on."""
        try:  # noqa: SIM105 - MicroPython has no contextlib
            vfs.umount("/flash")
        except OSError:
            pass
        try:
            vfs.mount(self.kind(self.flash), "/flash")
        except OSError as e:
            return str(e)
        return "mounted"

    def save(self, record):
        try:
            self.store.save(record)
        except OSError as e:
            return str(e)
        return "saved"

    def load(self):
        record = self.store.load()
        return None if record is None else record.plain()

    def keep(self, ssid, key):
        """A network that the buyer gave."""
        try:
            networks.keep(networks.make(ssid.encode(), key))
        except OSError as e:
            return str(e)
        return "kept"

    def networks(self):
        return [network.plain() for network in networks.load()]

    def flip(self, bits, allowed):
        """Loads with each of the bits flipped in turn: how often it gave which of allowed, and what else."""
        counts, others = [0] * len(allowed), []
        for bit in bits:
            self.flash.flip(bit)
            mounted = self.mount()
            found = self.load() if mounted == "mounted" else mounted
            self.flash.flip(bit)
            if found in allowed:
                counts[allowed.index(found)] += 1
            else:
                others.append((bit, found))
        return counts, others


request = json.loads(sys.stdin.readline())
store = StoreOnFlash(request)
told = [getattr(store, what)(*given) for what, *given in request["do"]]
print(json.dumps({"operations": store.flash.operations, "told": told}))
