"""Waiting, for a blocking program and for one of asyncio.

What has to wait (for a connection, an answer, Wi-Fi, NTP) is a generator that yields
instead: a Ready for a socket, WAIT when only time can help, TURN when it has been busy
and others may want a turn. It watches its own deadline.
"""

import select
import time

from .. import const
from ..clock import ticks_add, ticks_diff, ticks_ms
from ..errors import TransportError

WAIT = None
TURN = False

# How long one wait for a socket may last: a watchdog is fed and a Ctrl-C is seen that often.
SLICE_MS = 200
NAP_S = 0.02

_LONGEST_S = const(518400)  # six days: an ESP32's ticks count no further ahead
# To be asked for: an ESP32 tells of no more than that, and a refused connection is writable there.
BROKEN = select.POLLERR | select.POLLHUP


class Ready:
    """Waits for a socket to be ready, which asyncio must be able to wait for as well: the raw one."""

    def __init__(self, socket, events):
        self.socket = socket
        self.events = events
        self._poller = select.poll()
        self._poller.register(socket, events | BROKEN)

    def to(self, events):
        """The same for other events, select.POLLIN or POLLOUT."""
        if events != self.events:
            self.events = events
            self._poller.modify(self.socket, events | BROKEN)
        return self

    def poll(self, ms):
        """What select.poll() returns, within ms milliseconds."""
        return self._poller.poll(ms)


class Deadline:
    """seconds from now, for everything that is done under it."""

    def __init__(self, seconds):
        self.seconds = seconds
        self._at = ticks_add(ticks_ms(), int(min(seconds, _LONGEST_S) * 1000))

    def left(self):
        """Milliseconds."""
        return ticks_diff(self._at, ticks_ms())

    def check(self, host, doing):
        if self.left() <= 0:
            raise TransportError("%s: %s did not end within %s s" % (host, doing, self.seconds))


def run(generator, idle=None):
    """Runs the generator to its end, blocking, and returns what it returns.

    idle   called at every turn of the wait, at least five times a second
    """
    try:
        while True:
            wanted = next(generator)
            if wanted:
                wanted.poll(SLICE_MS)
            elif wanted is WAIT:
                time.sleep(NAP_S)
            if idle:
                idle()
    except StopIteration as e:
        return e.value
    finally:
        # An interrupted wait leaves no socket open; a finished generator does not mind.
        generator.close()
