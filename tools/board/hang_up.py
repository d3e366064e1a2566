"""Runs what follows on the command line with the terminal on stdin as its controlling one.

When the supervisor is gone, however it went, the terminal hangs up, and the VM ends with it.
"""

import fcntl
import os
import signal
import sys
import termios

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # a supervisor under nohup would have it ignored
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if sys.argv[1:5] == [*sys.orig_argv[:3], "-c"]:
    # A program for CPython as it runs here: another CPython would take as long to start as the VM in it.
    _, *sys.argv = sys.argv[4:]
    program, sys.argv[0] = sys.argv[0], "-c"
    exec(program)
else:
    os.execv(sys.argv[1], sys.argv[1:])
