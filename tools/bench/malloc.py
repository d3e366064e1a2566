"""Runs MicroPython in this process, and tells the program in it what the C library's malloc() has in use.

Arguments: the program's. Two more are put behind them: the pipes in which the program asks by a line, and
is answered by one, the number of bytes.
"""

import ctypes
import os
import sys
import threading

import micropython_run  # the VM as a library, of the package that brings it

SIZES = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in SIZES.split()]


def tell(asked: int, told: int) -> None:
    malloc = ctypes.CDLL(None)
    malloc.mallinfo2.restype = Mallinfo2
    while os.read(asked, 100):
        found = malloc.mallinfo2()
        os.write(told, b"%d\n" % (found.uordblks + found.hblkhd))


def main() -> int:
    (asked, ask), (told, tells) = os.pipe(), os.pipe()
    threading.Thread(target=tell, args=(asked, tells), daemon=True).start()
    words = [word.encode() for word in ("micropython", *sys.argv[1:], str(ask), str(told))]
    # Not by the package's own main(), which keeps the other thread waiting.
    vm = ctypes.CDLL(micropython_run.__file__)
    return vm.micropython_unix_main(len(words), (ctypes.c_char_p * (len(words) + 1))(*words, None))


if __name__ == "__main__":
    sys.exit(main())
