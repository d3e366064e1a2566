"""The ESP32's select module: a poll that tells less than the host's.

Source: ports/esp32/modsocket.c of MicroPython. POLLERR never comes, POLLHUP for an error only if it was asked
for, and a refused connect() is writable. What lies in an access point that nobody hears has no events.

Only the virtual board puts it in sys.modules["select"].
"""

from select import POLLERR, POLLHUP, POLLIN, POLLOUT
from select import poll as _poll
from time import ticks_diff, ticks_ms

import _board


class poll:
    def __init__(self):
        self._poll = _poll()
        self._asked = {}

    def register(self, obj, eventmask=POLLIN | POLLOUT):
        self._poll.register(obj, eventmask)
        self._asked[id(obj)] = eventmask

    def modify(self, obj, eventmask):
        self._poll.modify(obj, eventmask)
        self._asked[id(obj)] = eventmask

    def unregister(self, obj):
        self._poll.unregister(obj)
        self._asked.pop(id(obj), None)

    def poll(self, timeout=-1):
        """As the port's: it goes on until there is an event that it tells of, or the time is up."""
        start = ticks_ms()
        left = timeout
        while True:
            found = []
            for obj, events in self._poll.poll(_board.step_ms(left)):
                if getattr(obj, "deaf", False):
                    continue
                asked = self._asked[id(obj)]
                if events & POLLERR:
                    events |= POLLHUP | POLLIN | POLLOUT
                events &= asked & (POLLIN | POLLOUT | POLLHUP)
                if events:
                    found.append((obj, events))
            left = timeout if timeout < 0 else max(0, timeout - ticks_diff(ticks_ms(), start))
            if found or left == 0:
                return found
            _board.sleep_ms(1)

    def ipoll(self, timeout=-1, flags=0):
        return iter(self.poll(timeout))
