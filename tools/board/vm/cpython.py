"""The boot loader where no MicroPython is to be had: the same boot.py and main.py under CPython.

Flash is a directory here, which absolute paths are led to; its operations are not counted. The epoch is 1970,
and the heap is the laptop's.
"""

import builtins
import code
import contextlib
import gc
import os
import signal
import sys
import traceback
from pathlib import Path

STARTED = "\0[boot]\0"
PROMPT = "\0[prompt]\0"

BY_PATH = ("listdir", "mkdir", "remove", "rename", "rmdir", "stat", "unlink")


def confine(flash: str) -> None:
    """Leads the program's absolute paths to flash; CPython's own imports do not come by here."""
    ours = (flash, sys.prefix, sys.base_prefix)

    def on_flash(path):
        inside = isinstance(path, str) and path.startswith("/") and not path.startswith(ours)
        return flash + path if inside else path

    def led(function):
        def call(*args, **kwargs):
            return function(*[on_flash(argument) for argument in args], **kwargs)

        return call

    builtins.open = led(open)
    for name in BY_PATH:
        setattr(os, name, led(getattr(os, name)))


def run(name: str, names: dict) -> bool:
    """False if the program ended in an exception."""
    path = Path(name)
    if not path.exists():
        return True
    try:
        exec(compile(path.read_bytes(), name, "exec"), names)
    except SystemExit:
        import _board

        _board.die("soft")
    except BaseException as error:
        traceback.print_exception(error.with_traceback(error.__traceback__ and error.__traceback__.tb_next))
        return False
    return True


def boot() -> None:
    directory = os.environ["BOARD_DIRECTORY"]
    flash = directory + "/flash"
    # Ignored where the tools were started in the background, and the board's Ctrl-C with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # In the place of this file's own folder.
    sys.path[:1] = [flash, flash + "/lib", str(Path(__file__).parent.parent / "chip")]

    import _board

    _board.directory = directory
    _board.opener = open
    # These know the host's sockets only by their own class.
    import asyncio  # noqa: F401
    import ssl  # noqa: F401

    import esp32_socket

    sys.modules["socket"] = esp32_socket
    _board.ahead = open(directory + "/ahead", "rb", buffering=0)  # noqa: SIM115 - for as long as the board is on
    for name in ("mem_alloc", "mem_free", "threshold"):  # MicroPython's own
        setattr(gc, name, lambda amount=0: amount)
    os.chdir(flash)
    names = {"__name__": "__main__"}

    # _board keeps the open() and rename() of the host.
    confine(flash)
    with contextlib.suppress(KeyboardInterrupt):
        print(STARTED, end="", flush=True)  # from here on there may be Ctrl-C
        if run("boot.py", names) and os.environ["BOARD_MAIN"] == "1":
            run("main.py", names)
    print(PROMPT, end="", flush=True)
    code.interact(banner=f"CPython {sys.version.split()[0]}", local=names, exitmsg="")


if __name__ == "__main__":
    boot()
