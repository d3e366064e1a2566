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
os.execv(sys.argv[1], sys.argv[1:])
