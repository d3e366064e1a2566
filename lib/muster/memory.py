"""Modules that are needed for a moment only."""

import gc
import sys

MICROPYTHON = sys.implementation.name == "micropython"

if MICROPYTHON:
    # An import of a built-in module looks for it on flash first, with some 50 reads, unless it stands here.
    for _name in ("binascii", "io", "json", "struct"):
        sys.modules[_name] = __import__(_name)


def unload(*names):
    """Lets go of modules, "muster.http" for one; on a laptop, which has the memory, they stay."""
    if MICROPYTHON:
        for name in names:
            package, _, last = name.rpartition(".")
            if package.startswith("muster"):
                sys.modules.pop(name, None)
                if package in sys.modules:
                    sys.modules[package].__dict__.pop(last, None)


def call(function, *args):
    """Returns what the function returns; the modules that it loads leave the memory again."""
    if not MICROPYTHON:
        return function(*args)
    before = set(sys.modules)
    try:
        return function(*args)
    finally:
        unload(*set(sys.modules) - before)
        gc.collect()  # now: deeper in the program more of it would seem to be in use


def borrow(function, *args):
    """call() for a function that returns a generator for muster.net.wait: at its end they leave.

    What the rest of the program loads while it waits stays. Raises MemoryError if it cannot keep count.
    """
    if not MICROPYTHON:
        return (yield from function(*args))
    borrowed = set()
    known = set()
    # A session of the program's own outlives the generator: what it loads is the program's as well.
    mine = "muster.http" not in sys.modules
    generator = None
    try:
        while True:
            known.update(sys.modules)
            try:
                if not generator:
                    generator = function(*args)
                wanted = next(generator)
            finally:
                borrowed.update([name for name in sys.modules if name not in known])
            yield wanted
    except StopIteration as e:
        return e.value
    finally:
        if generator:
            generator.close()
        unload(*[name for name in borrowed if mine or not name.startswith("muster.net.")])
