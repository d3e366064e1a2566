"""What an ESP32 does between its reset and the prompt, in a MicroPython VM of the Unix port.

The supervisor starts `micropython -i -c "__import__('bootloader')"` with this folder and the chip's modules
on the path and the board's directory in the environment. After it the VM's own REPL takes over.

Source: ports/esp32/main.c, modules/_boot.py, modules/flashbdev.py and modules/inisetup.py of MicroPython.
"""

import gc
import io
import os
import sys

import _board
import vfs

import __main__

BLOCK = 4096
OURS = 'File "' + __file__.rsplit("/", 2)[0]
# Between NULs, so that the supervisor can tell them from what a program prints.
STARTED = "\0[boot]\0"
PROMPT = "\0[prompt]\0"

NO_BOOT_PY = """\
# This file is executed on every boot (including wake-boot from deepsleep)
#import esp
#esp.osdebug(None)
#import webrepl
#webrepl.start()
"""

CORRUPTED = """\
The filesystem appears to be corrupted. If you had important data there, you
may want to make a flash snapshot to try to recover it. Otherwise, perform
factory reprogramming of MicroPython firmware (completely erase flash, followed
by firmware programming).
"""


class CountedFlash:
    """The partition as a block device over its part of a file of the host; it counts, and can lose power.

    Its methods allocate nothing, so that a program's heap figures are the program's.
    """

    def __init__(self, image, counter, offset, blocks, cut_at, torn):
        self.image = image
        self.counter = counter
        self.offset = offset
        self.blocks = blocks
        self.cut_at = cut_at
        self.torn = torn
        self.erased = b"\xff" * BLOCK
        self.count = bytearray(4)
        counter.readinto(self.count)
        self.operations = int.from_bytes(self.count, "little")

    def readblocks(self, block, buf, offset=0):
        self.image.seek(self.offset + block * BLOCK + offset)
        self.image.readinto(buf)

    def writeblocks(self, block, buf, offset=0):
        self.change(block * BLOCK + offset, buf)

    def ioctl(self, op, arg):
        if op == 4:
            return self.blocks
        if op == 5:
            return BLOCK
        if op == 6:
            self.change(arg * BLOCK, self.erased)
        return 0

    def change(self, position, data):
        dies = self.tick()
        self.image.seek(self.offset + position)
        if dies:
            self.image.write(bytes(data)[: int(len(data) * self.torn)])
            _board.die("cut")
        self.image.write(data)

    def tick(self):
        """Counts one operation, where the supervisor sees it. True when the power goes during it."""
        n = self.operations = self.operations + 1
        count = self.count
        count[0] = n & 0xFF
        count[1] = n >> 8 & 0xFF
        count[2] = n >> 16 & 0xFF
        count[3] = n >> 24 & 0xFF
        self.counter.seek(0)
        self.counter.write(count)
        return n == self.cut_at

    def other_operation(self):
        if self.tick():
            _board.die("cut")


def mount(flash):
    vfs.umount("/")  # the host's files
    try:
        filesystem = vfs.VfsLfs2(flash)
    except OSError:
        filesystem = set_up(flash)
    vfs.mount(filesystem, "/")
    os.chdir("/")


def set_up(flash):
    first = bytearray(BLOCK)
    flash.readblocks(0, first)
    while bytes(first) != flash.erased:
        print(STARTED + CORRUPTED)  # for ever, but for a Ctrl-C
        _board.sleep_ms(3000)
    print("Performing initial setup")
    vfs.VfsLfs2.mkfs(flash)
    filesystem = vfs.VfsLfs2(flash)
    with filesystem.open("boot.py", "w") as f:
        f.write(NO_BOOT_PY)
    return filesystem


def run(name):
    """False if the program ended in an exception."""
    try:
        os.stat(name)
    except OSError:
        return True
    try:
        execfile(name, __main__.__dict__)  # noqa: F821
    except SystemExit:
        _board.die("soft")
    except BaseException as error:
        report(error)
        return False
    return True


def report(error):
    """The traceback as the board prints it: without the frames of this file and of the chip's modules."""
    text = io.StringIO()
    sys.print_exception(error, text)
    for line in text.getvalue().split("\n")[:-1]:
        if OURS not in line:
            print(line)


def boot():
    host = vfs.VfsPosix()
    _board.directory = os.getenv("BOARD_DIRECTORY")
    _board.opener = host.open
    _board.rename = host.rename
    _board.remove = host.remove
    _board.ahead = host.open(_board.directory + "/ahead", "rb")

    flash = CountedFlash(
        host.open(_board.directory + "/flash.bin", "r+b"),
        host.open(_board.directory + "/operations", "r+b"),
        int(os.getenv("BOARD_OFFSET")),
        int(os.getenv("BOARD_BLOCKS")),
        int(os.getenv("BOARD_CUT_AT")),
        float(os.getenv("BOARD_TORN")),
    )
    _board.flash_operation = flash.other_operation

    # While the host's files can still be seen.
    hiding = ("micropython", "os", "select", "socket", "time")
    for name in ["esp32", "machine", "network", "ntptime"] + ["esp32_" + name for name in hiding]:
        __import__(name)
    for name in hiding:
        sys.modules[name] = sys.modules.pop("esp32_" + name)
    del sys.modules["bootloader"]
    sys.path[:] = ["", ".frozen", "/lib"]
    sys.argv[:] = []

    try:
        mount(flash)
        gc.collect()
        print(STARTED, end="")  # from here on there may be Ctrl-C
        if run("boot.py") and os.getenv("BOARD_MAIN") == "1":
            run("main.py")
    except KeyboardInterrupt:
        pass
    print(PROMPT, end="")


boot()
