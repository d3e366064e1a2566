"""Devices that enrol once and report for years. What is not used is not loaded.

import muster
muster.Agent().run()
"""

__version__ = "0.1.0"

_HOME = {
    "Agent": "agent",
    "Error": "errors",
    "ConfigError": "errors",
    "TransportError": "errors",
    "CloudError": "errors",
}


def __getattr__(name):
    home = _HOME.get(name, name)
    try:
        value = __import__("muster." + home, None, None, (name,))
    except ImportError as e:
        raise AttributeError("muster has no %s (%s)" % (name, e))
    if name in _HOME:
        value = getattr(value, name)
    globals()[name] = value
    return value
