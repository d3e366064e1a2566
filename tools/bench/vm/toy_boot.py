# Before the boot.py that ships: a light that tells how long it was left waiting for its next blink.
import time

import machine


class Pin(machine.Pin):
    PERIOD_MS = 50
    EVERY = 10

    def __init__(self, number, mode=None, pull=None):
        super().__init__(number, mode, pull)
        self._is_light = mode == self.OUT
        self._last = None
        self._count = 0
        self._longest = 0

    def value(self, lit=None):
        if not self._is_light or lit is None:
            return super().value()
        super().value(lit)
        now = time.ticks_ms()
        if self._last is not None:
            self._longest = max(self._longest, time.ticks_diff(now, self._last) - self.PERIOD_MS)
        self._last = now
        self._count += 1
        if self._count % self.EVERY == 0:
            print(f"(light: {self._count} blinks, at most {self._longest} ms late)")


machine.Pin = Pin
