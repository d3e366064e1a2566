"""The ESP32's os module: no host behind it, and file times that count from 2000.

Only the virtual board puts it in sys.modules["os"].
"""
# ruff: noqa: F401

import sys
from collections import namedtuple
from os import (
    VfsFat,
    VfsLfs2,
    chdir,
    getcwd,
    ilistdir,
    listdir,
    mkdir,
    mount,
    remove,
    rename,
    rmdir,
    statvfs,
    umount,
    unlink,
    urandom,
)
from os import stat as _stat

import _board

_Uname = namedtuple("uname", ("sysname", "nodename", "release", "version", "machine"))


def stat(path):
    """As the port's: a file that never got a time has 0."""
    s = _stat(path)
    times = [t - _board.SECONDS_1970_TO_2000 if t else 0 for t in s[7:]]
    return tuple(s[:7]) + tuple(times)


def uname():
    release = "%d.%d.%d" % sys.implementation[1][:3]
    return _Uname("esp32", "esp32", release, sys.version, "Virtual ESP32 module with ESP32")
