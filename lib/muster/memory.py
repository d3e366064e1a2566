"""Modules that are needed for a moment only."""

import sys

MICROPYTHON = sys.implementation.name == "micropython"


def unload(*names):
    """Lets go of the modules "http", "net.wait", …; on a laptop, which has the memory, they stay."""
    if MICROPYTHON:
        for name in names:
            package, _, last = ("muster." + name).rpartition(".")
            sys.modules.pop("muster." + name, None)
            if package in sys.modules:
                sys.modules[package].__dict__.pop(last, None)


def call(function, *args):
    """Returns what the function returns; the modules that it loads leave the memory again."""
    before = set(sys.modules)
    try:
        return function(*args)
    finally:
        _give_back(set(sys.modules) - before)


def borrow(generator):
    """The same generator for muster.net.wait: the modules that it loads leave the memory again at its end.

    What the rest of the program loads while it waits stays. Raises MemoryError if it cannot keep count.
    """
    if not MICROPYTHON:
        return (yield from generator)
    borrowed = set()
    known = set(sys.modules)
    # A session of the program's own outlives the generator: what it loads is the program's as well.
    mine = "muster.http" not in known
    try:
        while True:
            if len(sys.modules) != len(known):
                known = set(sys.modules)
            try:
                wanted = next(generator)
            finally:
                if len(sys.modules) != len(known):
                    now = set(sys.modules)
                    borrowed |= now - known
                    known = now
            yield wanted
    except StopIteration as e:
        return e.value
    finally:
        generator.close()
        _give_back([name for name in borrowed if mine or not name.startswith("muster.net.")])


def _give_back(borrowed):
    for name in borrowed:
        if name.startswith("muster."):
            unload(name[7:])
