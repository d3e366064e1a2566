"""Takes from a Python process what Windows lacks, and on PYTHONPATH from its children too.

The standard library keeps it all, since it chooses its parts by sys.platform, which stays what it is. So do
packages that have a part for each system.
"""

import builtins
import os
import select
import signal
import sys

MODULES = {"fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"}
CALLS = {
    os: ("fork", "forkpty", "openpty", "killpg", "setsid", "getpgid", "getuid", "geteuid", "getgid", "chown"),
    select: ("poll", "epoll"),
    signal: ("pthread_sigmask", "sigwait", "SIGALRM", "alarm", "setitimer", "SIGHUP"),
}
PORTABLE = {"esp_pylib", "filelock", "mpremote", "serial"} | sys.stdlib_module_names - {"__main__"}


def is_portable(caller):
    return caller.get("__name__", "").split(".")[0] in PORTABLE


def hide_modules():
    import_module = builtins.__import__

    def without_unix(name, globals=None, *rest, **named):
        if name in MODULES and globals and not is_portable(globals):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return import_module(name, globals, *rest, **named)

    builtins.__import__ = without_unix


def hide_calls(module, names):
    hidden = {name: module.__dict__.pop(name) for name in names if hasattr(module, name)}

    def look_up(name):
        if name in hidden and is_portable(sys._getframe(1).f_globals):
            return hidden[name]
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

    module.__getattr__ = look_up


hide_modules()
for module, names in CALLS.items():
    hide_calls(module, names)
