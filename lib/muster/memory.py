"""Modules that are needed for a moment only."""

import sys


def unload(*names):
    """Lets go of muster's modules of these names; on a laptop, which has the memory, they stay."""
    if sys.implementation.name == "micropython":
        for name in names:
            sys.modules.pop("muster." + name, None)
            sys.modules["muster"].__dict__.pop(name, None)
