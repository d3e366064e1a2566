"""Runs what follows on the command line with the terminal on stdin as its controlling one.

When the supervisor is gone, however it went, the terminal hangs up, and the VM ends with it.
"""

import fcntl
import os
import sys
import termios

fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
