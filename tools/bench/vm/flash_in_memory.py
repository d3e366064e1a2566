"""A block device in memory, for programs that count flash operations or have the power go at one."""

import micropython

BLOCK = 4096
ERASED = b"\xff" * BLOCK


class FlashInMemory:
    """data: what it holds, a bytearray. counts: programs, erases and bytes programmed.

    A program is one call of writeblocks, as LittleFS makes it.
    """

    def __init__(self, data):
        self.data = data
        self.view = memoryview(data)
        self.counts = [0, 0, 0]

    @micropython.native
    def readblocks(self, block, buffer, offset=0):
        start = block * 4096 + offset
        buffer[:] = self.view[start : start + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        self.counts[0] += 1
        self.counts[2] += len(buffer)
        self.change(block * BLOCK + offset, buffer)

    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // BLOCK
        if op == 5:
            return BLOCK
        if op == 6:
            self.counts[1] += 1
            self.change(arg * BLOCK, ERASED)
        return 0

    def change(self, at, data):
        self.data[at : at + len(data)] = data
