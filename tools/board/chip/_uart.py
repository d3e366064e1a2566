"""machine.UART: on 1 the modem that the board's settings describe, on 2 nothing.

Source: ports/esp32/machine_uart.c and extmod/machine_uart.c of MicroPython. Its irq() tells of what has come
since the last look, when the program sleeps, polls or asks for the ticks.
"""

import _board

_stream = _board.load("_stream")

_MODEM = 1


class UART(_stream["Stream"]):
    IRQ_RX = 1
    IRQ_RXIDLE = 4096
    IRQ_BREAK = 128

    def __init__(self, id, baudrate=115200, bits=8, parity=None, stop=1, **settings):
        if id == 0:
            raise ValueError("UART(0) is disabled (dedicated to REPL)")
        if not 0 < id < 3:
            raise ValueError("UART(%d) does not exist" % id)
        self._timeout = 0
        self._peer = _board.load("_modem")["modem"] if id == _MODEM and _board.setting("modem") else None
        self.init(baudrate, bits, parity, stop, **settings)

    def init(
        self, baudrate=115200, bits=8, parity=None, stop=1, *, tx=-1, rx=-1, rts=-1, cts=-1, txbuf=256,
        rxbuf=256, timeout=0, timeout_char=0, invert=0, flow=0,
    ):  # fmt: skip
        if bits not in (5, 6, 7, 8):
            raise ValueError("invalid data bits")
        self._timeout = timeout
        self._rxbuf = rxbuf

    def deinit(self):
        self._peer = None

    def irq(self, handler=None, trigger=0, hard=False):
        """PPP alone uses it, and hears of its line by itself."""

    def any(self):
        return 0 if self._peer is None else min(self._rxbuf, self._peer.waiting())

    def read(self, size=-1):
        """At most size bytes, all that are there by default; None if there are none within the timeout."""
        end = _board.ticks_ms() + self._timeout
        while not self.any() and _board.ticks_ms() < end:
            _board.sleep_ms(1)
        n = self.any()
        return self._peer.say(n if size < 0 else min(n, size)) if n else None

    def readinto(self, buffer, size=-1):
        data = self.read(len(buffer) if size < 0 else min(len(buffer), size))
        if data is None:
            return None
        buffer[: len(data)] = data
        return len(data)

    def readline(self):
        """A line with its end, or what came of one within the timeout; None for nothing."""
        line = b""
        while not line.endswith(b"\n"):
            byte = self.read(1)
            if byte is None:
                break
            line += byte
        return line or None

    def write(self, data):
        data = data.encode() if isinstance(data, str) else bytes(data)
        if self._peer is not None:
            self._peer.hear(data)
        return len(data)

    def ioctl(self, request, flags):
        return _stream["polled"](request, flags, self.any() > 0, True)
