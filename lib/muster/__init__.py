"""Devices that enrol once and report for years. What is not used is not loaded.

import muster
muster.Agent().run()
"""

try:
    from micropython import const
except ImportError:
    const = int  # CPython

__version__ = "0.1.0"


def __getattr__(name):
    home = "agent" if name == "Agent" else "errors" if name.endswith("Error") else name
    try:
        value = __import__("muster." + home, None, None, (name,))
    except ImportError as e:
        raise AttributeError(str(e))
    if home != name:
        value = getattr(value, name)
    globals()[name] = value
    return value
