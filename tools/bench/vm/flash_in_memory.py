"""A block device in memory, for the programs here that count flash operations."""

BLOCK = 4096


class FlashInMemory:
    """data: what it holds. counts: programs, erases and bytes programmed.

    A program is one call of writeblocks, as LittleFS makes it.
    """

    def __init__(self, image):
        self.data = bytearray(image)
        self.counts = [0, 0, 0]

    def readblocks(self, block, buffer, offset=0):
        start = block * BLOCK + offset
        buffer[:] = memoryview(self.data)[start : start + len(buffer)]

    def writeblocks(self, block, buffer, offset=0):
        start = block * BLOCK + offset
        self.data[start : start + len(buffer)] = buffer
        self.counts[0] += 1
        self.counts[2] += len(buffer)

    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // BLOCK
        if op == 5:
            return BLOCK
        if op == 6:
            self.data[arg * BLOCK : (arg + 1) * BLOCK] = b"\xff" * BLOCK
            self.counts[1] += 1
        return 0
